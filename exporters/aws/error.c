#include "exporters/aws/error.h"
#include <cjson/cJSON.h>
#include <string.h>

static void printable(char *to, size_t cap, const char *s, size_t n)
{
	size_t k = 0;
	for (size_t i = 0; i < n && k < cap - 1; i++)
		to[k++] = s[i] >= 0x20 && s[i] < 0x7f ? s[i] : ' ';
	to[k] = 0;
}

/* "com.amazonaws.logs#Name:http://.." */
static void type(struct aws_error *out, const char *s)
{
	const char *hash = strrchr(s, '#');
	s = hash ? hash + 1 : s;
	printable(out->type, sizeof out->type, s, strcspn(s, ":"));
}

/* STS, and moto when it checks signatures. */
static void read_xml(struct aws_error *out, const char *body, size_t n)
{
	static const char open[] = "<Code>", message[] = "<Message>";
	const char *end = body + n, *p = memmem(body, n, open, sizeof open - 1), *e;
	if (!p)
		return;
	p += sizeof open - 1;
	if (!(e = memchr(p, '<', (size_t)(end - p))))
		return;
	printable(out->type, sizeof out->type, p, (size_t)(e - p));
	p = memmem(body, n, message, sizeof message - 1);
	if (p && (e = memchr(p + 1, '<', (size_t)(end - p - 1)))) {
		p += sizeof message - 1;
		printable(out->message, sizeof out->message, p, (size_t)(e - p));
	}
}

void aws_error_read(struct aws_error *out, const char *header, const char *body, size_t n)
{
	*out = (struct aws_error){{0}, {0}};
	if (header)
		type(out, header + strspn(header, " \t"));
	cJSON *o = n ? cJSON_ParseWithLength(body, n) : NULL;
	if (!o) {
		read_xml(out, body, n);
		return;
	}
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "__type"));
	if (s)
		type(out, s);
	s = cJSON_GetStringValue(cJSON_GetObjectItem(o, "message")); /* in any case */
	if (s)
		printable(out->message, sizeof out->message, s, strlen(s));
	cJSON_Delete(o);
}

bool aws_error_is(const struct aws_error *e, const char *names)
{
	size_t n = strlen(e->type);
	for (const char *p = names; n && *p;) {
		size_t k = strcspn(p, "|");
		if (k == n && memcmp(p, e->type, n) == 0)
			return true;
		p += k + (p[k] == '|');
	}
	return false;
}

bool aws_error_busy(const struct aws_error *e)
{
	return aws_error_is(e, "ThrottlingException|ThrottledException|Throttling|TooManyRequestsException|RequestLimitExceeded|"
	                       "ServiceUnavailableException|InternalFailure|InternalServerError|LimitExceededException|RequestTimeout");
}

bool aws_error_unauthorized(const struct aws_error *e)
{
	return aws_error_is(e, "UnrecognizedClientException|ExpiredTokenException|ExpiredToken|InvalidSignatureException|"
	                       "SignatureDoesNotMatch|IncompleteSignature|IncompleteSignatureException|InvalidClientTokenId|"
	                       "MissingAuthenticationTokenException|MissingAuthenticationToken|RequestExpired|RequestTimeTooSkewed|"
	                       "RequestTimeTooSkewedException");
}
