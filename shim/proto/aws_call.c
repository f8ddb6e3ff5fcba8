/* AWS API calls. Sources: Smithy's protocol specifications, the S3 API reference, SigV4. */
#include "proto/aws_call.h"
#include "proto/scan.h"

#define WORD_MOST 64
#define RESOURCE_MOST 256

static const struct slice none = {NULL, 0};

static struct slice cut(const char *p, const char *e)
{
	return (struct slice){p, (uint32_t)(e - p)};
}

static bool starts(struct slice s, const char *lit, size_t n)
{
	return s.n >= n && memcmp(s.p, lit, n) == 0;
}
#define STARTS(s, lit) starts(s, lit, sizeof(lit) - 1)

static bool is(struct slice s, const char *lit)
{
	size_t n = strlen(lit);
	return s.n == n && memcmp(s.p, lit, n) == 0;
}

static bool is_word(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* All of it letters, digits and `more`; else nothing. */
static struct slice only(struct slice s, const char *more, uint32_t most)
{
	if (s.n > most)
		return none;
	for (uint32_t i = 0; i < s.n; i++)
		if (!is_word(s.p[i]) && (!s.p[i] || !strchr(more, s.p[i])))
			return none;
	return s;
}

static struct slice word(struct slice s)
{
	return only(s, "-_", WORD_MOST);
}

static void set_resource(struct aws_call *c, uint8_t kind, struct slice s)
{
	s = only(s, kind == AWS_QUEUE ? "-_.:/" : kind == AWS_TOPIC || kind == AWS_TABLE || kind == AWS_FUNCTION ? "-_.:/"
	                                                                                                         : "-_.",
	         RESOURCE_MOST);
	if (!s.n || c->resource.n)
		return;
	c->resource = s;
	c->kind = kind;
}

/* ---- who ---- */

/* "Credential=AKID/20260101/ca-central-1/dynamodb/aws4_request", or without a region (SigV4a). */
static bool by_scope(struct slice s, char separator, size_t sep_n, struct aws_call *c)
{
	struct slice part[8];
	unsigned n = 0;
	const char *p = s.p, *e = s.p + s.n;
	while (p < e && n < 8) {
		const char *end = p;
		while (end < e && *end != separator && *end != ',' && *end != ' ' && *end != '&')
			end++;
		part[n++] = cut(p, end);
		if (end == e || *end != separator)
			break;
		if ((size_t)(e - end) < sep_n)
			return false;
		p = end + sep_n;
	}
	if (n < 4 || !is(part[n - 1], "aws4_request"))
		return false;
	c->service = word(part[n - 2]);
	c->region = n >= 5 ? word(part[n - 3]) : none;
	return c->service.n != 0;
}

static bool by_credential(const struct http1_head *h, struct aws_call *c)
{
	const char *p = h->aws_auth.n ? memmem(h->aws_auth.p, h->aws_auth.n, "Credential=", 11) : NULL;
	if (p)
		return by_scope(cut(p + 11, h->aws_auth.p + h->aws_auth.n), '/', 1, c);
	p = h->target.n ? memmem(h->target.p, h->target.n, "X-Amz-Credential=", 17) : NULL;
	if (!p)
		return false;
	struct slice s = cut(p + 17, h->target.p + h->target.n);
	const char *amp = memchr(s.p, '&', s.n);
	if (amp)
		s = cut(s.p, amp);
	return by_scope(s, memchr(s.p, '%', s.n) ? '%' : '/', memchr(s.p, '%', s.n) ? 3 : 1, c); /* "%2F" */
}

/* dynamodb.ca-central-1.amazonaws.com, bucket.s3.eu-west-1.amazonaws.com, s3.amazonaws.com, sts.amazonaws.com */
static bool by_host(const struct http1_head *h, struct aws_call *c)
{
	static const char tail[] = ".amazonaws.com";
	struct slice host = h->host, label[8];
	const char *port = host.n ? memrchr(host.p, ':', host.n) : NULL;
	unsigned n = 0;
	if (port)
		host = cut(host.p, port);
	if (host.n < sizeof tail || memcmp(host.p + host.n - (sizeof tail - 1), tail, sizeof tail - 1) != 0)
		return false;
	const char *p = host.p, *e = host.p + host.n - (sizeof tail - 1);
	if (host.n > 255)
		return false;
	/* From the right: bucket names have dots. */
	while (e > p && n < 4) {
		const char *dot = memrchr(p, '.', (size_t)(e - p)), *from = dot ? dot + 1 : p;
		label[n++] = cut(from, e);
		e = dot ? dot : p;
	}
	if (n == 0)
		return false;
	unsigned at = n > 1 && memchr(label[0].p, '-', label[0].n) && !STARTS(label[0], "s3-") ? 1 : 0;
	if (c->service.n == 0)
		c->service = word(label[at]);
	if (at && c->region.n == 0)
		c->region = word(label[0]);
	if ((is(label[at], "s3") || STARTS(label[at], "s3-")) && label[at].p > host.p + 1)
		set_resource(c, AWS_BUCKET, cut(host.p, label[at].p - 1));
	return c->service.n != 0;
}

/* X-Amz-Target tells the operation, and the service where nothing else does. */
static void by_target(struct slice t, struct aws_call *c)
{
	static const struct {
		const char *prefix, *service;
	} known[] = {
		{"DynamoDBStreams", "streams.dynamodb"},
		{"DynamoDB", "dynamodb"},
		{"AmazonSQS", "sqs"},
		{"Kinesis", "kinesis"},
		{"Firehose", "firehose"},
		{"Logs", "logs"},
		{"AmazonSSM", "ssm"},
		{"secretsmanager", "secretsmanager"},
		{"TrentService", "kms"},
		{"AWSStepFunctions", "states"},
		{"AmazonEC2ContainerService", "ecs"},
		{"AWSEvents", "events"},
		{"AWSCognitoIdentityProviderService", "cognito-idp"},
		{"AWSCognitoIdentityService", "cognito-identity"},
		{"GraniteServiceVersion", "monitoring"},
		{"AWSGlue", "glue"},
		{"AmazonAthena", "athena"},
		{"CertificateManager", "acm"},
		{"AWSXRay", "xray"},
	};
	const char *dot = t.n ? memrchr(t.p, '.', t.n) : NULL;
	if (!dot)
		return;
	c->operation = word(cut(dot + 1, t.p + t.n));
	for (size_t i = 0; i < sizeof known / sizeof *known && c->service.n == 0; i++)
		if (starts(t, known[i].prefix, strlen(known[i].prefix)))
			c->service = (struct slice){known[i].service, (uint32_t)strlen(known[i].service)};
}

/* ---- what ---- */

/* The value of a key in "a=b&c"; found only whole. */
static bool in_query(struct slice q, const char *key, struct slice *value)
{
	size_t n = strlen(key);
	if (!q.n)
		return false;
	for (const char *p = q.p, *e = q.p + q.n; p < e;) {
		const char *amp = memchr(p, '&', (size_t)(e - p)), *end = amp ? amp : e;
		if ((size_t)(end - p) >= n && memcmp(p, key, n) == 0 && (p + n == end || p[n] == '=')) {
			*value = p + n == end ? none : cut(p + n + 1, end);
			return true;
		}
		p = end + 1;
	}
	return false;
}

/* First row that fits; `query` is a key that has to be there. */
static struct slice s3_operation(const struct http1_head *h, bool bucket, bool key, struct slice q)
{
	enum { ACCOUNT,
		   BUCKET,
		   OBJECT };
	static const struct {
		uint8_t method, on;
		const char *query;
		struct slice name;
	} rows[] = {
		{HTTP1_GET, OBJECT, "acl", SLICE("GetObjectAcl")},
		{HTTP1_GET, OBJECT, "tagging", SLICE("GetObjectTagging")},
		{HTTP1_GET, OBJECT, "uploadId", SLICE("ListParts")},
		{HTTP1_GET, OBJECT, NULL, SLICE("GetObject")},
		{HTTP1_GET, BUCKET, "list-type", SLICE("ListObjectsV2")},
		{HTTP1_GET, BUCKET, "uploads", SLICE("ListMultipartUploads")},
		{HTTP1_GET, BUCKET, "location", SLICE("GetBucketLocation")},
		{HTTP1_GET, BUCKET, "versions", SLICE("ListObjectVersions")},
		{HTTP1_GET, BUCKET, "acl", SLICE("GetBucketAcl")},
		{HTTP1_GET, BUCKET, NULL, SLICE("ListObjects")},
		{HTTP1_GET, ACCOUNT, NULL, SLICE("ListBuckets")},
		{HTTP1_HEAD, OBJECT, NULL, SLICE("HeadObject")},
		{HTTP1_HEAD, BUCKET, NULL, SLICE("HeadBucket")},
		{HTTP1_PUT, OBJECT, "partNumber", SLICE("UploadPart")},
		{HTTP1_PUT, OBJECT, "tagging", SLICE("PutObjectTagging")},
		{HTTP1_PUT, OBJECT, "acl", SLICE("PutObjectAcl")},
		{HTTP1_PUT, OBJECT, NULL, SLICE("PutObject")},
		{HTTP1_PUT, BUCKET, "", SLICE("CreateBucket")},
		{HTTP1_DELETE, OBJECT, "uploadId", SLICE("AbortMultipartUpload")},
		{HTTP1_DELETE, OBJECT, "tagging", SLICE("DeleteObjectTagging")},
		{HTTP1_DELETE, OBJECT, NULL, SLICE("DeleteObject")},
		{HTTP1_DELETE, BUCKET, "", SLICE("DeleteBucket")},
		{HTTP1_POST, OBJECT, "uploads", SLICE("CreateMultipartUpload")},
		{HTTP1_POST, OBJECT, "uploadId", SLICE("CompleteMultipartUpload")},
		{HTTP1_POST, OBJECT, "select", SLICE("SelectObjectContent")},
		{HTTP1_POST, BUCKET, "delete", SLICE("DeleteObjects")},
	};
	uint8_t on = key ? OBJECT : bucket ? BUCKET
	                                   : ACCOUNT;
	struct slice v;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *want = rows[i].query;
		if (rows[i].method != h->method || rows[i].on != on)
			continue;
		if (!want || (*want ? in_query(q, want, &v) : q.n == 0))
			return rows[i].name;
	}
	return none;
}

