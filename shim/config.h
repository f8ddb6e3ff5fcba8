/*
 * What the host threads need to know of the environment, read once in the constructor from its envp argument (later
 * the environment may be empty or overwritten). Constant afterwards; inherited by forked children. Bad values fall
 * back silently here: the exporter parses the same copies and tells of them (exporters/settings.c).
 */
#ifndef REMORA_CONFIG_H
#define REMORA_CONFIG_H

#include "base/log.h"
#include "base/slice.h"
#include "proto/head_field.h"
#include "proto/tracecontext.h"
#include "proto/user_rule.h"
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum sampler { /* OTEL_TRACES_SAMPLER */
	           SAMPLER_ON,
	           SAMPLER_OFF,
	           SAMPLER_RATIO,
	           SAMPLER_XRAY, /* X-Ray's rules, in the arena */
};

#define CONFIG_ENV_MAX 96

struct config {
	const char *inert;    /* why nothing is traced, NULL = active */
	uint8_t log_level;    /* enum log_level */
	unsigned propagators; /* set of enum propagator */
	uint8_t sampler;      /* of roots, or of all when !parent_based */
	bool parent_based;
	bool xray_own;          /* X-Ray's rules decide for X-Ray, `sampler` for the other destinations */
	uint8_t record_flags;   /* TRACE_FLAG_*: what of them makes a record */
	uint64_t threshold;     /* SAMPLER_RATIO: sampled when the low 56 bits of the trace id are >= this */
	char th[16];            /* the same as tracestate's ot=th: value, "" = none to write */
	uint64_t hash;          /* of destinations, keys and sampler: processes with another one do not share an arena */
	uint32_t arena_bytes;   /* REMORA_ARENA_BYTES */
	uint32_t exit_wait_ms;  /* REMORA_EXIT_WAIT_MS, default 500 */
	uint64_t crash_signals; /* captured ones, signal 1 is bit 0; 0 = REMORA_CRASH=0 */
	uint32_t crash_wait_ms; /* REMORA_CRASH_WAIT_MS, default 2500 */
	bool crash_wait_set;    /* it was set */
	bool stderr_tty;
	bool errors;                                         /* what goes to fd 2 is read for errors: ROLLBAR_ACCESS_TOKEN(_FILE), REMORA_ERRORS */
	uint8_t text_fds;                                    /* bit n: what is written to fd n is wanted (n is 1 or 2), as errors or as lines */
	bool lines;                                          /* REMORA_CLOUDWATCH_LOG_GROUP: lines are wanted, every one */
	bool no_databases;                                   /* REMORA_DATABASES=0 */
	bool private_files;                                  /* a client certificate or key, or a CA file, is configured */
	const char *xray_service, *xray_type, *xray_dynamic; /* as X-Ray's rules see this process; NULL = not known */
	const char *runtime_dir, *xdg_runtime_dir;           /* NULL = unset */
	const char *service_name, *resource_attributes;      /* NULL = unset */
	struct header_names headers;                         /* REMORA_CAPTURE_HEADERS; borrows from env */
	struct user_rules user;                              /* REMORA_USER; borrows from env */
	struct trace_ctx parent;                             /* TRACEPARENT of the environment; valid or not */
	struct slice tracestate, baggage;                    /* of the environment, checked */
	uintptr_t argv_at;                                   /* where the initial stack ends: above lie arguments and environment; 0 unknown */
	char exe[PATH_MAX];
	const char *env[CONFIG_ENV_MAX + 1]; /* copies, NAME=VALUE, NULL at the end */
	char args[4096];                     /* argv as it was at the start, each with its NUL; cut at the end */
	uint32_t args_len;
};

extern struct config config;

void config_read(int argc, char *const *argv, char *const *envp); /* constructor only */
const char *config_get(const char *name);                         /* NULL when unset or empty */
/* Does path match one of the globs ("a*b?c", split at ',' or ':') of list? A pattern without '/' is for the file name. Pure. */
bool glob_list(const char *list, const char *path);

#endif
