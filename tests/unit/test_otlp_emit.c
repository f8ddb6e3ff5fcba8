/*
 * Batches of records, sane and otherwise, through both encodings. With REMORA_EMIT_DIR set the bytes are kept there
 * for tests/e2e/test_encoding.py, which decodes them with what is not ours: NAME.pb, NAME.json, and NAME.txt with a
 * line "span id, bytes of the user agent" in hex per server span.
 */
#include "exporters/otlp/otlp.h"
#include "span_sample.h"

#define RECORDS 400

static uint64_t seed;

static uint32_t rnd(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

static void bytes(void *to, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((unsigned char *)to)[i] = (unsigned char)rnd(256);
}

static struct arena *arena;
static struct resources *resources;
static uint32_t procs[4];

static void add_processes(void)
{
	static const char sane[] = "exe=/usr/sbin/nginx\0comm=nginx\0args=nginx\x1f-g\x1f"
							   "daemon off;\0service_name=edge\0"
							   "resource_attributes=service.version=1.2,deployment.environment.name=pro%20d\0ppid=7\0";
	static const char odd[] = "exe=/tmp/\xff\xc3\x28\0args=a\"\\\x1f\x1f\t\x7f\xe9\0service_name=\xf0\x9f\x90\xa0 \"quoted\"\n\0"
							  "resource_attributes=team=%22%5C%0a,%f0%28=\x01,empty=\0ppid=0\0";
	uint8_t instance[16];
	seed = 1;
	arena = arena_new_anonymous(ARENA_FIRST, 1);
	resources = resources_new(&no_limits);
	OK(arena && resources);
	for (int i = 0; i < 3; i++) {
		bytes(instance, sizeof instance);
		procs[i] = i < 2 ? arena_proc_add(arena, getpid() + i, 77, instance, sane, sizeof sane - 1)
		                 : arena_proc_add(arena, getpid() + i, 77, instance, odd, sizeof odd - 1);
		OK(procs[i] < ARENA_PROCS);
	}
	procs[3] = ARENA_PROCS; /* not in the table */
}

/* ---- records ---- */

static char slots[RECORDS][SLOT_SIZE] __attribute__((aligned(64)));
static char texts[RECORDS][REC_TAG_MAX][300];
static struct rec_view views[RECORDS];

static struct span_rec *record(uint32_t i)
{
	return (struct span_rec *)slots[i];
}

static void put(uint32_t i, enum rec_tag tag, const char *fmt, unsigned n)
{
	int len = snprintf(texts[i][tag], sizeof texts[i][tag], fmt, n);
	rec_set(&views[i], tag, (struct slice){texts[i][tag], (uint32_t)len});
}

static void begin(uint32_t i)
{
	struct span_rec *r = record(i);
	memset(slots[i], 0, SLOT_SIZE);
	views[i] = (struct rec_view){.rec = r};
	r->pid = 4242;
	uint32_t proc = procs[rnd(4)];
	if (proc < ARENA_PROCS)
		views[i].proc = &arena->procs[proc];
	bytes(r->trace_id, 16);
	bytes(r->span_id, 8);
	r->span_id[0] |= 1;
	if (rnd(2))
		bytes(r->parent_id, 8);
	r->trace_flags = (uint8_t)rnd(4);
	r->start_ns = 1700000000000000000u + rnd(1u << 30);
	r->end_ns = r->start_ns + rnd(1u << 30);
}

static void sane(uint32_t i)
{
	static const uint16_t statuses[] = {200, 204, 301, 404, 500, 503};
	struct span_rec *r = record(i);
	begin(i);
	r->kind = (uint8_t)(SPAN_SERVER + rnd(3));
	r->method = (uint8_t)rnd(10);
	r->minor = (uint8_t)rnd(2);
	r->status = statuses[rnd(6)];
	r->bits = (uint8_t)(rnd(64) & ~(uint32_t)REC_CUT);
	r->req_size = rnd(1u << 20);
	r->resp_size = rnd(1u << 31);
	r->peer = v4(rnd(UINT32_MAX), (uint16_t)(1 + rnd(65535)));
	r->local = v4(0x7f000001, 8080);
	if (rnd(3) == 0) {
		r->peer.family = 6;
		bytes(r->peer.ip, 16);
	}
	if (r->kind == SPAN_CONNECT || rnd(5) == 0) {
		r->error = (uint8_t)(ERR_ERRNO + rnd(ERR_TIMEOUT));
		r->err_no = 1 + (int)rnd(120);
		if (rnd(2))
			r->status = 0;
	}
	put(i, REC_TARGET, r->method == HTTP1_CONNECT ? "e.test:%u" : rnd(4) ? "/a/%u?q=\"\\x"
	                                                                     : "http://e.test/%u",
	    rnd(65535));
	if (rnd(4))
		put(i, REC_HOST, rnd(2) ? "shop.test:%u" : "[2001:db8::1]:%u", 1 + rnd(65535));
	if (rnd(2))
		put(i, REC_USER_AGENT, "tester/%u", rnd(10));
	if (r->method == HTTP1_OTHER)
		put(i, REC_METHOD, "BREW%u", rnd(10));
	if (rnd(4) == 0)
		put(i, REC_CLIENT_ADDR, "203.0.113.%u", rnd(256));
	if (rnd(4) == 0 && r->kind == SPAN_SERVER)
		put(i, REC_ROUTE, "/a/{id%u}", rnd(10));
	if (rnd(4) == 0)
		put(i, REC_TRACESTATE, "ot=th:%u,a=b", rnd(10));
}

/* Bytes of all kinds, often UTF-8 or something close to it. */
static void mad_text(uint32_t i, enum rec_tag tag)
{
	static const char *const parts[] = {"abc", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\xa0", "\xe2\x82", "\xf0\x9f", "\xff",
	                                    "\xed\xa0\x80", "\xc0\xaf", "\\", "\"", "\n", "\x01", "://", "?", "/", ":8", "@", "[", "]"};
	char *p = texts[i][tag];
	size_t n = 0, most = rnd(12) ? rnd(40) : rnd(290);
	while (n < most) {
		const char *part = parts[rnd(sizeof parts / sizeof *parts)];
		if (rnd(8) == 0)
			p[n++] = (char)rnd(256);
		else
			n += (size_t)sprintf(p + n, "%s", part);
	}
	rec_set(&views[i], tag, (struct slice){p, (uint32_t)n});
}

static void mad(uint32_t i)
{
	struct span_rec *r = record(i);
	begin(i);
	r->kind = (uint8_t)rnd(5);
	r->method = (uint8_t)rnd(12);
	r->minor = (uint8_t)rnd(4);
	r->status = (uint16_t)rnd(rnd(2) ? 65536 : 600);
	r->error = (uint8_t)(rnd(3) ? 0 : rnd(256));
	r->err_no = (int)rnd(200) - 20;
	r->bits = (uint8_t)rnd(256);
	r->trace_flags = (uint8_t)rnd(256);
	bytes(&r->req_size, 16);
	bytes(&r->peer, sizeof r->peer);
	bytes(&r->local, sizeof r->local);
	r->peer.family = (uint8_t)(2 * rnd(5));
	if (rnd(10) == 0)
		bytes(&r->start_ns, 16);
	for (int tag = 1; tag < REC_TAG_MAX; tag++)
		if (rnd(5))
			mad_text(i, (enum rec_tag)tag);
}

/* ---- */

static FILE *file(const char *name, const char *suffix)
{
	char path[4096];
	const char *dir = getenv("REMORA_EMIT_DIR");
	if (!dir)
		return NULL;
	snprintf(path, sizeof path, "%s/%s.%s", dir, name, suffix);
	FILE *f = fopen(path, "wb");
	OK(f);
	return f;
}

static void save(const char *name, const char *suffix, struct buf *b)
{
	FILE *f = file(name, suffix);
	if (f) {
		EQ_INT(fwrite(b->p, 1, b->n, f), b->n);
		EQ_INT(fclose(f), 0);
	}
	buf_free(b);
}

static void emit(const char *name, uint32_t n, const struct settings *s)
{
	struct batch batch = {.arena = arena, .views = views, .n = n, .resources = resources, .settings = s};
	struct buf b = {0};
	for (int again = 0; again < 3; again++) { /* what is kept of connections is in use by then */
		buf_free(&b);
		OK(otlp_protobuf(&b, &batch));
	}
	save(name, "pb", &b);
	OK(otlp_json(&b, &batch));
	save(name, "json", &b);
	FILE *f = file(name, "txt");
	if (!f)
		return;
	for (uint32_t i = 0; i < n; i++) {
		if (views[i].rec->kind != SPAN_SERVER)
			continue;
		struct slice ua = rec_str(&views[i], REC_USER_AGENT);
		for (int k = 0; k < 8; k++)
			fprintf(f, "%02x", views[i].rec->span_id[k]);
		fputc(' ', f);
		for (uint32_t k = 0; k < ua.n; k++)
			fprintf(f, "%02x", (unsigned char)ua.p[k]);
		fputc('\n', f);
	}
	EQ_INT(fclose(f), 0);
}

TEST(emit_sane)
{
	add_processes();
	for (uint32_t i = 0; i < RECORDS; i++)
		sane(i);
	emit("sane", RECORDS, &no_limits);
	emit("one", 1, &no_limits);
	resources_delete(resources);
}

/* Few connections, and what looks like them but is not: what was kept of one must not be told of another. */
static void alike(uint32_t i)
{
	struct span_rec *r = record(i);
	sane(i);
	r->kind = rnd(8) ? SPAN_SERVER : SPAN_CLIENT;
	r->bits = (uint8_t)(rnd(3) ? 0 : REC_HTTPS);
	memset(&r->peer, 0, sizeof r->peer);
	r->peer.family = (uint8_t)(rnd(4) ? 4 : rnd(2) ? 6
	                                               : 0);
	r->peer.ip[0] = 127;
	r->peer.ip[3] = (uint8_t)rnd(2);
	r->peer.port = (uint16_t)(40000 + 128 * rnd(2) + rnd(2));
	r->local = r->peer;
	r->local.port = (uint16_t)(8000 + rnd(2));
	rec_set(&views[i], REC_HOST, (struct slice){NULL, 0});
	if (rnd(4))
		put(i, REC_HOST, rnd(2) ? "shop.test" : "shop.test:%u", 8080 + rnd(2));
	rec_set(&views[i], REC_CLIENT_ADDR, (struct slice){NULL, 0});
	if (rnd(8) == 0)
		put(i, REC_CLIENT_ADDR, "203.0.113.%u", rnd(256));
	if (rnd(8) == 0)
		put(i, REC_HEADERS, "x-n: %u\n", rnd(9));
}

TEST(emit_alike)
{
	add_processes();
	for (uint32_t i = 0; i < RECORDS; i++)
		alike(i);
	emit("alike", RECORDS, &no_limits);
	resources_delete(resources);
}

TEST(emit_mad)
{
	add_processes();
	for (unsigned round = 0; round < 10; round++) {
		char name[16];
		for (uint32_t i = 0; i < RECORDS; i++)
			mad(i);
		snprintf(name, sizeof name, "mad%u", round);
		emit(name, RECORDS, &no_limits);
	}
	resources_delete(resources);
}

TEST(emit_limited)
{
	add_processes();
	for (uint32_t i = 0; i < RECORDS; i++)
		mad(i);
	struct settings s = {.attr_count_limit = 6, .attr_length_limit = 5};
	emit("limited", RECORDS, &s);
	resources_delete(resources);
}
