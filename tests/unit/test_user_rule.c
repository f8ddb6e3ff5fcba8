/* REMORA_USER: which rules are taken, and what each finds in a request. */
#include "proto/user_rule.h"
#include "unit.h"

#define HEAD(target, fields) "GET " target " HTTP/1.1\r\nHost: h\r\n" fields "\r\n"

static const struct {
	const char *rules, *head, *want; /* NULL: nobody */
} rows[] = {
	{"header:X-User-Id", HEAD("/", "X-User-Id: worf\r\n"), "worf"},
	{"header:x-user-ID", HEAD("/", "X-USER-id:\t worf \t\r\nX-User-Id: data\r\n"), "worf"},
	{"header:X-User-Id", HEAD("/", "X-User-Id2: worf\r\nAX-User-Id: data\r\n"), NULL},
	{"header:X-User-Id", HEAD("/", "X-User-Id:\r\n"), NULL},
	{"header:X-User-Id", "GET / HTTP/1.1\nX-User-Id: worf\n\n", "worf"},
	{"header:X-User-Id", "\r\nGET / HTTP/1.1\r\nX-User-Id: worf\r\n\r\n", "worf"},
	{"cookie:uid", HEAD("/", "Cookie: a=b; uid=worf; c=d\r\n"), "worf"},
	{"cookie:uid", HEAD("/", "Cookie: uid2=worf;uid=\r\n"), NULL},
	{"cookie:uid", HEAD("/", ""), NULL},
	{"query:user", HEAD("/a?x=1&user=worf", ""), "worf"},
	{"query:user", HEAD("/a?user=worf#user=data", ""), "worf"},
	{"query:user", HEAD("/a#?user=data", ""), NULL},
	{"query:user", HEAD("/a?users=worf&user", ""), NULL},
	{"query:user", HEAD("/user=worf", ""), NULL},
	{"path:/api/activities/@{}", HEAD("/api/activities/@worf", ""), "worf"},
	{"path:/api/activities/@{handle}", HEAD("/api/activities/@worf/likes?x=/", ""), "worf"},
	{"path:/u/{id}/x", HEAD("/u/worf/x", ""), "worf"},
	{"path:/u/{id}/x", HEAD("/u/worf/y", ""), NULL},
	{"path:/u/{id}", HEAD("/u/", ""), NULL},
	{"path:/u/{id}", HEAD("/u?/worf", ""), NULL},
	{"path:/u/{id}", HEAD("http://h/u/worf?x", ""), "worf"},
	{"path:/u/{id}", HEAD("http://h", ""), NULL},
	{"path:/{id}", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", NULL},
	{"baggage:enduser.id", HEAD("/", "baggage: a=1\r\nbaggage: b=2, enduser.id=worf;p=1\r\n"), "worf"},
	{"baggage:enduser.id", HEAD("/", "baggage: enduser.id;x=worf\r\n"), NULL},
	{" header:X-A , query:b ", HEAD("/?b=worf", ""), "worf"},
	{"header:X-A,query:b", HEAD("/?b=worf", "X-A: data\r\n"), "data"},
};

TEST(finds)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t n = strlen(rows[i].head);
		char *exact = malloc(n);
		struct http1_head h;
		struct user_rules r;
		struct slice bad;
		unit_case("%zu: %s", i, rows[i].rules);
		OK(exact && user_rules_parse(&r, rows[i].rules, &bad) && r.n);
		memcpy(exact, rows[i].head, n);
		EQ_INT(http1_parse_request(exact, n, 0, &h), n);
		struct slice got = user_rules_find(&r, &h);
		if (rows[i].want) {
			OK(got.p >= exact && got.p + got.n <= exact + n);
			EQ_MEM(got.p, got.n, rows[i].want, strlen(rows[i].want));
		} else {
			OK(!got.p);
		}
		free(exact);
	}
}

TEST(long_ones_are_nobody)
{
	char head[600], name[300];
	struct user_rules r;
	struct http1_head h;
	struct slice bad;
	for (int n = USER_MOST; n <= USER_MOST + 1; n++) {
		memset(name, 'x', sizeof name);
		name[n] = 0;
		snprintf(head, sizeof head, "GET / HTTP/1.1\r\nX-A: %s\r\n\r\n", name);
		OK(http1_parse_request(head, strlen(head), 0, &h) > 0 && user_rules_parse(&r, "header:X-A", &bad));
		EQ_INT(user_rules_find(&r, &h).n, n == USER_MOST ? n : 0);
	}
}

TEST(bad_rules)
{
	static const struct {
		const char *text, *bad;
		unsigned n;
	} bads[] = {
		{"nonsense", "nonsense", 0},
		{"header:", "header:", 0},
		{"header:a,claim:sub,query:b", "claim:sub", 2},
		{"header:Authorization", "header:Authorization", 0},
		{"header:cookie", "header:cookie", 0},
		{"path:u/{}", "path:u/{}", 0},
		{"path:/u/", "path:/u/", 0},
		{"path:/u/}{", "path:/u/}{", 0},
		{"query:a,query:b,query:c,query:d,query:e", "query:e", 4},
	};
	struct user_rules r;
	struct slice bad = {NULL, 0};
	for (size_t i = 0; i < sizeof bads / sizeof *bads; i++) {
		unit_case("%s", bads[i].text);
		OK(!user_rules_parse(&r, bads[i].text, &bad));
		EQ_INT(r.n, bads[i].n);
		EQ_MEM(bad.p, bad.n, bads[i].bad, strlen(bads[i].bad));
	}
	OK(user_rules_parse(&r, NULL, &bad) && r.n == 0);
	OK(user_rules_parse(&r, " , ", &bad) && r.n == 0);
}