/* The next part of a path behind its slash; *p moves to its end. */
static struct slice path_part(const char **p, const char *e)
{
	const char *from = *p < e && **p == '/' ? *p + 1 : *p, *end = from;
	while (end < e && *end != '/')
		end++;
	*p = end;
	return cut(from, end);
}

static void by_path(const struct http1_head *h, struct aws_call *c)
{
	const char *p = h->target.p, *e = p + h->target.n, *mark = memchr(p, '?', h->target.n);
	struct slice q = mark ? cut(mark + 1, e) : none, v;
	if (mark)
		e = mark;
	if (h->target.n && *p != '/') { /* absolute form, to a proxy */
		const char *at = memmem(p, (size_t)(e - p), "://", 3);
		p = at ? memchr(at + 3, '/', (size_t)(e - at - 3)) : NULL;
		if (!p)
			p = e;
	}
	if (c->operation.n == 0 && (in_query(q, "Action", &v) || in_query(q, "x-id", &v)))
		c->operation = word(v);
	const char *at = p;
	struct slice first = path_part(&at, e), second = path_part(&at, e), third = path_part(&at, e), fourth = path_part(&at, e);
	if (is(c->service, "s3")) {
		bool virtual = c->kind == AWS_BUCKET;
		set_resource(c, AWS_BUCKET, first);
		if (c->operation.n == 0)
			c->operation = s3_operation(h, virtual || first.n, virtual ? first.n : second.n, q);
	} else if (is(second, "functions")) {
		set_resource(c, AWS_FUNCTION, third);
		if (c->operation.n == 0 && is(fourth, "invocations"))
			c->operation = SLICE("Invoke");
	} else if (is(first, "service") && is(third, "operation") && c->operation.n == 0) { /* Smithy RPC v2 */
		c->operation = word(fourth);
	}
}

