/* X-Ray: addresses, names, wildcards, documents. What a daemon receives is in tests/e2e/test_xray.py. */
#include "base/glob.h"
#include "exporters/xray/xray.h"
#include "proto/db.h"
#include "span_sample.h"
#include "build/deps/include/cjson/cJSON.h"

TEST(addresses)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{"127.0.0.1:2000", "127.0.0.1 2000 127.0.0.1 2000"},
		{"xray-daemon:2001", "xray-daemon 2001 xray-daemon 2001"},
		{"tcp:a:1 udp:b:2", "b 2 a 1"},
		{"UDP:b:2   tcp:a:1 ", "b 2 a 1"},
		{"udp:b:2", "b 2 127.0.0.1 2000"},
		{"tcp:b:2", "127.0.0.1 2000 b 2"},
		{"[::1]:2000", "::1 2000 ::1 2000"},
		{"udp:[fe80::1]:9 tcp:x:1", "fe80::1 9 x 1"},
		{"", ""},
		{"a", ""},
		{"a:", ""},
		{":1", ""},
		{"a:0", ""},
		{"a:65536", ""},
		{"a:1x", ""},
		{"a b:1", ""},
		{"tcp:a:1 tcp:b:2", ""},
		{"a:1 b:2", ""},
		{"a:1 udp:b:2", ""},
		{"udp:a:1 b:2", ""},
		{"http://a:1", ""},
		{"u@a:1", ""},
		{"[::1:2000", ""},
		{"[]:1", ""},
		{"::1:2000", ""},
		{"udp:", ""},
		{"udp:a:1 tcp:b:2 x", ""},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct xray_address udp, tcp;
		char out[600] = "";
		unit_case("%s", rows[i].in);
		if (xray_address_parse(rows[i].in, &udp, &tcp))
			sprintf(out, "%s %u %s %u", udp.host, udp.port, tcp.host, tcp.port);
		EQ_STR(out, rows[i].want);
	}
}

TEST(wildcards)
{
	static const struct {
		const char *pattern, *text;
		bool want;
	} rows[] = {
		{"*", "", true},
		{"*", "x", true},
		{"", "", true},
		{"", "x", false},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"*.example.com", "API.Example.com", true},
		{"*.example.com", "example.com", false},
		{"*a*b", "xxaxxbxb", true},
		{"*a*b", "xxaxxbxc", false},
		{"a*", "a", true},
		{"**a", "ba", true},
		{"?", "", false},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("%s %s", rows[i].pattern, rows[i].text);
		OK(glob_fits(slice_of(rows[i].pattern), slice_of(rows[i].text), true) == rows[i].want);
	}
}

TEST(names)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{"backend-flask", "backend-flask"},
		{"a b_c.d:e/f%g&h#i=j+k\\l-m@n", "a b_c.d:e/f%g&h#i=j+k\\l-m@n"},
		{"a?b;c*d(e)f!g$h~i^j<k>l{m}n\"o", "abcdefghijklmno"},
		{"", "unknown"},
		{"???", "unknown"},
		{"caf\xc3\xa9 \xe4\xb8\xad", "caf\xc3\xa9 \xe4\xb8\xad"},
		{"x\xf0\x9f\x98\x80y\xcc\x81z\xc3\x97", "xyz"},
		{"a\xff\x01", "a"},
	};
	char out[XRAY_NAME_MOST * 4 + 1], many[400];
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("%s", rows[i].in);
		xray_name_clean((struct slice){rows[i].in, (uint32_t)strlen(rows[i].in)}, out);
		EQ_STR(out, rows[i].want);
	}
	memset(many, 'a', sizeof many);
	EQ_INT((int)xray_name_clean((struct slice){many, sizeof many}, out), 200);
}

/* ---- documents ---- */

static struct attr own[] = {{.key = "service.name", .key_len = 12, .str = "backend", .str_len = 7}};
static const struct resource res = {.n = 1, .attrs = own, .service_name = "backend"};
static struct span_attrs attrs;
static struct buf out;

