/*
 * The OTEL_*, REMORA_*, HONEYCOMB_*, ROLLBAR_* and AWS_XRAY_* variables as the exporter needs them, parsed once at its start from
 * the copies the shim made (abi.h). Unknown values give one warning for the whole tree (arena.warned). exporter thread.
 */
#ifndef REMORA_SETTINGS_H
#define REMORA_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct export_host;

enum otlp_protocol { OTLP_PROTOBUF,
	                 OTLP_JSON };

struct named_file {  /* PEM; read by http.c */
	char *path;      /* owned; NULL = none */
	const char *var; /* the variable that named it, for messages */
};

struct otlp_settings { /* one OTLP destination */
	const char *label; /* for messages: "otlp", "honeycomb", "xray" */
	char *url;         /* whole, with /v1/traces where the specification appends it; NULL: of aws below */
	char *shown;       /* the same for messages: without user, password and query */
	char **headers;    /* "name: value", NULL-terminated; secret: never logged */
	struct named_file ca, client_cert, client_key;
	enum otlp_protocol protocol;
	bool gzip;
	uint64_t timeout_ns; /* of one attempt; 0 = no limit */
	/* X-Ray's own endpoint: signed. */
	bool aws;
	char *aws_url;       /* without /v1/traces; NULL = the region's */
	char aws_region[65]; /* that the URL is of; "" = as AWS_REGION and so on say */
};

struct rollbar_settings {
	const char *token, *token_file; /* borrowed from the copies, NULL = not set; the token is secret */
	char *url, *shown;              /* the item API, whole */
	char environment[256];
	char code_version[41]; /* "" = not set */
	char branch[256];      /* "" = not set */
	enum capture_ip { IP_WHOLE,
		              IP_ANONYMIZED, /* the last part zero */
		              IP_NONE } capture_ip;
	bool failed_requests; /* REMORA_ROLLBAR_5XX */
	bool environment_set;
	bool on; /* there is a token or a file of them, and a good URL */
};

struct xray_settings {         /* strings borrowed from the copies; NULL = not set */
	const char *address;       /* AWS_XRAY_DAEMON_ADDRESS, fit (xray.h takes it apart) */
	const char *name;          /* AWS_XRAY_TRACING_NAME */
	const char *dynamic;       /* REMORA_XRAY_DYNAMIC_NAMING: hosts that become the name */
	const char *annotations;   /* REMORA_XRAY_ANNOTATIONS: list of attributes */
	const char *execution_env; /* AWS_EXECUTION_ENV */
	const char *log_group;     /* REMORA_CLOUDWATCH_LOG_GROUP */
	uint64_t in_progress_ns;   /* REMORA_XRAY_IN_PROGRESS_MS; 0 = open requests are not told */
	bool on;                   /* by way of the daemon */
	bool direct;               /* REMORA_XRAY_PROTOCOL=otlp: one of settings.otlp instead */
	bool sampler;              /* its rules decide: for all destinations (OTEL_TRACES_SAMPLER=xray), or */
	bool own;                  /* for X-Ray alone: no sampler is set */
	bool sampler_usual;        /* nobody said where the rules are */
	char endpoint[300];        /* of the daemon's TCP port, "http://host:port" */
	uint64_t polling_ns;       /* how often rules are fetched */
};

struct cloudwatch_settings {
	bool on;
	const char *group, *stream; /* borrowed from the copies; stream NULL = the default */
	char *url, *shown;          /* AWS_ENDPOINT_URL_CLOUDWATCH_LOGS; NULL = the region's */
	bool json, gzip, access, emf;
	int level;     /* enum level: less is left out */
	uint32_t rate; /* events a second, 0 = all */
	uint32_t retention_days;
	uint64_t delay_ns; /* OTEL_BLRP_SCHEDULE_DELAY */
};

struct settings {
	const struct export_host *host;
	struct otlp_settings otlp[3]; /* OTEL_EXPORTER_OTLP_*, Honeycomb, X-Ray */
	unsigned n_otlp;
	bool console;
	struct rollbar_settings rollbar;
	struct xray_settings xray;
	struct cloudwatch_settings cloudwatch;
	bool crash;                 /* REMORA_CRASH: crash files are looked for */
	bool crash_source;          /* REMORA_CRASH_SOURCE: lines of readable sources go into reports */
	char *state_dir;            /* REMORA_STATE_DIR as decided; NULL = there is no fit place */
	uint64_t schedule_delay_ns; /* OTEL_BSP_SCHEDULE_DELAY */
	uint64_t export_timeout_ns; /* how long a batch is tried; OTEL_BSP_EXPORT_TIMEOUT when set, 0 = for ever */
	uint32_t max_queue;         /* 0 = not set: only the byte budget binds */
	uint32_t max_batch;
	uint32_t attr_count_limit, attr_length_limit; /* span attributes; UINT32_MAX = none */
												  /* service.* and resource attributes given are per process: they travel in its description (resource.h) */
};

/* Never NULL-like: bad values fall back to defaults with a warning. */
void settings_parse(struct settings *s, const struct export_host *host);
void settings_free(struct settings *s);
const char *settings_get(const struct export_host *h, const char *name); /* NULL when unset or empty */

/* ---- parts, for settings*.c and tests ---- */

/* Is it one of the names (case-insensitive; n of them, divided by '|')? Its index or -1. Pure. */
int settings_choice(const char *value, size_t n, const char *names);
/* A whole number of at most `max`. False: something else. Pure. */
bool settings_number(const char *value, uint64_t max, uint64_t *out);
/* http or https with a host and no characters that a URL cannot have. Pure. */
bool settings_url_ok(const char *url);
/* A copy for messages: user, password, query and fragment left out. NULL: no memory. */
char *settings_url_shown(const char *url);
/*
 * OTEL_EXPORTER_OTLP_HEADERS: "k=v,k2=v2", values percent-decoded. Result: owned "k: v" strings, NULL at the end;
 * NULL when there are none. Members that are not fit are left out with one warning that names `var` alone.
 */
char **settings_headers(const char *value, const char *var);
void settings_headers_free(char **headers);
bool settings_header_add(char ***headers, const char *name, const char *value, size_t n); /* replaces a namesake */
/* ROLLBAR_*, REMORA_CRASH, REMORA_STATE_DIR. */
void settings_rollbar(struct settings *s);
void settings_rollbar_free(struct settings *s);
/* AWS_XRAY_*, REMORA_XRAY_*; `listed`: OTEL_TRACES_EXPORTER names it. */
void settings_xray(struct settings *s, bool listed);
bool settings_xray_wanted(const struct settings *s); /* also when not listed */
/* X-Ray's rules and, with OTEL_TRACES_SAMPLER=xray, the argument. */
void settings_xray_sampler(struct settings *s, const char *arg);
/* A token as a header can carry it: printable, without blanks. Pure. */
bool settings_token_ok(const char *p, size_t n);
/* REMORA_CLOUDWATCH_*. */
void settings_cloudwatch(struct settings *s);
void settings_cloudwatch_free(struct settings *s);
/* The OTLP and Honeycomb destinations, into s->otlp; X-Ray's, if xray.direct. */
void settings_otlp(struct settings *s);
void settings_otlp_xray(struct settings *s);
/* The destination that is X-Ray's own endpoint; NULL = none. */
const struct otlp_settings *settings_aws(const struct settings *s);
void settings_otlp_free(struct otlp_settings *o);

#endif
