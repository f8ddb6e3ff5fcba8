/* What a document says beside the request: annotations, metadata, and where it all runs. */
#include "base/glob.h"
#include "exporters/xray/xray_priv.h"
#include "version.h"
#include <strings.h>

#define ANNOTATION_MOST 1000
#define KEY_MOST 500

/* Has a place of its own in the document. That of a URL is without its query. */
static bool is_placed(const struct attr *a)
{
	const char *key = a->key;
	if (strcmp(key, "url.full") == 0)
		return !memchr(a->str, '?', a->str_len);
	static const char *const placed[] = {
		"http.request.method",
		"http.response.status_code",
		"http.response.body.size",
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
		"db.system.name",
		"db.namespace",
		"db.query.text",
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

static char key_char(char c)
{
	bool fit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
	return fit ? c : '_';
}

static bool same_key(const char *a, const char *b)
{
	size_t n = 0;
	while (n < KEY_MOST && a[n] && b[n] && key_char(a[n]) == key_char(b[n]))
		n++;
	return n == KEY_MOST || a[n] == b[n];
}

static bool is_annotated(const struct doc *d, const struct attr *a)
{
	for (unsigned i = 0; i < d->n_annotated; i++)
		if (d->annotated[i] == a)
			return true;
	return false;
}

/* One of them: a trace is found by fifty at most, and by one of each name; the rest are metadata as ever. */
static bool is_room_for(const struct doc *d, const struct attr *a)
{
	for (unsigned i = 0; i < d->n_annotated; i++)
		if (same_key(d->annotated[i]->key, a->key))
			return false;
	return d->n_annotated < XRAY_ANNOTATIONS_MOST;
}

static void put_annotation(struct doc *d, const struct attr *a)
{
	char key[KEY_MOST + 1];
	size_t n = 0;
	if (a->type == ATTR_STRINGS || (a->type == ATTR_STRING && !a->str_len) || !is_annotation(d, a->key) || !is_room_for(d, a))
		return;
	for (; a->key[n] && n < KEY_MOST; n++)
		key[n] = key_char(a->key[n]);
	key[n] = 0;
	if (!d->n_annotated)
		j_open(&d->j, "annotations", '{');
	d->annotated[d->n_annotated++] = a;
	if (a->type == ATTR_INT)
		j_int(&d->j, key, a->num);
	else
		put_text(d, key, text_of(a), ANNOTATION_MOST);
}

void xray_put_annotations(struct doc *d, bool segment)
{
	const struct span_attrs *a = d->s->attrs;
	const struct resource *r = d->s->resource;
	if (d->room >= ROOM_NO_ANNOTATIONS || (!d->s->settings->xray.annotations && !resource_text(d, "aws.xray.annotations").n))
		return;
	for (uint32_t i = 0; i < a->n; i++)
		put_annotation(d, &a->attrs[i]);
	for (uint32_t i = 0; segment && i < r->n; i++)
		put_annotation(d, &r->attrs[i]);
	if (d->n_annotated)
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
		if (!is_placed(&a->attrs[i]) && !is_annotated(d, &a->attrs[i]))
			put_value(d, a->attrs[i].key, &a->attrs[i]);
	for (uint32_t i = 0; segment && i < r->n; i++) {
		char key[KEY_MOST];
		size_t n = sizeof "otel.resource." - 1, len = r->attrs[i].key_len;
		if (len >= sizeof key - n || is_annotated(d, &r->attrs[i]))
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
	struct slice rule = rec_str(d->s->view, REC_RULE);
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

static struct slice log_part(struct slice *list)
{
	uint32_t n = 0;
	while (n < list->n && list->p[n] != '&' && list->p[n] != ';')
		n++;
	struct slice one = {list->p, n};
	n += n < list->n;
	*list = (struct slice){list->p + n, list->n - n};
	return one;
}

static void put_log_group(struct doc *d, struct slice name, struct slice arn)
{
	j_open(&d->j, NULL, '{');
	if (name.n)
		j_text(&d->j, "log_group", name);
	if (arn.n)
		j_text(&d->j, "arn", arn);
	j_close(&d->j, '}');
}

/* Ours, which leads from the trace to its lines, and what the resource names. */
static void put_log_groups(struct doc *d)
{
	const char *group = d->s->settings->xray.log_group;
	struct slice names = resource_text(d, "aws.log.group.names"), arns = resource_text(d, "aws.log.group.arns");
	struct slice region = resource_text(d, "cloud.region"), account = resource_text(d, "cloud.account.id");
	struct buf arn = {0};
	if (!group && !names.n && !arns.n)
		return;
	j_open(&d->j, "cloudwatch_logs", '[');
	if (group) {
		struct slice parts[] = {SLICE("arn:aws"), SLICE(""), SLICE(":logs:"), region, SLICE(":"), account,
		                        SLICE(":log-group:"), slice_of(group)};
		if (region.n > 3 && memcmp(region.p, "cn-", 3) == 0)
			parts[1] = SLICE("-cn");
		else if (region.n > 7 && memcmp(region.p, "us-gov-", 7) == 0)
			parts[1] = SLICE("-us-gov");
		for (size_t i = 0; region.n && account.n && i < sizeof parts / sizeof *parts; i++)
			buf_add(&arn, parts[i].p, parts[i].n);
		put_log_group(d, slice_of(group), (struct slice){arn.p, arn.failed ? 0 : (uint32_t)arn.n});
		buf_free(&arn);
	}
	while (names.n || arns.n) {
		struct slice name = log_part(&names), its = log_part(&arns);
		if (name.n || its.n)
			put_log_group(d, name, its);
	}
	j_close(&d->j, ']');
}

/* A number in X-Ray, text in the resource. */
static void put_beanstalk(struct doc *d)
{
	static const char *const members[] = {"environment_name", "service.namespace", "version_label", "service.version", NULL};
	struct slice id = resource_text(d, "service.instance.id");
	int64_t number = 0;
	for (uint32_t i = 0; i < id.n; i++)
		number = number < 0 || id.n > 15 || id.p[i] < '0' || id.p[i] > '9' ? -1 : number * 10 + (id.p[i] - '0');
	if (number < 0 || !id.n) {
		put_members(d, "elastic_beanstalk", members);
		return;
	}
	j_open(&d->j, "elastic_beanstalk", '{');
	for (int i = 0; i < 4; i += 2)
		if (resource_text(d, members[i + 1]).n)
			j_text(&d->j, members[i], resource_text(d, members[i + 1]));
	j_int(&d->j, "deployment_id", number);
	j_close(&d->j, '}');
}

void xray_put_aws(struct doc *d)
{
	static const char *const ec2[] = {"instance_id", "host.id", "instance_size", "host.type", "ami_id", "host.image.id",
	                                  "availability_zone", "cloud.availability_zone", NULL};
	static const char *const ecs[] = {"container", "container.name", "container_id", "container.id", "container_arn",
	                                  "aws.ecs.container.arn", "cluster_arn", "aws.ecs.cluster.arn", "task_arn", "aws.ecs.task.arn",
	                                  "task_family", "aws.ecs.task.family", "launch_type", "aws.ecs.launchtype",
	                                  "availability_zone", "cloud.availability_zone", NULL};
	static const char *const eks[] = {"pod", "k8s.pod.name", "cluster_name", "k8s.cluster.name", "container_id",
	                                  "container.id", NULL};
	struct slice platform = resource_text(d, "cloud.platform"), account = resource_text(d, "cloud.account.id");
	bool is_aws = slice_eq(resource_text(d, "cloud.provider"), SLICE("aws"));
	j_open(&d->j, "aws", '{');
	if (account.n)
		j_text(&d->j, "account_id", account);
	/* Containers run on instances too. */
	if (slice_eq(platform, SLICE("aws_ec2")) || (is_aws && resource_text(d, "host.id").n))
		put_members(d, "ec2", ec2);
	if (slice_eq(platform, SLICE("aws_ecs")))
		put_members(d, "ecs", ecs);
	if (slice_eq(platform, SLICE("aws_eks")))
		put_members(d, "eks", eks);
	if (slice_eq(platform, SLICE("aws_elastic_beanstalk")))
		put_beanstalk(d);
	put_log_groups(d);
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
