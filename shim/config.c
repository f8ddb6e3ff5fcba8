#include "config.h"
#include "base/env_hash.h"
#include "base/glob.h"
#include "base/sys.h"
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>

struct config config = {.log_level = LOG_WARN};

/*
 * Programs that are rarely what somebody wants to see, and that LD_PRELOAD in a container reaches all the same.
 * REMORA_INCLUDE brings one back.
 */
static const char default_exclude[] =
	"sh,dash,bash,zsh,ksh*,fish,busybox,env,sudo,su,"
	"gcc*,g++*,cc,c++,cc1,cc1plus,collect2,as,ld,ld.*,gold,lld*,clang*,x86_64-linux-gnu-*,aarch64-linux-gnu-*,"
	"make,cmake,ninja,ar,ranlib,strip,objdump,nm,"
	"apt,apt-*,dpkg*,aptitude,rpm,yum,dnf*,microdnf,apk,ldconfig*,remora,"
	"gdb,strace,ltrace,perf,valgrind*,git,git-*,ssh,sshd,ssh-*,rsync,tmux*,screen";

static char env_copy[24 * 1024]; /* usual environments fit; a larger one is mapped */
static char *env_at = env_copy, *env_end = env_copy + sizeof env_copy;

static const char *const copied[] = {
	"OTEL_",
	"REMORA_",
	"HONEYCOMB_",
	"TRACEPARENT=",
	"TRACESTATE=",
	"BAGGAGE=",
	"XDG_RUNTIME_DIR=",
	"SSL_CERT_FILE=",
	"http_proxy=",
	"https_proxy=",
	"all_proxy=",
	"no_proxy=",
	"HTTP_PROXY=",
	"HTTPS_PROXY=",
	"ALL_PROXY=",
	"NO_PROXY=",
	"NO_COLOR=",
	"ROLLBAR_",
	"XDG_STATE_HOME=",
	"HOME=",
	"AWS_",
};

static bool begins(const char *s, const char *prefix)
{
	while (*prefix)
		if (*s++ != *prefix++)
			return false;
	return true;
}

static bool begins_any(const char *s, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (begins(s, list[i]))
			return true;
	return false;
}
#define BEGINS_ANY(s, list) begins_any(s, list, sizeof(list) / sizeof((list)[0]))

static void copy_env(char *const *envp)
{
	uint64_t sum = 0;
	unsigned n = 0;
	for (; envp && *envp; envp++) {
		const char *e = *envp;
		if (!strchr("ORHTBXShan", *e) && *e != 'A' && *e != 'N')
			continue;
		if (!BEGINS_ANY(e, copied) || n == CONFIG_ENV_MAX)
			continue;
		size_t len = strlen(e) + 1;
		if (len > (size_t)(env_end - env_at)) {
			size_t size = len > 256 * 1024 ? len : 256 * 1024;
			char *m = sys_map(size);
			if (!m)
				continue;
			env_at = m;
			env_end = m + size;
		}
		memcpy(env_at, e, len);
		config.env[n++] = env_at;
		env_at += len;
		sum += env_hash(e);
	}
	config.hash = sum;
}

const char *config_get(const char *name)
{
	size_t n = strlen(name);
	for (unsigned i = 0; config.env[i]; i++)
		if (strncmp(config.env[i], name, n) == 0 && config.env[i][n] == '=')
			return config.env[i][n + 1] ? config.env[i] + n + 1 : NULL;
	return NULL;
}

/* ---- globs ---- */

static bool fits(const char *b, const char *e, const char *path)
{
	return glob_fits((struct slice){b, (uint32_t)(e - b)}, slice_of(path), false);
}

bool glob_list(const char *list, const char *path)
{
	const char *file = strrchr(path, '/');
	file = file ? file + 1 : path;
	for (const char *p = list; p && *p;) {
		const char *e = p + strcspn(p, ",:");
		const char *b = p, *t = e;
		while (b < t && *b == ' ')
			b++;
		while (t > b && t[-1] == ' ')
			t--;
		if (b < t && fits(b, t, memchr(b, '/', (size_t)(t - b)) ? path : file))
			return true;
		/* "*curl*" is meant for the whole path too */
		if (b < t && *b == '*' && fits(b, t, path))
			return true;
		p = *e ? e + 1 : e;
	}
	return false;
}

/* ---- values ---- */

static bool same(const char *a, const char *b) /* ASCII case aside */
{
	for (; *a && *b; a++, b++) {
		char x = *a >= 'A' && *a <= 'Z' ? (char)(*a | 0x20) : *a;
		if (x != *b)
			return false;
	}
	return *a == *b;
}

