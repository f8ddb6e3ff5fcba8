/* From a crash file to the item, the store and the span: the exporter as a whole, with a maker of reports of our own. */
#include "exporters/crash_inbox.h"
#include "exporters/local/local.h"
#include "export_host.h"
#include "report_sample.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

static _Atomic unsigned made;

struct report *crash_report_make_with(const void *file, size_t n, const struct crash_report_opts *o, const char **why)
{
	(void)o;
	const struct crash_head *h = file;
	if (n < sizeof *h || h->magic != CRASH_MAGIC) {
		*why = "no crash file";
		return NULL;
	}
	struct report *r = report_new(REPORT_SIGNAL), s = sample_crash();
	struct crash_head *copy = report_alloc(r, sizeof *copy);
	struct report_mem *mem = r->mem;
	*copy = *h;
	*r = s;
	r->mem = mem;
	r->head = copy;
	r->time_ns = h->time_ns;
	r->pid = h->pid;
	snprintf(r->uuid, sizeof r->uuid, "6f1d7a52-3b0e-4c1d-9a55-%02x%02x%02x%02x%02x%02x", h->uuid[10], h->uuid[11], h->uuid[12],
	         h->uuid[13], h->uuid[14], h->uuid[15]);
	made++;
	return r;
}

#define ACCEPTED "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"err\":0}"

static char run_dir[64], state_dir[64];

static void begin(bool rollbar)
{
	strcpy(run_dir, "/dev/shm/remora-unit-XXXXXX");
	strcpy(state_dir, "/tmp/remora-unit-XXXXXX");
	OK(mkdtemp(run_dir) && mkdtemp(state_dir));
	web_bind();
	for (int i = 0; i < 32; i++)
		web_reply(ACCEPTED, 0, false);
	web.n_script = 32;
	if (rollbar) {
		fake_env("ROLLBAR_ENDPOINT=http://127.0.0.1:%d/api/1/item/", web.port);
		fake_env("ROLLBAR_ACCESS_TOKEN=0123456789abcdef0123456789abcdef");
	}
	fake_env("REMORA_STATE_DIR=%s", state_dir);
	fake_env("OTEL_TRACES_EXPORTER=none");
	fake_env("OTEL_BSP_SCHEDULE_DELAY=20");
	fake_host(1 << 20);
	fake.host.dir = run_dir;
	fake.host.arena->hash = 1;
}

/* Without the last n variables. */
static void other_env(int n)
{
	while (n--) {
		free((char *)(uintptr_t)fake.env[--fake.n_env]);
		fake.env[fake.n_env] = NULL;
	}
}

static void finish(void)
{
	char cmd[200];
	snprintf(cmd, sizeof cmd, "rm -rf %s %s", run_dir, state_dir);
	OK(system(cmd) == 0);
}

static unsigned files(const char *dir, const char *end)
{
	DIR *d = opendir(dir);
	unsigned n = 0;
	for (struct dirent *e; d && (e = readdir(d));)
		n += e->d_name[0] != '.' && strlen(e->d_name) >= strlen(end) && strcmp(e->d_name + strlen(e->d_name) - strlen(end), end) == 0;
	if (d)
		closedir(d);
	return n;
}

static char *in_state(const char *what)
{
	static char path[128];
	snprintf(path, sizeof path, "%s/%s", state_dir, what);
	return path;
}

/* A file as the handler leaves it. */
static void crash(unsigned number, const struct crash_head *more)
{
	struct crash_head h = more ? *more : sample_head;
	char path[128];
	h.config_hash = more ? more->config_hash : 1;
	h.time_ns = real_ns();
	h.uuid[15] = (uint8_t)number;
	h.pid = getpid();
	snprintf(path, sizeof path, "%s/%d-1-%u.crash", run_dir, getpid(), number);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	OK(fd >= 0 && write(fd, &h, sizeof h) == sizeof h);
	close(fd);
	fake.host.arena->crashes++;
	arena_wake(fake.host.arena);
}

