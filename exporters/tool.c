#include "exporters/tool.h"
#include "base/clock.h"
#include "base/env_hash.h"
#include "base/sys.h"
#include "exporters/local/local.h"
#include "exporters/log.h"
#include "exporters/reports.h"
#include "exporters/worker.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define ALL_TIME (30 * SECOND) /* of flush and crash-helper */
#define TEST_TIME (15 * SECOND)
#define ARENA_BYTES (1 << 20)
#define CRASH_FILE_MOST (33 << 20)

__attribute__((visibility("default"))) int remora_export_tool(const char *const *argv);

extern char **environ;

/* ---- a host of our own ---- */

static struct {
	struct export_host host;
	_Atomic uint32_t request;
	_Atomic uint64_t deadline;
	char dir[256];
} own;

static bool never_busy(void)
{
	return false;
}

static void nothing(void)
{
}

static bool write_stderr(const char *text, size_t n)
{
	return write(2, text, n) == (ssize_t)n;
}

static const char *env(const char *name)
{
	const char *v = getenv(name);
	return v && *v ? v : NULL;
}

/* `dir` NULL: as the variables say. */
static bool host_make(const char *dir)
{
	static const char *const levels[] = {"off", "error", "warn", "info", "debug"};
	const char *level = env("REMORA_LOG");
	uint64_t hash = 0;
	for (char **e = environ; e && *e; e++)
		hash += env_hash(*e);
	if (dir)
		snprintf(own.dir, sizeof own.dir, "%s", dir);
	else
		runtime_dir(env("REMORA_RUNTIME_DIR"), env("XDG_RUNTIME_DIR"), own.dir, sizeof own.dir);
	own.host = (struct export_host){
		.version = EXPORT_ABI,
		.arena = arena_new_anonymous(ARENA_BYTES, hash),
		.dir = own.dir,
		.env = (const char *const *)environ,
		.log_level = LOG_WARN,
		.program = "remora",
		.agent = "remora/0.1.0",
		.busy = never_busy,
		.run_enter = nothing,
		.run_leave = nothing,
		.request = &own.request,
		.deadline_ns = &own.deadline,
		.flushed = nothing,
		.stderr_write = write_stderr,
	};
	for (uint8_t i = 0; level && i < sizeof levels / sizeof *levels; i++)
		if (strcasecmp(level, levels[i]) == 0)
			own.host.log_level = i;
	if (!own.host.arena) {
		fprintf(stderr, "remora: no memory\n");
		return false;
	}
	log_init(&own.host);
	return true;
}

/* ---- reports without a worker ---- */

static struct {
	struct settings settings;
	struct http *http;
	struct reports *reports;
} t;

static bool tool_open(const struct reports_options *o)
{
	settings_parse(&t.settings, &own.host);
	t.settings.console = false;
	t.http = http_global_init() ? http_new(&own.host) : NULL;
	t.reports = t.http ? reports_new(&own.host, &t.settings, t.http, o) : NULL;
	if (!t.reports)
		fprintf(stderr, "remora: no memory\n");
	return t.reports;
}

static void tool_close(void)
{
	reports_delete(t.reports);
	http_delete(t.http);
	settings_free(&t.settings);
}

/* Until everything was tried once, or the end. */
static void tool_run(uint64_t end)
{
	uint64_t now;
	reports_flush_begins(t.reports);
	while ((now = mono_ns()) < end) {
		http_run(t.http);
		reports_turn(t.reports, now, true);
		if (reports_flushed(t.reports, now))
			return;
		uint64_t left = (end - now) / MS;
		http_wait(t.http, left < 50 ? (int)left + 1 : 50);
	}
}

/* ---- commands ---- */

static int usage(FILE *to)
{
	fprintf(to, "usage: remora crashes [list]              crash reports kept on this machine\n"
	            "       remora crashes show ID [--json]    one of them: an id or its beginning, or last\n"
	            "       remora flush [--all]               send what lies around: crash files, unsent items, spans\n"
	            "       remora rollbar flush [--all]       the same for Rollbar alone\n"
	            "       remora rollbar test [--level LEVEL] [MESSAGE]\n"
	            "                                          send a message to Rollbar and print its answer\n"
	            "--all: also what programs with other settings left, to where these settings say\n"
	            "Exit status: 0, 1 when something could not be done, 2 for wrong usage.\n");
	return to == stdout ? 0 : 2;
}