bool aws_call_of(const struct http1_head *h, struct aws_call *out)
{
	*out = (struct aws_call){0};
	if (h->target.n == 0)
		return false;
	by_credential(h, out);
	by_host(h, out);
	by_target(h->aws_target, out);
	if (out->service.n == 0)
		return false;
	by_path(h, out);
	return true;
}

/* ---- bodies ---- */

struct json_at {
	const char *p, *e;
};

/* A string at its opening quote; without its quotes. Escapes are not undone: a value with one is not wanted. */
static bool json_string(struct json_at *j, struct slice *out)
{
	const char *from = ++j->p;
	for (; j->p < j->e; j->p++) {
		if (*j->p == '\\') {
			if (++j->p == j->e)
				return false;
		} else if (*j->p == '"') {
			*out = cut(from, j->p++);
			return true;
		}
	}
	return false;
}

static void blanks(struct json_at *j)
{
	while (j->p < j->e && (*j->p == ' ' || *j->p == '\n' || *j->p == '\r' || *j->p == '\t'))
		j->p++;
}

static uint8_t resource_key(struct slice key)
{
	if (is(key, "TableName"))
		return AWS_TABLE;
	if (is(key, "QueueUrl"))
		return AWS_QUEUE;
	if (is(key, "TopicArn"))
		return AWS_TOPIC;
	return is(key, "FunctionName") ? AWS_FUNCTION : AWS_NOTHING;
}