TEST(crash_file_to_item)
{
	begin(true);
	web_listen();
	fake_start();
	fake_spans(1);
	usleep(100000); /* it sleeps */
	uint64_t start = mono_ns();
	crash(1, NULL);
	WAIT_FOR(web.requests == 1, 3000);
	uint64_t sent = mono_ns();
	WAIT_FOR(files(run_dir, "") == 0, 3000);
	printf("# crash file -> item received: %.2f ms\n", (double)(sent - start) / 1e6);
	WAIT_FOR(fake.host.arena->crashes_done == 2, 3000); /* taken, and done with */
	OK(strstr(web.head, "POST /api/1/item/ HTTP/1.1\r\n"));
	OK(strstr(web.head, "\r\nX-Rollbar-Access-Token: 0123456789abcdef0123456789abcdef\r\n"));
	OK(strstr(web.head, "\r\nContent-Type: application/json\r\n"));
	OK(strstr(web.head, "\r\nUser-Agent: remora/0.1.0\r\n"));
	OK(memmem(web.body, web.body_n, "\"uuid\":\"6f1d7a52-3b0e-4c1d-9a55-000000000001\"", 45));
	EQ_INT(files(in_state("spool"), ""), 0);
	EQ_INT(files(in_state("crashes"), ".txt"), 1);
	EQ_INT(files(in_state("crashes"), ".json"), 1);
	EQ_INT(fake_stop(1000), EXPORT_STOPPED);
	EQ_STR(fake_text(), "");
	finish();
}

TEST(without_a_token_it_is_kept)
{
	begin(false);
	other_env(2); /* console instead of none */
	fake_env("OTEL_TRACES_EXPORTER=console");
	fake_start();
	crash(1, NULL);
	WAIT_FOR(files(run_dir, "") == 0, 3000);
	EQ_INT(files(in_state("crashes"), ".txt"), 1);
	EQ_INT(files(in_state("crashes"), ".json"), 1);
	fake_stop(1000);
	OK(strstr(fake_text(), "/srv/app/bin/app: SIGSEGV in parse_order (order.c:41)\n    #0 parse_order at /srv/app/order.c:41\n"));
	EQ_INT(web.requests, 0);
	finish();
}

/* It was there before: of a process that is gone. */
TEST(found_at_the_start)
{
	begin(true);
	web_listen();
	crash(1, NULL);
	crash(2, NULL);
	fake_start();
	WAIT_FOR(web.requests == 2, 3000);
	WAIT_FOR(files(run_dir, "") == 0, 3000);
	fake_stop(1000);
	finish();
}

TEST(not_for_us)
{
	begin(true);
	web_listen();
	struct crash_head other = sample_head;
	other.config_hash = 2;
	crash(1, &other);
	struct crash_head writing = sample_head;
	writing.config_hash = 1;
	writing.done = 0; /* its handler is at work */
	writing.start = proc_start_time(getpid());
	crash(2, &writing);
	fake_start();
	usleep(300000);
	EQ_INT(made, 0);
	EQ_INT(files(run_dir, ".crash"), 2);
	/* Now it is whole. */
	char path[128];
	snprintf(path, sizeof path, "%s/%d-1-2.crash", run_dir, getpid());
	int fd = open(path, O_WRONLY);
	uint32_t done = 1;
	OK(pwrite(fd, &done, 4, offsetof(struct crash_head, done)) == 4);
	close(fd);
	WAIT_FOR(web.requests == 1, 3000);
	fake_stop(1000);
	EQ_INT(files(run_dir, ".crash"), 1);
	finish();
}