static void say_unreadable(const struct local *l, int why)
{
	fprintf(stderr, "remora: cannot read %s: %s\n", local_path(l),
	        why == EPERM ? "it is not a directory of yours that is closed to others (chmod 700)" : strerror(why));
}

static bool is_missing(int why)
{
	return why == 0 || why == ENOENT;
}

static struct local *store(void)
{
	settings_parse(&t.settings, &own.host);
	struct local *l = local_new(t.settings.state_dir);
	if (!l)
		fprintf(stderr, "remora: no memory\n");
	return l;
}

static int list(void)
{
	struct local *l = store();
	struct local_entry e;
	size_t n;
	unsigned shown = 0;
	errno = 0;
	char **names = l ? local_names(l, LOCAL_CRASHES, &n) : NULL;
	int why = errno;
	for (size_t i = 0; names && i < n; i++) {
		struct buf text = {0};
		if (!local_entry_name(names[i], &e) || !local_read(l, LOCAL_CRASHES, names[i], &text)) {
			buf_free(&text);
			continue;
		}
		local_entry_title(text.p, text.n, &e);
		printf("%s  %.8s  %-16s  %s\n", e.time, e.uuid, e.program, e.title);
		buf_free(&text);
		shown++;
	}
	if (l && !shown) {
		if (!is_missing(why))
			say_unreadable(l, why);
		else
			fprintf(stderr, "remora: no crash reports in %s\n",
			        *local_path(l) ? local_path(l) : "(no directory: set REMORA_STATE_DIR)");
	}
	unsigned long long unsent = l ? local_suppressed(l, real_ns() / 1000000000u) : 0;
	if (unsent)
		fprintf(stderr, "remora: %llu were not sent to Rollbar: more than %d an hour of one kind\n", unsent, LIMIT_PER_HOUR);
	bool failed = !l || !is_missing(why);
	local_names_free(names);
	if (l)
		local_delete(l);
	return failed;
}

static int show(const char *id, bool json)
{
	struct local *l = store();
	struct local_entry e;
	size_t n, k = strlen(id);
	char name[LOCAL_NAME + 8] = "";
	unsigned hits = 0;
	struct buf text = {0};
	bool last = strcmp(id, "last") == 0;
	errno = 0;
	char **names = l ? local_names(l, LOCAL_CRASHES, &n) : NULL;
	int why = errno;
	for (size_t i = 0; names && i < n; i++)
		if (local_entry_name(names[i], &e) && (last || strncmp(e.uuid, id, k) == 0 || strcmp(e.name, id) == 0)) {
			hits = last ? 1 : hits + 1;
			snprintf(name, sizeof name, "%s.%s", e.name, json ? "json" : "txt");
		}
	int r = 1;
	if (hits > 1)
		fprintf(stderr, "remora: %u reports begin with %s; give more of it\n", hits, id);
	else if (l && !is_missing(why))
		say_unreadable(l, why);
	else if (!hits || k == 0)
		fprintf(stderr, "remora: no report %s in %s; remora crashes lists them\n", id, l ? local_path(l) : "");
	else if (!local_read(l, LOCAL_CRASHES, name, &text))
		fprintf(stderr, "remora: cannot read %s/crashes/%s: %s\n", local_path(l), name, strerror(errno));
	else
		r = fwrite(text.p, 1, text.n, stdout) != text.n;
	if (r == 0 && json)
		putchar('\n');
	buf_free(&text);
	local_names_free(names);
	if (l)
		local_delete(l);
	return r;
}