static const char *document(const struct sample *s, const struct settings *set, const struct span_event *event, bool in_progress)
{
	struct xray_span x = {&s->view, &attrs, &res, event, set, in_progress};
	out.n = 0;
	OK(span_attrs_make(&attrs, &s->view, set));
	OK(xray_doc(&out, &x));
	span_attrs_free(&attrs);
	buf_add(&out, "", 1);
	out.n--;
	return out.p;
}
#define HAS(text, part)                                               \
	do {                                                              \
		if (!strstr(text, part))                                      \
			unit_fail(__FILE__, __LINE__, "no %s in %s", part, text); \
	} while (0)

TEST(a_segment)
{
	struct sample s = sample_new(SPAN_SERVER);
	s.rec->start_ns += 123456;
	const char *d = document(&s, &no_limits, NULL, false);
	HAS(d, "{\"name\":\"backend\",\"id\":\"53995c3f42cd8ad8\",\"trace_id\":\"1-5759e988-bd862e3fe1be46a994272793\","
	       "\"start_time\":1700000000.000123,\"end_time\":1700000000.010000,\"http\":{\"request\":{\"method\":\"GET\","
	       "\"url\":\"http://shop.test:8080/a/b\",\"client_ip\":\"192.0.2.9\"},\"response\":{\"status\":200}},\"aws\":");
	HAS(d, "\"url.query\":\"c=d\"");
	OK(!strstr(d, "\"fault\"") && !strstr(d, "parent_id") && !strstr(d, "\"type\""));
}

TEST(an_open_request)
{
	struct sample s = sample_new(SPAN_SERVER);
	s.rec->status = 500;
	const char *d = document(&s, &no_limits, NULL, true);
	HAS(d, "\"in_progress\":true");
	OK(!strstr(d, "end_time") && !strstr(d, "\"response\"") && !strstr(d, "\"fault\""));
}

TEST(an_aws_call)
{
	struct sample s = sample_new(SPAN_CLIENT);
	memset(s.rec->parent_id, 0xa0, 8);
	SET(&s, REC_AWS, "dynamodb\nca-central-1\nGetItem\n");
	SET(&s, REC_AWS_MORE, "\n\n\ntcruddur");
	SET(&s, REC_AWS_ID, "ID1");
	const char *d = document(&s, &no_limits, NULL, false);
	HAS(d, "{\"type\":\"subsegment\",\"name\":\"dynamodb\",");
	HAS(d, "\"parent_id\":\"a0a0a0a0a0a0a0a0\"");
	HAS(d, "\"namespace\":\"aws\"");
	HAS(d, "\"aws\":{\"operation\":\"GetItem\",\"region\":\"ca-central-1\",\"request_id\":\"ID1\",\"table_name\":\"cruddur\",");
}

/* ---- database commands ---- */

static struct sample sample_db(enum db_system system, enum rec_db what)
{
	struct sample s = sample_new(SPAN_DB);
	memset(s.rec->parent_id, 0xa0, 8);
	s.rec->method = (uint8_t)system;
	s.rec->minor = what;
	s.rec->status = 0;
	s.rec->req_size = 1;
	s.rec->peer.port = 5433;
	rec_set(&s.view, REC_TARGET, (struct slice){NULL, 0});
	rec_set(&s.view, REC_HOST, (struct slice){NULL, 0});
	SET(&s, REC_DB, "cruddur\nworf\n15.4\n");
	SET(&s, REC_QUERY, "SELECT name FROM users WHERE id = ?");
	return s;
}

TEST(a_database_command)
{
	struct sample s = sample_db(DB_POSTGRESQL, REC_DB_TEXT);
	const char *d = document(&s, &no_limits, NULL, false);
	HAS(d, "{\"type\":\"subsegment\",\"name\":\"cruddur@192.0.2.9\",");
	HAS(d, "\"parent_id\":\"a0a0a0a0a0a0a0a0\"");
	HAS(d, "\"namespace\":\"remote\",\"sql\":{\"url\":\"postgresql://192.0.2.9:5433/cruddur\","
	       "\"connection_string\":\"192.0.2.9:5433/cruddur\",\"sanitized_query\":\"SELECT name FROM users WHERE id = ?\","
	       "\"database_type\":\"postgresql\",\"database_version\":\"15.4\",\"user\":\"worf\"},\"aws\":{\"xray\":");
	HAS(d, "\"db.query.summary\":");
	OK(!strstr(d, "\"http\"") && !strstr(d, "\"fault\"") && !strstr(d, "\"error\"") && !strstr(d, "\"cause\""));
	OK(!strstr(d, "\"db.query.text\"") && !strstr(d, "\"db.namespace\"")); /* they have their places */
	s.rec->status = 404;                                                   /* no HTTP */
	d = document(&s, &no_limits, NULL, false);
	OK(!strstr(d, "\"fault\"") && !strstr(d, "\"error\""));
}