TEST(claims)
{
	begin(true);
	web_listen();
	char path[128], taken[128];
	/* One whose claimer lives stays his; one whose claimer is gone is ours. */
	for (int i = 1; i <= 2; i++) {
		struct {
			uint64_t start;
			int32_t pid;
			uint32_t unused;
		} claim = {i == 1 ? proc_start_time(getppid()) : 7, i == 1 ? getppid() : getpid(), 0};
		crash((unsigned)i, NULL);
		snprintf(path, sizeof path, "%s/%d-1-%d.crash", run_dir, getpid(), i);
		snprintf(taken, sizeof taken, "%s/%d-1-%d.taken", run_dir, getpid(), i);
		int fd = open(path, O_WRONLY);
		OK(pwrite(fd, &claim, sizeof claim, sizeof(struct crash_head) - sizeof claim) == sizeof claim);
		close(fd);
		OK(rename(path, taken) == 0);
	}
	fake_start();
	WAIT_FOR(web.requests == 1, 3000);
	fake_stop(1000);
	OK(memmem(web.body, web.body_n, "000000000002\"", 13));
	EQ_INT(files(run_dir, ".taken"), 1);
	finish();
}

TEST(garbage_gets_one_message)
{
	begin(true);
	char path[128];
	snprintf(path, sizeof path, "%s/1-2-3.crash", run_dir);
	int fd = open(path, O_WRONLY | O_CREAT, 0600);
	OK(write(fd, "garbage", 7) == 7);
	struct timespec old[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
	futimens(fd, old);
	close(fd);
	snprintf(path, sizeof path, "%s/1-2-4.crash", run_dir);
	OK(symlink("/etc/passwd", path) == 0);
	fake_start();
	fake_flush(1000);
	fake_stop(1000);
	/* Of nobody's settings and very old: removed without a word. The link is not looked at. */
	EQ_INT(files(run_dir, ".crash"), 1);
	EQ_INT(made, 0);
	finish();
}

TEST(loops_are_capped)
{
	begin(true);
	web_listen();
	fake_start();
	for (unsigned i = 1; i <= 15; i++) {
		crash(i, NULL);
		WAIT_FOR(made == i, 3000);
	}
	WAIT_FOR(files(run_dir, "") == 0, 3000);
	fake_flush(2000);
	EQ_INT(web.requests, LIMIT_PER_HOUR);
	EQ_INT(files(in_state("crashes"), ".txt"), 15);
	fake_stop(1000);
	finish();
}

/* Nobody answers: the item is in the spool, the crash file is gone, and the next start sends it with the same uuid. */
TEST(spooled_for_the_next_start)
{
	begin(true);
	fake_start();
	crash(1, NULL);
	WAIT_FOR(files(run_dir, "") == 0, 3000);
	EQ_INT(files(in_state("spool"), ".json"), 1);
	fake_stop(500);
	EQ_INT(files(in_state("spool"), ".json"), 1);
	web_listen();
	fake_start();
	WAIT_FOR(web.requests == 1, 3000);
	OK(memmem(web.body, web.body_n, "\"uuid\":\"6f1d7a52-3b0e-4c1d-9a55-000000000001\"", 45));
	WAIT_FOR(files(in_state("spool"), "") == 0, 1000);
	fake_stop(500);
	finish();
}

TEST(rate_limit_is_the_receivers_word)
{
	begin(true);
	web.script[0].text = "HTTP/1.1 429 Too Many\r\nX-Rate-Limit-Remaining: 0\r\nX-Rate-Limit-Remaining-Seconds: 1\r\n"
						 "Content-Length: 0\r\n\r\n";
	web_listen();
	fake_start();
	crash(1, NULL);
	WAIT_FOR(web.requests == 1, 3000);
	OK(fake_flush(5000) < 500); /* it is not waited for, nor tried */
	EQ_INT(web.requests, 1);
	WAIT_FOR(web.requests == 2, 3000);
	uint64_t waited = web.times[1] - web.times[0];
	OK(waited >= 1000 * MS && waited < 1500 * MS);
	fake_stop(500);
	finish();
}

/* The span of the crashed request gets its exception, in both encodings. */
static void tie(const char *protocol)
{
	begin(false);
	other_env(2);
	fake_env("OTEL_BSP_SCHEDULE_DELAY=200");
	fake_env("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:%d", web.port);
	fake_env("OTEL_EXPORTER_OTLP_PROTOCOL=%s", protocol);
	web_listen();
	fake_start();
	struct span_rec *r = fake_span(7, "/boom");
	OK(r);
	struct crash_head h = sample_head;
	h.config_hash = 1;
	memcpy(h.trace_id, r->trace_id, 16);
	memcpy(h.span_id, r->span_id, 8);
	memcpy(sample_head.trace_id, r->trace_id, 16);
	memcpy(sample_head.span_id, r->span_id, 8);
	crash(1, &h);
	WAIT_FOR(made == 1, 3000);
	fake_commit(r);
	WAIT_FOR(web.requests == 1, 3000);
	static const char *const want[] = {"exception", "exception.type", "SIGSEGV", "exception.message",
	                                   "Address not mapped to object at 0x0", "exception.stacktrace", "order.c:41"};
	for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
		unit_case("%s", want[i]);
		OK(memmem(web.body, web.body_n, want[i], strlen(want[i])));
	}
	fake_stop(500);
	finish();
}

