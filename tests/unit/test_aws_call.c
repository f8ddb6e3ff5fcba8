/* AWS API calls by their heads. Inputs end at an unreadable page. */
#include "proto/aws_call.h"
#include "unit.h"

#define AUTH(scope) "Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/" scope "/aws4_request, SignedHeaders=host, Signature=00\r\n"

static struct unit_guarded guarded;

static struct slice at_end(const char *s)
{
	if (guarded.map)
		unit_unguard(guarded);
	guarded = unit_at_end(s, strlen(s));
	return (struct slice){guarded.p, (uint32_t)strlen(s)};
}

/* "service region operation k:resource", "-" for what is not known. */
static const char *shown(const struct aws_call *c)
{
	static char out[600];
	const struct slice part[] = {c->service, c->region, c->operation};
	int n = 0;
	for (int i = 0; i < 3; i++)
		n += sprintf(out + n, "%.*s ", part[i].n ? (int)part[i].n : 1, part[i].n ? part[i].p : "-");
	sprintf(out + n, "%c:%.*s", c->kind ? c->kind : '-', (int)c->resource.n, c->resource.p ? c->resource.p : "");
	return out;
}

TEST(request_heads)
{
	static const struct {
		const char *line, *fields, *want;
	} rows[] = {
		{"POST / HTTP/1.1", "Host: localhost:8000\r\nX-Amz-Target: DynamoDB_20120810.GetItem\r\n" AUTH("ca-central-1/dynamodb"),
	     "dynamodb ca-central-1 GetItem -:"},
		{"POST / HTTP/1.1", "Host: dynamodb.eu-west-1.amazonaws.com\r\nX-Amz-Target: DynamoDB_20120810.Query\r\n",
	     "dynamodb eu-west-1 Query -:"},
		{"POST / HTTP/1.1", "Host: cognito-idp.ca-central-1.amazonaws.com:443\r\nX-Amz-Target: AWSCognitoIdentityProviderService.InitiateAuth\r\n",
	     "cognito-idp ca-central-1 InitiateAuth -:"},
		{"POST / HTTP/1.1", "Host: h\r\nX-Amz-Target: AmazonSQS.SendMessage\r\n", "sqs - SendMessage -:"},
		{"POST /123456789012/queue HTTP/1.1", "Host: q\r\n" AUTH("us-east-1/sqs"), "sqs us-east-1 - -:"},
		{"GET /?Action=GetCallerIdentity&Version=2011-06-15 HTTP/1.1", "Host: sts.amazonaws.com\r\n",
	     "sts - GetCallerIdentity -:"},
		{"GET /cruddur/a/b.txt HTTP/1.1", "Host: localhost:9000\r\n" AUTH("us-east-1/s3"), "s3 us-east-1 GetObject b:cruddur"},
		{"PUT /a/b.txt HTTP/1.1", "Host: my.bucket.s3.eu-west-1.amazonaws.com\r\n" AUTH("eu-west-1/s3"),
	     "s3 eu-west-1 PutObject b:my.bucket"},
		{"GET /?list-type=2&prefix=x HTTP/1.1", "Host: pics.s3.amazonaws.com\r\n", "s3 - ListObjectsV2 b:pics"},
		{"GET / HTTP/1.1", "Host: s3.us-west-2.amazonaws.com\r\n", "s3 us-west-2 ListBuckets -:"},
		{"DELETE /b HTTP/1.1", "Host: x\r\n" AUTH("us-east-1/s3"), "s3 us-east-1 DeleteBucket b:b"},
		{"PUT /b/k?partNumber=1&uploadId=u HTTP/1.1", "Host: x\r\n" AUTH("us-east-1/s3"), "s3 us-east-1 UploadPart b:b"},
		{"GET /b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=x HTTP/1.1",
	     "Host: x\r\n", "s3 us-east-1 GetObject b:b"},
		{"GET /b/k?x-id=GetObject&acl HTTP/1.1", "Host: x\r\n" AUTH("us-east-1/s3"), "s3 us-east-1 GetObject b:b"},
		{"POST /2015-03-31/functions/hello/invocations HTTP/1.1", "Host: x\r\n" AUTH("us-east-1/lambda"),
	     "lambda us-east-1 Invoke f:hello"},
		{"POST /service/GraniteServiceVersion20100801/operation/PutMetricData HTTP/1.1", "Host: x\r\n" AUTH("us-east-1/monitoring"),
	     "monitoring us-east-1 PutMetricData -:"},
		{"GET http://s3.eu-west-1.amazonaws.com/b/k HTTP/1.1", "Host: s3.eu-west-1.amazonaws.com\r\n", "s3 eu-west-1 GetObject b:b"},
		{"POST / HTTP/1.1", "Host: x\r\nAuthorization: AWS4-ECDSA-P256-SHA256 Credential=AKID/20260101/s3/aws4_request, SignedHeaders=x\r\n",
	     "s3 - - -:"},
		{"POST / HTTP/1.1", "Host: evil\r\nX-Amz-Target: DynamoDB_20120810.Get\"Item\r\n", "dynamodb - - -:"},
		{"GET / HTTP/1.1", "Host: amazonaws.com\r\n", "none"},
		{"GET / HTTP/1.1", "Host: notamazonaws.com\r\n", "none"},
		{"GET / HTTP/1.1", "Host: x\r\nX-Amz-Target: Whatever.Do\r\n", "none"},
		{"GET /a HTTP/1.1", "Host: x\r\nAuthorization: Bearer AWS4-HMAC-SHA256\r\n", "none"},
		{"GET /a HTTP/1.1", "Host: x\r\nAuthorization: AWS4-HMAC-SHA256 Credential=AKID/aws4_request, Signature=1\r\n", "none"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char text[2048];
		struct http1_head h;
		struct aws_call c;
		unit_case("%s", rows[i].line);
		snprintf(text, sizeof text, "%s\r\n%s\r\n", rows[i].line, rows[i].fields);
		struct slice s = at_end(text);
		OK(http1_parse_request(s.p, s.n, 0, &h) == (ssize_t)s.n);
		bool is = aws_call_of(&h, &c);
		EQ_STR(is ? shown(&c) : "none", rows[i].want);
		if (is)
			OK(aws_call_likely(&h));
	}
}

TEST(bodies)
{
	static const struct {
		const char *body, *want;
	} rows[] = {
		{"{\"TableName\": \"cruddur-messages\", \"Key\": {}}", "- - - t:cruddur-messages"},
		{"{ \"Key\" : {\"TableName\": \"deep\"}, \"a\":[{\"TableName\":\"x\"}], \"TableName\":\"real\"}", "- - - t:real"},
		{"{\"x\":\"TableName\", \"y\":\"\\\"TableName\\\":\\\"no\\\"\"}", "- - - -:"},
		{"{\"QueueUrl\":\"https://sqs.us-east-1.amazonaws.com/1234/q\",\"MessageBody\":\"secret\"}",
	     "- - - q:https://sqs.us-east-1.amazonaws.com/1234/q"},
		{"{\"QueueUrl\":\"https://user:pw@host/q?token=s\"}", "- - - -:"},
		{"{\"TableName\":\"cut", "- - - -:"},
		{"{\"TableName\"", "- - - -:"},
		{"{", "- - - -:"},
		{"Action=SendMessage&Version=2012-11-05&MessageBody=x", "- - SendMessage -:"},
		{"Version=2012-11-05&Action=Publish&x=1", "- - Publish -:"},
		{"MessageBody=Action=Nope&x=1", "- - - -:"},
		{"Action=SendMess", "- - - -:"},
		{"", "- - - -:"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct aws_call c;
		unit_case("%s", rows[i].body);
		aws_call_body(at_end(rows[i].body), (struct slice){NULL, 0}, &c);
		EQ_STR(shown(&c), rows[i].want);
	}
}

TEST(request_ids)
{
	static const struct {
		const char *head, *want;
	} rows[] = {
		{"HTTP/1.1 200 OK\r\nX-Amzn-RequestId: ABC-1\r\n\r\n", "ABC-1"},
		{"HTTP/1.1 200 OK\r\nServer: x\r\nx-amz-request-id:  EF01=/+ \r\n\r\n", "EF01=/+"},
		{"HTTP/1.1 200 OK\nx-amzn-request-id: a\n\n", "a"},
		{"HTTP/1.1 200 OK\r\nx-amzn-requestid: a\"b\r\n\r\n", ""},
		{"HTTP/1.1 200 OK\r\nx-amzn-requestidx: a\r\n\r\n", ""},
		{"HTTP/1.1 200 OK\r\n\r\n", ""},
		{"x-amz-request-id:", ""},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("%s", rows[i].head);
		struct slice s = at_end(rows[i].head), id = aws_request_id(s.p, s.n);
		OK(id.n == strlen(rows[i].want) && memcmp(id.p ? id.p : "", rows[i].want, id.n) == 0);
	}
}