/* Of a flush; its exit status. */
static int summary(const struct reports *reports, unsigned foreign_trees)
{
	struct reports_counts c = reports_counts(reports);
	printf("%u crash reports made, %u kept, %llu items sent to Rollbar\n", c.made, c.kept, (unsigned long long)c.sent);
	if (c.refused)
		printf("%llu items were refused for good: %s\n", (unsigned long long)c.refused, c.last);
	if (c.suppressed)
		printf("%u items are more than %d an hour of their kind, and were not sent\n", c.suppressed, LIMIT_PER_HOUR);
	if (c.lost)
		printf("%llu items were dropped: older than %d days, or more than %d\n", (unsigned long long)c.lost, LOCAL_SPOOL_DAYS,
		       LOCAL_SPOOL_MOST);
	if (c.waiting)
		printf("%u items wait: %s\n", c.waiting, *c.last ? c.last : "no token");
	if (c.foreign_files || c.foreign_items)
		printf("%u crash files and %u items are of programs with other settings (endpoint, token, exporter); run it with "
		       "theirs, or with --all to send them with yours\n",
		       c.foreign_files, c.foreign_items);
	if (foreign_trees)
		printf("spans and lines of %u killed programs are for other settings (endpoint, token, exporter); run it with theirs, "
		       "or with --all to send them with yours\n",
		       foreign_trees);
	return c.waiting || c.refused;
}

/* What nobody sends: crash files, the spool, and the records of dead trees. */
static int flush(bool all)
{
	bool takeover;
	if (!arena_lease_try(own.host.arena, &takeover))
		return 1;
	atomic_store(&own.deadline, mono_ns() + ALL_TIME);
	atomic_store(&own.request, REQUEST_STOP);
	struct worker *w = worker_new(&own.host);
	if (!w)
		return 1;
	w->everything = true;
	w->any_orphan = all;
	struct reports_options o = {.any = all};
	reports_delete(w->reports);
	w->reports = reports_new(&own.host, &w->settings, w->http, &o);
	if (!w->reports)
		return 1;
	worker_run(w, false);
	printf("%llu spans sent\n", (unsigned long long)atomic_load(&own.host.arena->count[COUNT_SENT]));
	int r = summary(w->reports, w->foreign_orphans);
	worker_delete(w);
	arena_lease_release(own.host.arena);
	return r;
}