static uint64_t number(const char *s, uint64_t otherwise, uint64_t max)
{
	uint64_t v = 0;
	if (!s)
		return otherwise;
	for (; *s >= '0' && *s <= '9'; s++)
		if ((v = v * 10 + (unsigned)(*s - '0')) > max)
			return otherwise;
	return *s ? otherwise : v;
}

/* "0.25", "1", "1e-3" as parts of 2^56; false if it is no number between 0 and 1. */
static bool ratio(const char *s, uint64_t *parts)
{
	double v = 0, scale = 1;
	bool digits = false;
	for (; *s >= '0' && *s <= '9'; s++, digits = true)
		v = v * 10 + (*s - '0');
	if (*s == '.')
		for (s++; *s >= '0' && *s <= '9'; s++, digits = true)
			v += (*s - '0') * (scale /= 10);
	if (digits && (*s == 'e' || *s == 'E')) {
		bool minus = *++s == '-';
		int e = 0;
		if (*s == '-' || *s == '+')
			s++;
		if (*s < '0' || *s > '9')
			return false;
		for (; *s >= '0' && *s <= '9' && e < 400; s++)
			e = e * 10 + (*s - '0');
		while (e-- > 0)
			v = minus ? v / 10 : v * 10;
	}
	if (!digits || *s || v > 1)
		return false;
	*parts = (uint64_t)(v * 72057594037927936.0);
	return true;
}

static void read_sampler(void)
{
	static const struct {
		const char *name;
		uint8_t sampler;
		bool parent_based;
	} known[] = {
		{"always_on", SAMPLER_ON, false},
		{"always_off", SAMPLER_OFF, false},
		{"traceidratio", SAMPLER_RATIO, false},
		{"parentbased_always_on", SAMPLER_ON, true},
		{"parentbased_always_off", SAMPLER_OFF, true},
		{"parentbased_traceidratio", SAMPLER_RATIO, true},
		{"xray", SAMPLER_XRAY, true},
	};
	const char *name = config_get("OTEL_TRACES_SAMPLER"), *arg = config_get("OTEL_TRACES_SAMPLER_ARG");
	config.sampler = SAMPLER_ON;
	config.parent_based = true;
	for (size_t i = 0; name && i < sizeof known / sizeof known[0]; i++) {
		if (same(name, known[i].name)) {
			config.sampler = known[i].sampler;
			config.parent_based = known[i].parent_based;
		}
	}
	uint64_t parts = 1ull << 56;
	if (config.sampler != SAMPLER_RATIO)
		return;
	if (arg)
		ratio(arg, &parts);
	config.threshold = (1ull << 56) - parts;
	if (parts == 0) { /* th cannot say "never" */
		config.sampler = SAMPLER_OFF;
		return;
	}
	/* Four digits are the specification's default precision; the decision uses what is told. */
	static const char hex[] = "0123456789abcdef";
	uint64_t t = config.threshold;
	int n = 0;
	unsigned keep = 4;
	bool leading = true; /* digits of "f" say little: more of them for small ratios */
	for (int i = 13; i >= 0; i--) {
		unsigned d = t >> (i * 4) & 15;
		leading = leading && d == 15;
		if (!leading && keep-- == 0) {
			uint64_t unit = 1ull << ((i + 1) * 4), half = unit / 2;
			t = (t + half) / unit * unit;
			break;
		}
	}
	if (t >= 1ull << 56)
		t = config.threshold;
	config.threshold = t;
	for (int i = 13; i >= 0; i--)
		config.th[n++] = hex[t >> (i * 4) & 15];
	while (n > 1 && config.th[n - 1] == '0')
		n--;
	config.th[n] = 0;
}

/* As exporters/settings.c decides whether there is X-Ray; *alone: it is the only destination of spans. */
static bool xray_wanted(bool *alone)
{
	const char *list = config_get("OTEL_TRACES_EXPORTER");
	const char *protocol = config_get("REMORA_XRAY_PROTOCOL");
	bool wanted = config_get("AWS_XRAY_DAEMON_ADDRESS") || (protocol && same(protocol, "otlp")), none = false;
	*alone = list || !(config_get("OTEL_EXPORTER_OTLP_ENDPOINT") || config_get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") ||
	                   config_get("HONEYCOMB_API_KEY"));
	while (list && *list) {
		char word[8];
		const char *e = list + strcspn(list, ","), *t = e;
		while (list < t && (*list == ' ' || *list == '\t'))
			list++;
		while (t > list && (t[-1] == ' ' || t[-1] == '\t'))
			t--;
		if ((size_t)(t - list) < sizeof word) {
			memcpy(word, list, (size_t)(t - list));
			word[t - list] = 0;
			wanted |= same(word, "xray");
			none |= same(word, "none");
			*alone &= !same(word, "otlp") && !same(word, "console");
		}
		list = *e ? e + 1 : e;
	}
	return wanted && !none;
}

