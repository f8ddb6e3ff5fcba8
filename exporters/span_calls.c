/* AWS API calls in the semantic conventions of rpc and aws. */
#include "exporters/span_aws.h"
#include "exporters/span_maker.h"

/* The service's own name where it is known: "DynamoDB" for "dynamodb". */
static struct slice service_id(struct slice signs_as)
{
	static const struct {
		const char *as;
		struct slice id;
	} known[] = {
		{"dynamodb", SLICE("DynamoDB")},
		{"s3", SLICE("S3")},
		{"sqs", SLICE("SQS")},
		{"sns", SLICE("SNS")},
		{"sts", SLICE("STS")},
		{"kms", SLICE("KMS")},
		{"ssm", SLICE("SSM")},
		{"lambda", SLICE("Lambda")},
		{"kinesis", SLICE("Kinesis")},
		{"firehose", SLICE("Firehose")},
		{"secretsmanager", SLICE("Secrets Manager")},
		{"logs", SLICE("CloudWatch Logs")},
		{"monitoring", SLICE("CloudWatch")},
		{"events", SLICE("EventBridge")},
		{"states", SLICE("SFN")},
		{"cognito-idp", SLICE("Cognito Identity Provider")},
		{"cognito-identity", SLICE("Cognito Identity")},
		{"ecs", SLICE("ECS")},
		{"ec2", SLICE("EC2")},
		{"iam", SLICE("IAM")},
		{"xray", SLICE("XRay")},
	};
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (is_word(signs_as, known[i].as))
			return known[i].id;
	return signs_as;
}

void span_aws_call(struct maker *m, const struct rec_view *v)
{
	struct span_aws c;
	if (!span_aws_read(v, &c))
		return;
	struct slice service = service_id(c.service);
	LIT("rpc.system", SLICE("aws-api"));
	STR("rpc.service", service);
	STR("rpc.method", c.operation);
	STR("cloud.region", c.region);
	STR("aws.request_id", rec_str(v, REC_AWS_ID));
	if (c.kind == AWS_QUEUE)
		STR("aws.sqs.queue.url", c.resource);
	else if (c.kind == AWS_BUCKET)
		STR("aws.s3.bucket", c.resource);
	else if (c.kind == AWS_TOPIC)
		STR("aws.sns.topic.arn", c.resource);
	else if (c.kind == AWS_FUNCTION)
		STR("faas.invoked_name", c.resource);
	struct attr *tables = c.kind == AWS_TABLE && c.resource.n ? begin(m, KEY("aws.dynamodb.table_names")) : NULL;
	if (tables) {
		char *from = m->at;
		text(m, c.resource);
		end_text(m, tables, from);
		tables->type = ATTR_STRINGS;
		tables->n = 1;
		tables->str_len++;
	}
	if (!c.operation.n)
		return;
	char *from = m->at;
	text(m, service);
	*m->at++ = '.';
	text(m, c.operation);
	m->o->name = from;
	m->o->name_len = (uint32_t)(m->at - from);
	*m->at++ = 0;
}
