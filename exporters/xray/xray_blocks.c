/* What a document says beside the request: annotations, metadata, and where it all runs. */
#include "base/glob.h"
#include "exporters/xray/xray_priv.h"
#include "version.h"
#include <strings.h>

#define ANNOTATION_MOST 1000
#define KEY_MOST 500

/* Has a place of its own in the document. */
static bool is_placed(const char *key)
{
	static const char *const placed[] = {
		"http.request.method",
		"http.response.status_code",
		"http.response.body.size",
		"url.full",
		"url.path",
		"url.scheme",
		"server.address",
		"client.address",
		"user_agent.original",
		"enduser.id",
		"user.id",
		"rpc.system",
		"rpc.method",
		"cloud.region",
		"aws.request_id",
		"aws.dynamodb.table_names",
		"aws.sqs.queue.url",
		"aws.s3.bucket",
		"aws.sns.topic.arn",
		"faas.invoked_name",
	};
	for (size_t i = 0; i < sizeof placed / sizeof *placed; i++)
		if (strcmp(key, placed[i]) == 0)
			return true;
	return false;
}

/* ---- annotations and metadata ---- */

/* Is it in one of the lists, REMORA_XRAY_ANNOTATIONS or the resource's aws.xray.annotations? */
static bool is_annotation(const struct doc *d, const char *key)
{
	const struct xray_settings *x = &d->s->settings->xray;
	struct slice given = resource_text(d, "aws.xray.annotations");
	const char *const lists[] = {x->annotations, given.p};
	for (int i = 0; i < 2; i++)
		for (const char *p = lists[i]; p && *p;) {
			size_t n = strcspn(p, ",; ");
			if (n && glob_fits((struct slice){p, (uint32_t)n}, slice_of(key), true))
				return true;
			p += n + (p[n] != 0);
		}
	return false;
}

static void put_annotation(struct doc *d, const struct attr *a, bool *any)
{
	char key[KEY_MOST + 1];
	size_t n = 0;
	if (a->type == ATTR_STRINGS || !is_annotation(d, a->key))
		return;
	for (; a->key[n] && n < KEY_MOST; n++) {
		char c = a->key[n];
		bool fit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		key[n] = c;
		if (!fit)
			key[n] = '_';
	}
	key[n] = 0;
	if (!*any)
		j_open(&d->j, "annotations", '{');
	*any = true;
	if (a->type == ATTR_INT)
		j_int(&d->j, key, a->num);
	else
		put_text(d, key, text_of(a), ANNOTATION_MOST);
}

void xray_put_annotations(struct doc *d, bool segment)
{
	const struct span_attrs *a = d->s->attrs;
	const struct resource *r = d->s->resource;
	bool any = false;
	if (d->room >= ROOM_NO_ANNOTATIONS || (!d->s->settings->xray.annotations && !resource_text(d, "aws.xray.annotations").n))
		return;
	for (uint32_t i = 0; i < a->n; i++)
		put_annotation(d, &a->attrs[i], &any);
	for (uint32_t i = 0; segment && i < r->n; i++)
		put_annotation(d, &r->attrs[i], &any);
	if (any)
		j_close(&d->j, '}');
}

static void put_value(struct doc *d, const char *key, const struct attr *a)
{
	if (a->type == ATTR_STRING) {
		j_text(&d->j, key, text_of(a));
	} else if (a->type == ATTR_INT) {
		j_int(&d->j, key, a->num);
	} else {
		const char *s = a->str;
		j_open(&d->j, key, '[');
		for (uint32_t i = 0; i < a->n; i++) {
			j_text(&d->j, NULL, (struct slice){s, (uint32_t)strlen(s)});
			s += strlen(s) + 1;
		}
		j_close(&d->j, ']');
	}
}

void xray_put_metadata(struct doc *d, bool segment)
{
	const struct span_attrs *a = d->s->attrs;
	const struct resource *r = d->s->resource;
	if (d->room >= ROOM_NO_METADATA)
		return;
	j_open(&d->j, "metadata", '{');
	j_open(&d->j, "default", '{');
	for (uint32_t i = 0; i < a->n; i++)
		if (!is_placed(a->attrs[i].key) && !is_annotation(d, a->attrs[i].key))
			put_value(d, a->attrs[i].key, &a->attrs[i]);
	for (uint32_t i = 0; segment && i < r->n; i++) {
		char key[KEY_MOST];
		size_t n = sizeof "otel.resource." - 1, len = r->attrs[i].key_len;
		if (len >= sizeof key - n || is_annotation(d, r->attrs[i].key))
			continue;
		memcpy(key, "otel.resource.", n);
		memcpy(key + n, r->attrs[i].key, len + 1);
		put_value(d, key, &r->attrs[i]);
	}
	j_close(&d->j, '}');
	j_close(&d->j, '}');
}

/* ---- where it runs ---- */