/*
 * Without a sampler of the user's choice X-Ray's rules decide for X-Ray alone. What they do not want is recorded for the
 * others: destinations, and reports and lines that tell of requests.
 */
static void read_xray_sampling(bool on, bool alone)
{
	static const char *const others[] = {"ROLLBAR_ACCESS_TOKEN", "ROLLBAR_ACCESS_TOKEN_FILE", "REMORA_ERRORS",
	                                     "REMORA_CLOUDWATCH_ACCESS_LOG", "REMORA_CLOUDWATCH_METRICS"};
	config.xray_own = on && !config_get("OTEL_TRACES_SAMPLER");
	config.record_flags = TRACE_FLAG_SAMPLED | TRACE_FLAG_XRAY;
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		alone &= !config_get(others[i]);
	if (config.xray_own && alone)
		config.record_flags = TRACE_FLAG_XRAY;
}

static void read_propagators(bool xray)
{
	static const struct {
		const char *name;
		unsigned bit;
	} known[] = {
		{"tracecontext", PROP_TRACECONTEXT},
		{"baggage", PROP_BAGGAGE},
		{"b3", PROP_B3},
		{"b3multi", PROP_B3MULTI},
		{"xray", PROP_XRAY},
	};
	const char *s = config_get("OTEL_PROPAGATORS");
	config.propagators = 0;
	if (!s) {
		config.propagators = PROP_TRACECONTEXT | PROP_BAGGAGE | (xray ? PROP_XRAY : 0);
		return;
	}
	while (*s) {
		char word[32];
		size_t n = strcspn(s, ",");
		const char *e = s + n, *t = e;
		while (s < t && *s == ' ')
			s++;
		while (t > s && t[-1] == ' ')
			t--;
		if ((size_t)(t - s) < sizeof word) {
			memcpy(word, s, (size_t)(t - s));
			word[t - s] = 0;
			for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
				if (same(word, known[i].name))
					config.propagators |= known[i].bit;
			if (same(word, "none")) {
				config.propagators = 0;
				return;
			}
		}
		s = *e ? e + 1 : e;
	}
}

static void read_log_level(void)
{
	static const char *const names[] = {"off", "error", "warn", "info", "debug"};
	const char *s = config_get("REMORA_LOG");
	for (size_t i = 0; s && i < sizeof names / sizeof names[0]; i++)
		if (same(s, names[i]))
			config.log_level = (uint8_t)i;
}

static bool is_true(const char *s)
{
	return s && same(s, "true");
}

static bool is_on(const char *s)
{
	return s && (same(s, "1") || same(s, "true") || same(s, "yes") || same(s, "on"));
}

static bool is_off(const char *s)
{
	return s && (same(s, "0") || same(s, "false") || same(s, "no") || same(s, "off"));
}

static void read_crash(void)
{
	static const struct {
		const char *name;
		int sig;
	} known[] = {{"QUIT", SIGQUIT}, {"XCPU", SIGXCPU}, {"XFSZ", SIGXFSZ}};
	static const int always[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};
	const char *on = config_get("REMORA_CRASH"), *more = config_get("REMORA_CRASH_SIGNALS"),
			   *wait = config_get("REMORA_CRASH_WAIT_MS");
	config.crash_wait_ms = (uint32_t)number(wait, 2500, 60000);
	config.crash_wait_set = wait != NULL;
	if (is_off(on))
		return;
	for (size_t i = 0; i < sizeof always / sizeof *always; i++)
		config.crash_signals |= 1ull << (always[i] - 1);
	for (size_t i = 0; more && i < sizeof known / sizeof *known; i++)
		if (strstr(more, known[i].name))
			config.crash_signals |= 1ull << (known[i].sig - 1);
}

/* As exporters/xray names and places a segment. */
static void read_xray(void)
{
	const char *env = config_get("AWS_EXECUTION_ENV");
	config.xray_dynamic = config_get("REMORA_XRAY_DYNAMIC_NAMING");
	config.xray_service = config_get("AWS_XRAY_TRACING_NAME");
	if (!config.xray_service)
		config.xray_service = config_get("OTEL_SERVICE_NAME");
	if (env && strcmp(env, "AWS_ECS_FARGATE") == 0)
		config.xray_type = "AWS::ECS::Fargate";
	else if (env && strcmp(env, "AWS_ECS_EC2") == 0)
		config.xray_type = "AWS::ECS::EC2";
}