/* Keys of the outermost object only: what lies deeper is the user's data. */
static void json_body(struct slice body, struct aws_call *out)
{
	struct json_at j = {body.p, body.p + body.n};
	unsigned depth = 0;
	while (j.p < j.e && !out->resource.n) {
		struct slice key, value;
		switch (*j.p) {
		case '{':
		case '[':
			depth++;
			j.p++;
			break;
		case '}':
		case ']':
			depth -= depth > 0;
			j.p++;
			break;
		case '"':
			if (!json_string(&j, &key))
				return;
			blanks(&j);
			if (depth != 1 || j.p == j.e || *j.p != ':')
				break;
			j.p++;
			blanks(&j);
			if (j.p < j.e && *j.p == '"') {
				if (!json_string(&j, &value))
					return;
				uint8_t kind = resource_key(key);
				if (kind)
					set_resource(out, kind, value);
			}
			break;
		default:
			j.p++;
		}
	}
}

void aws_call_body(struct slice body, struct slice service, struct aws_call *out)
{
	struct slice v;
	*out = (struct aws_call){.service = service};
	if (body.n == 0)
		return;
	if (*body.p == '{') {
		json_body(body, out);
		return;
	}
	if (in_query(body, "Action", &v)) /* the last value may be cut off: whole ones only */
		if (v.n && v.p + v.n < body.p + body.n)
			out->operation = word(v);
}

/* ---- answers ---- */

struct slice aws_request_id(const char *head, size_t n)
{
	static const char *const names[] = {"x-amzn-requestid", "x-amzn-request-id", "x-amz-request-id"};
	for (const char *p = head, *e = head + n; p < e;) {
		const char *nl = memchr(p, '\n', (size_t)(e - p)), *eol = nl ? nl : e;
		for (size_t i = 0; i < sizeof names / sizeof *names && *p && (*p | 0x20) == 'x'; i++) {
			size_t len = strlen(names[i]), k = 0;
			if ((size_t)(eol - p) <= len || p[len] != ':')
				continue;
			while (k < len && lower(p[k]) == names[i][k])
				k++;
			if (k < len)
				continue;
			const char *v = p + len + 1, *end = eol;
			while (v < end && (*v == ' ' || *v == '\t'))
				v++;
			while (end > v && (end[-1] == '\r' || end[-1] == ' ' || end[-1] == '\t'))
				end--;
			return only(cut(v, end), "-_=+/", 128);
		}
		p = eol + (nl != NULL);
	}
	return none;
}