TEST(a_database_command_that_failed)
{
	struct sample s = sample_db(DB_POSTGRESQL, REC_DB_TEXT);
	SET(&s, REC_DB_STATUS, "42P01");
	const char *d = document(&s, &no_limits, NULL, false);
	HAS(d, "\"fault\":true,\"cause\":{\"exceptions\":[{\"id\":\"ac66a3c0bd327527\",\"type\":\"42P01\",\"message\":\"SELECT");
	HAS(d, " 192.0.2.9: 42P01\",\"remote\":true}]}");
	OK(!strstr(d, "\"error\":"));
	rec_set(&s.view, REC_DB_STATUS, (struct slice){NULL, 0});
	s.rec->error = ERR_PEER_CLOSED;
	d = document(&s, &no_limits, NULL, false);
	HAS(d, "\"fault\":true");
	HAS(d, "\"remote\":true");
	s.rec->error = ERR_CRASHED;
	d = document(&s, &no_limits, NULL, false);
	HAS(d, "\"fault\":true");
	HAS(d, "\"remote\":false");
}

TEST(database_servers)
{
	struct sample s = sample_db(DB_MARIADB, REC_DB_PREPARED);
	const char *d = document(&s, &no_limits, NULL, false);
	HAS(d, "\"url\":\"mariadb://192.0.2.9:5433/cruddur\"");
	HAS(d, "\"database_type\":\"mariadb\"");
	HAS(d, "\"preparation\":\"statement\"}");
	SET(&s, REC_QUERY, "call pay(?)");
	HAS(document(&s, &no_limits, NULL, false), "\"preparation\":\"call\"}");
	SET(&s, REC_QUERY, "CALLS");
	SET(&s, REC_DB, "my db/\xc3\xa9\n\n\n");
	s.rec->peer = (struct rec_addr){.ip = {0x20, 1, 0xd, 0xb8}, .port = 3306, .family = 6};
	d = document(&s, &no_limits, NULL, false);
	HAS(d, "\"preparation\":\"statement\"}");
	HAS(d, "\"name\":\"my db/\xc3\xa9@2001:db8::\"");
	HAS(d, "\"sql\":{\"url\":\"mariadb://[2001:db8::]:3306/my%20db%2F%C3%A9\",\"connection_string\":\"[2001:db8::]:3306/my db/\xc3\xa9\"");
	OK(!strstr(d, "database_version") && !strstr(d, "\"user\""));
	SET(&s, REC_PEER_NAME, "db.internal");
	HAS(document(&s, &no_limits, NULL, false), "\"connection_string\":\"db.internal:3306/");
	/* no database, no URL; a socket is no host */
	SET(&s, REC_DB, "\nworf\n\n");
	d = document(&s, &no_limits, NULL, false);
	HAS(d, "\"name\":\"db.internal\"");
	HAS(d, "\"sql\":{\"connection_string\":\"db.internal:3306\"");
	s.rec->peer = (struct rec_addr){.family = 0};
	SET(&s, REC_DB, "cruddur\n\n\n");
	SET(&s, REC_PEER_NAME, "/run/my.sock");
	d = document(&s, &no_limits, NULL, false);
	HAS(d, "\"name\":\"cruddur@/run/my.sock\"");
	HAS(d, "\"sql\":{\"connection_string\":\"/run/my.sock/cruddur\"");
	/* nothing at all is known */
	rec_set(&s.view, REC_DB, (struct slice){NULL, 0});
	rec_set(&s.view, REC_PEER_NAME, (struct slice){NULL, 0});
	rec_set(&s.view, REC_QUERY, (struct slice){NULL, 0});
	d = document(&s, &no_limits, NULL, false);
	HAS(d, "\"name\":\"mariadb\"");
	HAS(d, "\"sql\":{\"database_type\":\"mariadb\",\"preparation\":\"statement\"}");
}

