/* REMORA_CAPTURE_HEADERS: which names are taken, and what they become. */
#include "proto/head_field.h"
#include "unit.h"

static void check(const char *names, const char *fields, const char *want)
{
	char head[1024], out[512];
	struct http1_head h;
	struct header_names l;
	struct slice bad;
	int n = snprintf(head, sizeof head, "GET / HTTP/1.1\r\n%s\r\n", fields);
	char *exact = malloc((size_t)n);
	unit_case("%s | %s", names, fields);
	memcpy(exact, head, (size_t)n);
	OK(header_names_parse(&l, names, &bad));
	EQ_INT(http1_parse_request(exact, (size_t)n, 0, &h), n);
	size_t len = header_names_write(&l, &h, out, sizeof out);
	EQ_MEM(out, len, want, strlen(want));
	/* What does not fit is left out whole, or cut in its value. */
	for (size_t cap = 0; cap < len; cap++) {
		char *small = malloc(cap + 1);
		OK(header_names_write(&l, &h, small, cap) <= cap);
		free(small);
	}
	free(exact);
}

TEST(headers)
{
	check("X-Request-Id", "X-Request-ID: 17\r\n", "x-request-id: 17\n");
	check("X-Request-Id, Referer", "Referer: http://u:p@h/?token=hunter2&a=1\r\nX-Request-ID:17 \r\n",
	      "x-request-id: 17\nreferer: http://REDACTED:REDACTED@h/?token=REDACTED&a=1\n");
	check("X-A", "X-B: 1\r\n", "");
	check("X-A", "X-A:\r\n", "x-a: \n");
	check("X-A", "X-A: 1\r\n 2\r\n", "x-a: 1\n");
	check("", "X-A: 1\r\n", "");
}

TEST(bad_names)
{
	static const struct {
		const char *text, *bad;
		unsigned n;
	} bads[] = {
		{"Authorization", "Authorization", 0},
		{"a,COOKIE,b", "COOKIE", 2},
		{"a b", "a b", 0},
		{"a:", "a:", 0},
		{"a,b,c,d,e,f,g,h,i", "i", HEADERS_MOST},
	};
	for (size_t i = 0; i < sizeof bads / sizeof *bads; i++) {
		struct header_names l;
		struct slice bad = {NULL, 0};
		unit_case("%s", bads[i].text);
		OK(!header_names_parse(&l, bads[i].text, &bad));
		EQ_INT(l.n, bads[i].n);
		EQ_MEM(bad.p, bad.n, bads[i].bad, strlen(bads[i].bad));
	}
}