void xray_put_origin(struct doc *d)
{
	static const struct {
		const char *word, *origin;
	} platforms[] = {
		{"aws_ec2", "AWS::EC2::Instance"},
		{"aws_ecs", "AWS::ECS::Container"},
		{"aws_eks", "AWS::EKS::Container"},
		{"aws_elastic_beanstalk", "AWS::ElasticBeanstalk::Environment"},
		{"aws_app_runner", "AWS::AppRunner::Service"},
		{"aws_lambda", "AWS::Lambda::Function"},
	};
	struct slice platform = resource_text(d, "cloud.platform"), launch = resource_text(d, "aws.ecs.launchtype");
	const char *env = d->s->settings->xray.execution_env, *origin = NULL;
	for (size_t i = 0; i < sizeof platforms / sizeof *platforms; i++)
		if (platform.n && strcmp(platform.p, platforms[i].word) == 0)
			origin = platforms[i].origin;
	bool ecs = platform.n && strcmp(platform.p, "aws_ecs") == 0;
	if ((ecs && launch.n && strcasecmp(launch.p, "fargate") == 0) || (!platform.n && env && strcmp(env, "AWS_ECS_FARGATE") == 0))
		origin = "AWS::ECS::Fargate";
	else if ((ecs && launch.n && strcasecmp(launch.p, "ec2") == 0) || (!platform.n && env && strcmp(env, "AWS_ECS_EC2") == 0))
		origin = "AWS::ECS::EC2";
	if (origin)
		j_text(&d->j, "origin", (struct slice){origin, (uint32_t)strlen(origin)});
}

static void put_members(struct doc *d, const char *block, const char *const *pairs)
{
	bool any = false;
	for (; *pairs; pairs += 2) {
		struct slice s = resource_text(d, pairs[1]);
		if (!s.n)
			continue;
		if (!any)
			j_open(&d->j, block, '{');
		any = true;
		j_text(&d->j, *pairs, s);
	}
	if (any)
		j_close(&d->j, '}');
}

static void put_sdk(struct doc *d)
{
	struct slice rule = d->s->view->str[REC_RULE];
	j_open(&d->j, "xray", '{');
	j_text(&d->j, "sdk", SLICE("remora for c"));
	j_text(&d->j, "sdk_version", SLICE(REMORA_VERSION));
	j_bool(&d->j, "auto_instrumentation", true);
	if (rule.n) {
		char name[XRAY_NAME_MOST * 4 + 1];
		j_text(&d->j, "sampling_rule_name", (struct slice){name, (uint32_t)xray_name_clean(rule, name)});
	}
	j_close(&d->j, '}');
}

void xray_put_aws(struct doc *d)
{
	static const char *const ec2[] = {"instance_id", "host.id", "instance_size", "host.type", "ami_id", "host.image.id",
	                                  "availability_zone", "cloud.availability_zone", NULL};
	static const char *const ecs[] = {"container", "container.name", "container_id", "container.id", "container_arn",
	                                  "aws.ecs.container.arn", NULL};
	static const char *const eks[] = {"pod", "k8s.pod.name", "cluster_name", "k8s.cluster.name", "container_id",
	                                  "container.id", NULL};
	static const char *const beanstalk[] = {"environment_name", "service.namespace", "version_label", "service.version", NULL};
	struct slice platform = resource_text(d, "cloud.platform"), account = resource_text(d, "cloud.account.id");
	const char *group = d->s->settings->xray.log_group;
	j_open(&d->j, "aws", '{');
	if (account.n)
		j_text(&d->j, "account_id", account);
	if (platform.n && strcmp(platform.p, "aws_ec2") == 0)
		put_members(d, "ec2", ec2);
	if (platform.n && strcmp(platform.p, "aws_ecs") == 0)
		put_members(d, "ecs", ecs);
	if (platform.n && strcmp(platform.p, "aws_eks") == 0)
		put_members(d, "eks", eks);
	if (platform.n && strcmp(platform.p, "aws_elastic_beanstalk") == 0)
		put_members(d, "elastic_beanstalk", beanstalk);
	if (group) {
		j_open(&d->j, "cloudwatch_logs", '[');
		j_open(&d->j, NULL, '{');
		j_text(&d->j, "log_group", (struct slice){group, (uint32_t)strlen(group)});
		j_close(&d->j, '}');
		j_close(&d->j, ']');
	}
	put_sdk(d);
	j_close(&d->j, '}');
}

void xray_put_aws_call(struct doc *d)
{
	static const char *const fields[][2] = {
		{"operation", "rpc.method"},
		{"region", "cloud.region"},
		{"request_id", "aws.request_id"},
		{"queue_url", "aws.sqs.queue.url"},
		{"bucket_name", "aws.s3.bucket"},
		{"topic_arn", "aws.sns.topic.arn"},
		{"function_name", "faas.invoked_name"},
	};
	const struct attr *tables = xray_find(d->s->attrs->attrs, d->s->attrs->n, "aws.dynamodb.table_names");
	j_open(&d->j, "aws", '{');
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
		struct slice s = span_text(d, fields[i][1]);
		if (s.n)
			j_text(&d->j, fields[i][0], s);
	}
	if (tables)
		j_text(&d->j, "table_name", (struct slice){tables->str, (uint32_t)strlen(tables->str)});
	put_sdk(d);
	j_close(&d->j, '}');
}