TEST(exception_event_protobuf)
{
	tie("http/protobuf");
}

TEST(exception_event_json)
{
	tie("http/json");
}

/* What a helper leaves: all spans that the crash ended have it, others do not, and the record goes once they are gone. */
TEST(left_by_the_helper)
{
	static const char said[] = "6f1d7a52-3b0e-4c1d-9a55-0123456789ab\0SIGSEGV\0Address not mapped\0#0 parse_order at order.c:41";
	begin(false);
	other_env(2);
	fake_env("OTEL_BSP_SCHEDULE_DELAY=100");
	fake_env("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:%d", web.port);
	fake_env("OTEL_EXPORTER_OTLP_PROTOCOL=http/json");
	web_listen();
	struct arena *a = fake.host.arena;
	static const uint8_t instance[16] = {1, 2, 3};
	uint16_t proc = (uint16_t)arena_proc_add(a, getpid(), proc_start_time(getpid()), instance, "exe=/x", 7);
	fake_start();
	struct span_rec *left = arena_open(a, getpid()), *crashed = fake_span(1, "/crashed"), *killed = fake_span(2, "/killed"),
					*well = fake_span(3, "/well"), *other = fake_span(4, "/other");
	left->kind = SPAN_EXCEPTION;
	left->proc = proc;
	left->start_ns = left->end_ns = real_ns();
	OK(rec_append(a, left, (struct slice){said, sizeof said}));
	crashed->proc = killed->proc = well->proc = proc;
	crashed->error = other->error = ERR_CRASHED;
	crashed->err_no = other->err_no = 11;
	killed->error = ERR_PROCESS_KILLED;
	arena_commit(a, left);
	fake_commit(crashed);
	fake_commit(killed);
	fake_commit(well);
	fake_commit(other);
	WAIT_FOR(web.requests == 1, 3000);
	web.body[web.body_n < sizeof web.body ? web.body_n : sizeof web.body - 1] = 0;
	int events = 0, marks = 0, aborted = 0;
	for (const char *p = (char *)web.body; (p = strstr(p, "exception.stacktrace")); p++)
		events++;
	for (const char *p = (char *)web.body; (p = strstr(p, "\"remora.report\"")); p++)
		marks++;
	for (const char *p = (char *)web.body; (p = strstr(p, "\"remora.aborted\"")); p++)
		aborted++;
	EQ_INT(events, 2);
	EQ_INT(marks, 2);
	EQ_INT(aborted, 3);
	OK(strstr((char *)web.body, "order.c:41"));
	EQ_INT(left->state, SLOT_TAKEN); /* until it is sure that no more of its spans come */
	WAIT_FOR(left->state == SLOT_FREE, 4000);
	fake_stop(500);
	finish();
}
