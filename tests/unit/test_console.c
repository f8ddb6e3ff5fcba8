/* Trees on stderr: what stands in a line, when it is written, and what a terminal must not obey. */
#include "export_host.h"
#include "exporters/console_tree.h"
#include "exporters/exporter.h"
#include "exporters/resource.h"
#include "exporters/settings.h"

static struct settings s;
static void *console;

static void begin(void)
{
	fake_env_clear();
	fake_env("OTEL_TRACES_EXPORTER=console");
	fake_host(1 << 20);
	settings_parse(&s, &fake.host);
	OK(console_kind.create(&s, "console", &console));
}
static void end(void)
{
	console_kind.destroy(console);
	settings_free(&s);
}

struct made { /* a span to print */
	uint8_t kind;
	char id, parent; /* letters; 0 = none */
	const char *target;
	int status, error, err_no, ms;
	uint8_t bits;
};

static struct span_rec *make(const struct made *m)
{
	static uint64_t start = UINT64_C(1700000000000) * MS;
	struct arena *a = fake.host.arena;
	struct span_rec *r = arena_open(a, getpid());
	OK(r);
	r->proc = ARENA_PROCS;
	r->kind = m->kind;
	r->method = m->kind == SPAN_CONNECT ? 0 : 1;
	r->status = (uint16_t)m->status;
	r->error = (uint8_t)m->error;
	r->err_no = m->err_no;
	r->bits = m->bits;
	memset(r->trace_id, 'T', 16);
	r->span_id[0] = (uint8_t)m->id;
	r->parent_id[0] = (uint8_t)m->parent;
	r->start_ns = start + (uint64_t)m->id * 1000;
	r->end_ns = r->start_ns + (uint64_t)m->ms * MS;
	r->peer = (struct rec_addr){.ip = {127, 0, 0, 1}, .port = 81, .family = 4};
	if (m->target)
		rec_put(a, r, REC_TARGET, (struct slice){m->target, (uint32_t)strlen(m->target)});
	if (m->kind == SPAN_CLIENT)
		rec_put(a, r, REC_HOST, SLICE("h:82"));
	return r;
}

static void print(const struct made *m, unsigned n)
{
	struct rec_view views[8];
	static char scratch[REC_VAR_MAX];
	struct resources *res = resources_new(&s);
	for (unsigned i = 0; i < n; i++) {
		struct span_rec *r = make(&m[i]);
		r->state = SLOT_TAKEN;
		OK(rec_view(fake.host.arena, arena_index(fake.host.arena, r), scratch, &views[i]));
	}
	struct batch b = {.arena = fake.host.arena, .views = views, .n = n, .resources = res, .settings = &s};
	console_kind.print(console, &b);
	resources_delete(res);
}

/* The text without names of services and traces, which are another test's. */
static const char *shown(void)
{
	static char out[1 << 16];
	char *o = out;
	for (const char *p = fake_text(); *p;) {
		const char *nl = strchr(p, '\n'), *cut = memmem(p, (size_t)(nl - p), "  unknown_service", 17);
		const char *e = cut ? cut : nl;
		memcpy(o, p, (size_t)(e - p));
		o += e - p;
		*o++ = '\n';
		p = nl + 1;
	}
	*o = 0;
	return out;
}

TEST(a_tree)
{
	static const struct made spans[] = {
		{SPAN_CLIENT, 'b', 'a', "/ok?x", 200, 0, 0, 3, 0},
		{SPAN_SERVER, 'c', 'b', "/ok?x", 200, 0, 0, 2, REC_PARENT_REMOTE},
		{SPAN_CONNECT, 'd', 'a', NULL, 0, ERR_ERRNO, ECONNREFUSED, 0, 0},
		{SPAN_SERVER, 'a', 0, "/api/weather?i=7", 502, 0, 0, 1234, 0},
	};
	begin();
	print(spans, 4);
	EQ_STR(fake_text(), "");
	uint64_t due = console_kind.tick(console, 0, false);
	OK(due > mono_ns() && due < mono_ns() + 300 * MS);
	EQ_INT(console_kind.tick(console, due, false), 0);
	EQ_STR(shown(), "GET /api/weather?i=7  502  1.23 s\n"
	                "└─ GET http://h:82/ok?x  200  3.0 ms\n"
	                "   └─ GET /ok?x  200  2.0 ms\n"
	                "└─ connect 127.0.0.1:81  ECONNREFUSED  0 us\n");
	OK(strstr(fake_text(), "trace=54545454545454545454545454545454\n"));
	end();
}

