/* SigV4: published vectors, and cases that a script generated and another signer signed (REMORA_SIGV4_CASES). */
#include "exporters/aws/sigv4.h"
#include "unit.h"

static const struct aws_keys example = {"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", NULL};

/* The suite of AWS (aws-sig-v4-test-suite): 20150830T123600Z, us-east-1, service. */
TEST(suite)
{
	static const struct {
		const char *name, *method, *path, *query, *headers[4], *body, *signature;
	} rows[] = {
		/* clang-format off */
		{"get-vanilla", "GET", "/", "", {NULL}, "",
		 "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-vanilla-query-order-key-case", "GET", "/", "Param2=value2&Param1=value1", {NULL}, "",
		 "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
		{"get-header-value-trim", "GET", "/", "", {"My-Header1: value1", "My-Header2: \"a   b   c\""}, "",
		 "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
		{"post-vanilla", "POST", "/", "", {NULL}, "",
		 "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
		{"post-x-www-form-urlencoded", "POST", "/", "", {"Content-Type: application/x-www-form-urlencoded"}, "Param1=value1",
		 "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
		/* clang-format on */
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sigv4_lines l;
		struct sigv4 r = {
			.method = rows[i].method,
			.host = "example.amazonaws.com",
			.path = rows[i].path,
			.query = rows[i].query,
			.headers = rows[i].headers,
			.body = rows[i].body,
			.body_n = strlen(rows[i].body),
			.region = "us-east-1",
			.service = "service",
			.keys = example,
			.time_s = 1440938160,
		};
		unit_case("%s", rows[i].name);
		OK(sigv4_sign(&r, &l));
		EQ_STR(l.signature, rows[i].signature);
		EQ_STR(l.date, "X-Amz-Date: 20150830T123600Z");
		EQ_INT(l.token.n, 0);
		sigv4_free(&l);
	}
}

/* botocore, smithy and a third signer agree on these. */
TEST(put_log_events)
{
	static const char *const plain[] = {"Content-Type: application/x-amz-json-1.1", "X-Amz-Target: Logs_20140328.PutLogEvents", NULL};
	static const char *const hashed[] = {
		"X-Amz-Content-Sha256: 015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862",
		"Content-Type: application/x-amz-json-1.1", "X-Amz-Target: Logs_20140328.PutLogEvents", NULL};
	struct sigv4_lines l;
	struct sigv4 r = {
		.method = "POST",
		.host = "logs.ca-central-1.amazonaws.com",
		.path = "/",
		.headers = plain,
		.body = "{\"a\":1}",
		.body_n = 7,
		.region = "ca-central-1",
		.service = "logs",
		.keys = example,
		.time_s = 1767323045,
	};
	r.keys.token = "TOK==";
	OK(sigv4_sign(&r, &l));
	EQ_STR(l.canonical, "dba94f3237187924289f7d958229b4a9f68b010f092e7d9c7db7cfe8b68df4f4");
	EQ_STR(l.signature, "37630201146b1829ab42c3ff2cfcb878dda09a119e289a5221bf5c57f83e0b31");
	EQ_STR(l.token.p, "X-Amz-Security-Token: TOK==");
	EQ_STR(l.authorization.p,
	       "Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/ca-central-1/logs/aws4_request, "
	       "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, "
	       "Signature=37630201146b1829ab42c3ff2cfcb878dda09a119e289a5221bf5c57f83e0b31");
	sigv4_free(&l);
	r.headers = hashed;
	OK(sigv4_sign(&r, &l));
	EQ_STR(l.canonical, "f496ad6569e349b1242a8c4b9fb9794fac4ace81b74520ede1be8d13550b3f0e");
	EQ_STR(l.signature, "5d564a82565fc3c3462f4aea9fbebd20667741772f9b2e796fe643137d477565");
	sigv4_free(&l);
}

TEST(too_many_headers)
{
	const char *many[SIGV4_HEADERS + 1] = {NULL};
	struct sigv4_lines l;
	for (int i = 0; i < SIGV4_HEADERS; i++)
		many[i] = "A: b";
	struct sigv4 r = {
		.method = "GET",
		.host = "h",
		.path = "/",
		.headers = many,
		.region = "r",
		.service = "s",
		.keys = example,
	};
	OK(!sigv4_sign(&r, &l));
}

/* Lines of fields in hex, divided by blanks, "-" for an empty one; tests/e2e/test_cloudwatch.py writes them. */
static char *field(char **at)
{
	char *p = *at, *end = p + strcspn(p, " \n"), *out = malloc((size_t)(end - p) / 2 + 1);
	size_t n = 0;
	*at = end + (*end == ' ');
	for (; *p != '-' && p + 1 < end; p += 2) {
		unsigned c;
		OK(sscanf(p, "%2x", &c) == 1);
		out[n++] = (char)c;
	}
	out[n] = 0;
	return out;
}

TEST(cases_of_another_signer)
{
	const char *path = getenv("REMORA_SIGV4_CASES");
	FILE *f = path ? fopen(path, "r") : NULL;
	char *line = NULL;
	size_t cap = 0;
	unsigned n = 0;
	OK(!path || f);
	while (f && getline(&line, &cap, f) > 0) {
		enum { METHOD,
			   HOST,
			   PATH,
			   QUERY,
			   HEADERS,
			   BODY,
			   REGION,
			   SERVICE,
			   ID,
			   SECRET,
			   TOKEN,
			   TIME,
			   WANT,
			   FIELDS };
		char *v[FIELDS], *at = line, *headers[SIGV4_HEADERS + 1] = {NULL};
		size_t k = 0;
		for (int i = 0; i < FIELDS; i++)
			v[i] = field(&at);
		for (char *save, *h = strtok_r(v[HEADERS], "\n", &save); h; h = strtok_r(NULL, "\n", &save))
			headers[k++] = h;
		struct sigv4 r = {
			.method = v[METHOD],
			.host = v[HOST],
			.path = v[PATH],
			.query = v[QUERY],
			.headers = (const char *const *)headers,
			.body = v[BODY],
			.body_n = strlen(v[BODY]),
			.region = v[REGION],
			.service = v[SERVICE],
			.keys = {v[ID], v[SECRET], v[TOKEN]},
			.time_s = strtoull(v[TIME], NULL, 10),
		};
		struct sigv4_lines l;
		unit_case("line %u: %s %s?%s", ++n, v[METHOD], v[PATH], v[QUERY]);
		OK(sigv4_sign(&r, &l));
		EQ_STR(l.authorization.p + strlen("Authorization: "), v[WANT]);
		sigv4_free(&l);
		for (int i = 0; i < FIELDS; i++)
			free(v[i]);
	}
	free(line);
	if (f)
		fclose(f);
	if (path)
		printf("%u cases\n", n);
}