/* A list that names neither is a mistake that the exporter tells of; it means both. */
static void read_text(void)
{
	const char *errors = config_get("REMORA_ERRORS"), *streams = config_get("REMORA_CLOUDWATCH_STREAMS");
	config.errors = errors ? is_on(errors) : config_get("ROLLBAR_ACCESS_TOKEN") || config_get("ROLLBAR_ACCESS_TOKEN_FILE");
	config.text_fds = config.errors ? 1 << 2 : 0;
	config.lines = config_get("REMORA_CLOUDWATCH_LOG_GROUP") != NULL;
	bool out = streams && strstr(streams, "stdout"), err = streams && strstr(streams, "stderr");
	if (config.lines)
		config.text_fds |= (uint8_t)((out || !err ? 1 << 1 : 0) | (err || !out ? 1 << 2 : 0));
}

static void decide_inert(void)
{
	const char *include = config_get("REMORA_INCLUDE"), *exclude = config_get("REMORA_EXCLUDE");
	const char *off = config_get("REMORA_DISABLED");
	if (is_on(off))
		config.inert = "REMORA_DISABLED is set";
	else if (is_true(config_get("OTEL_SDK_DISABLED")))
		config.inert = "OTEL_SDK_DISABLED is true";
	else if (exclude && glob_list(exclude, config.exe))
		config.inert = "REMORA_EXCLUDE matches it";
	else if (include && !glob_list(include, config.exe))
		config.inert = "REMORA_INCLUDE does not match it";
	else if (!include && glob_list(default_exclude, config.exe))
		config.inert = "it is on the default exclude list; REMORA_INCLUDE brings it back";
}

static void read_parent(void)
{
	static char state[512], baggage[8192];
	const char *tp = config_get("TRACEPARENT"), *ts = config_get("TRACESTATE"), *bg = config_get("BAGGAGE");
	if ((config.propagators & PROP_TRACECONTEXT) && tp &&
	    traceparent_parse((struct slice){tp, (uint32_t)strlen(tp)}, &config.parent) && ts) {
		struct slice s = {ts, (uint32_t)strlen(ts)};
		config.tracestate = (struct slice){state, (uint32_t)tracestate_join(&s, 1, state, sizeof state)};
	}
	if ((config.propagators & PROP_BAGGAGE) && bg) {
		struct slice s = {bg, (uint32_t)strlen(bg)};
		config.baggage = (struct slice){baggage, (uint32_t)baggage_join(&s, 1, baggage, sizeof baggage)};
	}
}

/* Programs write over their argv (setproctitle), so it is kept as it was. */
static void copy_args(int argc, char *const *argv)
{
	for (int i = 0; i < argc && argv && argv[i]; i++) {
		size_t room = sizeof config.args - config.args_len, n = strnlen(argv[i], room);
		if (n + 1 > room)
			break;
		memcpy(config.args + config.args_len, argv[i], n);
		config.args_len += (uint32_t)n + 1;
	}
}

void config_read(int argc, char *const *argv, char *const *envp)
{
	struct termios t;
	config.argv_at = (uintptr_t)argv;
	copy_args(argc, argv);
	copy_env(envp);
	long n = sys6(SYS_readlinkat, AT_FDCWD, (long)"/proc/self/exe", (long)config.exe, sizeof config.exe - 1, 0, 0);
	if (n <= 0) {
		const char *name = argv && argv[0] ? argv[0] : "";
		n = (long)strnlen(name, sizeof config.exe - 1);
		memcpy(config.exe, name, (size_t)n);
	}
	config.exe[n] = 0;
	read_log_level();
	decide_inert();
	if (config.inert)
		return;
	read_sampler();
	read_xray();
	bool alone, xray = xray_wanted(&alone);
	read_xray_sampling(xray, alone);
	read_propagators(xray);
	read_parent();
	config.arena_bytes = (uint32_t)number(config_get("REMORA_ARENA_BYTES"), 8u << 20, 1u << 30);
	config.exit_wait_ms = (uint32_t)number(config_get("REMORA_EXIT_WAIT_MS"), 500, 60000);
	for (unsigned i = 0; config.env[i]; i++)
		if (begins(config.env[i], "OTEL_EXPORTER_OTLP") && (strstr(config.env[i], "CERTIFICATE=") || strstr(config.env[i], "_KEY=")))
			config.private_files = true;
	read_text();
	config.no_databases = is_off(config_get("REMORA_DATABASES"));
	read_crash();
	struct slice bad;
	header_names_parse(&config.headers, config_get("REMORA_CAPTURE_HEADERS"), &bad);
	user_rules_parse(&config.user, config_get("REMORA_USER"), &bad);
	config.runtime_dir = config_get("REMORA_RUNTIME_DIR");
	config.xdg_runtime_dir = config_get("XDG_RUNTIME_DIR");
	config.service_name = config_get("OTEL_SERVICE_NAME");
	config.resource_attributes = config_get("OTEL_RESOURCE_ATTRIBUTES");
	config.stderr_tty = sys3(SYS_ioctl, 2, TCGETS, &t) == 0;
}