/* The child of a span that is still open, then that one: two trees. At a flush nothing is waited for. */
TEST(without_a_root)
{
	static const struct made child[] = {{SPAN_CLIENT, 'b', 'a', "/x", 0, ERR_PEER_CLOSED, 0, 5, 0}},
							 remote[] = {{SPAN_SERVER, 'b', 'a', "/x", 204, 0, 0, 5, REC_PARENT_REMOTE}};
	begin();
	print(child, 1);
	uint64_t due = console_kind.tick(console, 0, false);
	OK(due > mono_ns() + 1000 * MS);
	console_kind.tick(console, mono_ns(), false);
	EQ_STR(fake_text(), "");
	EQ_INT(console_kind.tick(console, mono_ns(), true), 0);
	EQ_INT(strncmp(shown(), "GET http://h:82/x  ", 19), 0);
	fake.n = 0;
	print(remote, 1);
	due = console_kind.tick(console, 0, false);
	OK(due && due < mono_ns() + 1000 * MS);
	console_kind.tick(console, due, false);
	EQ_STR(shown(), "GET /x  204  5.0 ms\n");
	end();
}

TEST(ids_in_a_circle)
{
	static const struct made spans[] = {
		{SPAN_SERVER, 'a', 'b', "/a", 200, 0, 0, 0, 0},
		{SPAN_SERVER, 'b', 'a', "/b", 200, 0, 0, 0, 0},
		{SPAN_SERVER, 'c', 'c', "/c", 200, 0, 0, 0, 0},
		{SPAN_SERVER, 'd', 0, "/d", 200, 0, 0, 0, 0},
		{SPAN_SERVER, 'd', 0, "/d", 200, 0, 0, 0, 0},
	};
	begin();
	print(spans, 5);
	console_kind.tick(console, 0, true);
	unsigned n = 0;
	for (const char *p = fake_text(); *p; p++)
		n += *p == '\n';
	EQ_INT(n, 5);
	end();
}

TEST(terminals_are_not_commanded)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"/plain?a=b%20", "/plain?a=b%20"},
		{"a\x1b[2Jb", "a\\x1b[2Jb"},
		{"a\r\nb\tc\x7f", "a\\x0d\\x0ab\\x09c\\x7f"},
		{"\u00e9\u20ac", "\u00e9\u20ac"},
		{"\xc2\x9b"
	     "2J",
	     "\\xc2\\x9b2J"},
		{"\u202eabc\u2066", "\\xe2\\x80\\xaeabc\\xe2\\x81\\xa6"},
		{"0123456789012345", "0123456789..."},
		{"012345678\u20ac1234", "012345678\u20ac..."},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf b = {0};
		unit_case("%zu", i);
		console_escape(&b, (struct slice){rows[i].in, (uint32_t)strlen(rows[i].in)}, i < 6 ? 200 : 10);
		EQ_MEM(b.p, b.n, rows[i].out, strlen(rows[i].out));
		buf_free(&b);
	}
}

/* Traces that never get a root must not gather without end. */
TEST(memory_is_bounded)
{
	struct tree t = {0};
	struct buf out = {0};
	for (unsigned i = 0; i < 3 * TREE_SPANS; i++) {
		struct tree_span x = {.start_ns = i, .has_parent = true};
		memcpy(x.trace_id + 12, &i, 4);
		memcpy(x.span_id, &i, 4);
		buf_add(&x.line, "x", 1);
		tree_add(&t, &x, 1, &out);
		OK(t.spans <= TREE_SPANS);
	}
	EQ_INT(tree_due(&t), 1 + 2000 * MS);
	tree_print(&t, 1 + 2000 * MS, false, &out);
	EQ_INT(t.spans, 0);
	EQ_INT(tree_due(&t), 0);
	unsigned n = 0;
	for (size_t i = 0; i < out.n; i++)
		n += out.p[i] == '\n';
	EQ_INT(n, 3 * TREE_SPANS);
	buf_free(&out);
	tree_free(&t);
}

/* Through the whole exporter, and long output in whole lines. */
TEST(by_way_of_the_worker)
{
	fake_env("OTEL_TRACES_EXPORTER=console");
	fake_host(1 << 20);
	fake_start();
	fake_spans(100);
	OK(fake_flush(2000) < 1000);
	unsigned n = 0;
	for (const char *p = fake_text(); *p; p++)
		n += *p == '\n';
	EQ_INT(n, 100);
	OK(strstr(fake_text(), "GET /a?b=c  200  "));
	fake_spans(1);
	WAIT_FOR(fake_count(COUNT_SENT) == 101, 2000);
	fake_stop(1000);
	for (const char *p = fake_text(); *p; p++)
		n += *p == '\n';
	EQ_INT(n, 201);
}