TEST(a_long_query)
{
	static char query[64000];
	struct sample s = sample_db(DB_MYSQL, REC_DB_TEXT);
	memset(query, 'q', sizeof query);
	memcpy(query, "SELECT ", 7);
	sample_set(&s, REC_QUERY, query, 60000);
	const char *d = document(&s, &no_limits, NULL, false);
	OK(out.n > 60000 && out.n <= XRAY_DOC_MAX);
	HAS(d, "\"database_type\":\"mysql\"");
	memset(query + 7, 1, sizeof query - 7); /* six bytes each in JSON */
	sample_set(&s, REC_QUERY, query, sizeof query);
	d = document(&s, &no_limits, NULL, false);
	OK(out.n > 20000 && out.n <= XRAY_DOC_MAX);
	HAS(d, "\"sanitized_query\":\"SELECT \\u0001");
	HAS(d, "\"database_type\":\"mysql\"");
}

/* First most frames go, then the metadata, all frames, the annotations; then the document. */
TEST(too_long)
{
	static char path[70000], label[3000];
	struct settings set = no_limits;
	struct sample s = sample_new(SPAN_SERVER);
	struct span_frame frames[30];
	struct span_raised raised[] = {{.type = "T", .message = "m", .frames = frames, .n_frames = 30, .frames_left = 2},
	                               {.type = "C", .message = "c", .frames = frames, .n_frames = 5, .skipped = 3}};
	struct span_event e = {.stacktrace = "", .raised = raised, .n_raised = 1};
	set.xray.annotations = "url.scheme";
	memset(path, 'p', sizeof path);
	memset(label, 'l', sizeof label - 1);
	for (int i = 0; i < 30; i++)
		frames[i] = (struct span_frame){label, "p.c", 7};
	path[0] = '/';
	path[100] = '?';
	sample_set(&s, REC_TARGET, path, sizeof path);
	const char *d = document(&s, &set, NULL, false);
	OK(!strstr(d, "metadata"));
	HAS(d, "\"annotations\":{\"url_scheme\":\"http\"}");
	d = document(&s, &set, &e, false);
	HAS(d, "\"truncated\":22,\"stack\":[{\"path\":\"p.c\",\"line\":7,\"label\":\"lll");
	HAS(d, "\"annotations\"");
	path[100] = 'p';
	path[1000] = 0;
	sample_set(&s, REC_TARGET, path, 1000);
	d = document(&s, &set, &e, false);
	HAS(d, "\"truncated\":22,\"stack\":[{\"path\":\"p.c\",\"line\":7,\"label\":\"lll");
	HAS(d, "\"metadata\"");
	memset(path, 'm', sizeof path);
	path[sizeof path - 1] = 0;
	raised[0].message = path;
	e.n_raised = 2;
	d = document(&s, &set, &e, false);
	HAS(d, "\"truncated\":32},{");
	HAS(d, "\"skipped\":3,\"truncated\":5}");
	HAS(d, "\"annotations\"");
	OK(!strstr(d, "metadata"));
	e.cwd = path; /* no event has one so long */
	struct xray_span x = {&s.view, &attrs, &res, &e, &set, false};
	OK(span_attrs_make(&attrs, &s.view, &set));
	out.n = 3;
	OK(!xray_doc(&out, &x));
	EQ_INT((int)out.n, 3);
	span_attrs_free(&attrs);
	buf_free(&out);
}

TEST(a_call_outside_of_requests)
{
	struct sample s = sample_new(SPAN_CLIENT);
	struct xray_span x = {&s.view, &attrs, &res, NULL, &no_limits, false};
	out.n = 0;
	OK(span_attrs_make(&attrs, &s.view, &no_limits));
	OK(xray_local_root(&out, &x));
	buf_add(&out, "", 1);
	HAS(out.p, "{\"name\":\"backend\",\"id\":\"09c306651897d082\",");
	span_attrs_free(&attrs);
	HAS(document(&s, &no_limits, NULL, false), "\"parent_id\":\"09c306651897d082\"");
	memset(s.rec->parent_id, 1, 8);
	OK(span_attrs_make(&attrs, &s.view, &no_limits));
	out.n = 0;
	OK(!xray_local_root(&out, &x) && out.n == 0);
	span_attrs_free(&attrs);
	buf_free(&out);
}