static void new_uuid(char out[37])
{
	uint8_t b[16];
	if (sys3(SYS_getrandom, b, sizeof b, 0) != sizeof b) {
		uint64_t seed[2] = {real_ns(), mono_ns() ^ (uint64_t)getpid() << 32};
		memcpy(b, seed, sizeof b);
	}
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	char *p = out;
	for (int i = 0; i < 16; i++)
		p += sprintf(p, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", b[i]);
}

static const char *level_of(const char *s)
{
	static const char *const levels[] = {"critical", "error", "warning", "info", "debug"};
	for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
		if (strcmp(s, levels[i]) == 0)
			return levels[i];
	return NULL;
}

static bool rollbar_on(void)
{
	if (t.settings.rollbar.on)
		return true;
	/* A bad URL or token was told of already. */
	if (!t.settings.rollbar.token && !t.settings.rollbar.token_file)
		fprintf(stderr, "remora: no access token: set ROLLBAR_ACCESS_TOKEN (scope post_server_item) or "
		                "ROLLBAR_ACCESS_TOKEN_FILE\n");
	return false;
}

static int rollbar_test(const char *level, const char *message)
{
	static const struct reports_options o = {.no_inbox = true, .no_spool = true};
	char args[256], pid[24];
	if (!tool_open(&o))
		return 1;
	if (!rollbar_on()) {
		tool_close();
		return 2;
	}
	snprintf(args, sizeof args, "args=remora\x1frollbar\x1ftest");
	snprintf(pid, sizeof pid, "ppid=%d", (int)getppid());
	const char *const process[] = {"comm=remora", args, pid, NULL};
	struct report_exception e = {.message = message};
	struct report r = {
		.source = REPORT_MESSAGE,
		.pid = getpid(),
		.time_ns = real_ns(),
		.level = level,
		.language = "c",
		.title = message,
		.n_exceptions = 1,
		.exceptions = &e,
		.process = process,
	};
	new_uuid(r.uuid);
	reports_take(t.reports, &r);
	tool_run(mono_ns() + TEST_TIME);
	struct reports_counts c = reports_counts(t.reports);
	bool sent = c.sent == 1;
	printf("%s: item %s %s: %s\n", t.settings.rollbar.shown, r.uuid, sent ? "accepted" : "not accepted",
	       *c.last ? c.last : "no answer");
	if (!sent && c.waiting)
		printf("it is kept and sent later: remora flush\n");
	tool_close();
	return !sent;
}

/* Crash files and unsent items; spans stay where they are. */
static int rollbar_flush(bool all)
{
	const struct reports_options o = {.any = all};
	if (!tool_open(&o))
		return 1;
	if (!rollbar_on()) {
		tool_close();
		return 2;
	}
	reports_begin(t.reports);
	tool_run(mono_ns() + ALL_TIME);
	int r = summary(t.reports, 0);
	tool_close();
	return r;
}

/* Where there is no file: /proc/self/fd/N, memory or a socket. */
static bool take_nameless(const char *path)
{
	struct buf b = {0};
	int fd = atoi(strrchr(path, '/') + 1);
	while (b.n < CRASH_FILE_MOST && buf_reserve(&b, 1 << 20)) {
		ssize_t n = read(fd, b.p + b.n, b.cap - b.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		b.n += (size_t)n;
	}
	close(fd);
	bool ok = b.n && !b.failed && reports_take_bytes(t.reports, path, b.p, b.n);
	buf_free(&b);
	return ok;
}

/* Started by the handler of a crashing process, which waits for us: see shim/crash. */
static int crash_helper(const char *path)
{
	static const struct reports_options o = {.no_inbox = true, .no_spool = true, .foreign = true};
	const struct rlimit cpu = {ALL_TIME / SECOND, ALL_TIME / SECOND + 1};
	char dir[256];
	const char *slash = strrchr(path, '/');
	if (!slash || slash == path || (size_t)(slash - path) >= sizeof dir)
		return 2;
	snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
	setrlimit(RLIMIT_CPU, &cpu);
	signal(SIGXFSZ, SIG_IGN); /* the program's files may not grow, so ours may not: nothing is kept then, but sent */
	alarm((unsigned)(ALL_TIME / SECOND) + 5);
	uint64_t end = mono_ns() + ALL_TIME;
	if (!host_make(dir) || !tool_open(&o))
		return 1;
	bool got = strncmp(path, "/proc/", 6) == 0 ? take_nameless(path) : reports_take_file(t.reports, slash + 1);
	if (got)
		tool_run(end);
	tool_close();
	return !got;
}

static int rollbar(const char *const *argv)
{
	const char *sub = argv[0] ? argv[0] : "", *level = "info";
	if (strcmp(sub, "flush") == 0 && (!argv[1] || (strcmp(argv[1], "--all") == 0 && !argv[2])))
		return rollbar_flush(argv[1]);
	if (strcmp(sub, "test") != 0)
		return usage(stderr);
	argv++;
	if (*argv && strcmp(*argv, "--level") == 0) {
		level = argv[1] ? level_of(argv[1]) : NULL;
		if (!level) {
			fprintf(stderr, "remora: a level is one of critical, error, warning, info, debug\n");
			return 2;
		}
		argv += 2;
	}
	if (*argv && (**argv == '-' || argv[1]))
		return usage(stderr);
	return rollbar_test(level, *argv && **argv ? *argv : "Hello from remora");
}

int remora_export_tool(const char *const *argv)
{
	const char *what = argv[0] ? argv[0] : "", *sub = argv[0] && argv[1] ? argv[1] : "";
	const char *arg = *sub ? argv[2] : NULL;
	if (strcmp(what, "crash-helper") == 0)
		return *sub ? crash_helper(sub) : 2;
	for (const char *const *p = argv; *p; p++)
		if (strcmp(*p, "--help") == 0 || strcmp(*p, "-h") == 0)
			return usage(stdout);
	if (!host_make(NULL))
		return 1;
	if (strcmp(what, "crashes") == 0 && (!*sub || (strcmp(sub, "list") == 0 && !arg)))
		return list();
	if (strcmp(what, "crashes") == 0 && strcmp(sub, "show") == 0 && arg && (!argv[3] || (strcmp(argv[3], "--json") == 0 && !argv[4])))
		return show(arg, argv[3]);
	if (strcmp(what, "flush") == 0 && (!*sub || (strcmp(sub, "--all") == 0 && !arg)))
		return flush(*sub);
	if (strcmp(what, "rollbar") == 0)
		return rollbar(argv + 1);
	return usage(stderr);
}
