/*
 * A crash as a person reads it: frames with names and lines. Made from a crash file (shim/crash/record.h) by
 * crash_report_make, or from text by the parsers of exporters/errors; read by rollbar, the local store, the console
 * and the span's exception event. exporter thread, or the remora command. All memory belongs to the report.
 */
#ifndef REMORA_CRASH_REPORT_H
#define REMORA_CRASH_REPORT_H

#include "shim/crash/record.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct report_frame {
	uint64_t ip;                          /* 0 in languages without addresses */
	const char *function;                 /* demangled; NULL = unknown */
	const char *file;                     /* source; NULL = unknown */
	uint32_t line, column;                /* 0 = unknown */
	const char *module;                   /* path of the binary; NULL */
	uint64_t offset;                      /* within the module, as objdump counts (file-relative virtual address) */
	const char *build_id;                 /* hex; NULL */
	const char *code;                     /* the source line; NULL */
	const char *const *pre, *const *post; /* lines around it, NULL-terminated; NULL = none */
	bool inlined;                         /* into the next frame */
	bool unloaded;                        /* the module had been unloaded */
	bool signal;                          /* <signal handler called> */
	bool scanned;                         /* found by looking over the stack, not by unwinding: a guess */
	bool in_app;                          /* not libc, loader, sanitizer or language runtime */
	uint32_t repeated;                    /* folded recursion: how many more like it (and its cycle) */
};

struct report_thread {
	int32_t tid;
	const char *name;
	bool crashed;
	size_t n;
	struct report_frame *frames; /* innermost first */
};

struct report_exception { /* one of a chain */
	const char *type, *message;
	size_t n;
	struct report_frame *frames; /* innermost first, whatever the language prints */
};

enum report_source { REPORT_SIGNAL,
	                 REPORT_STDERR,
	                 REPORT_MESSAGE,
	                 REPORT_REQUEST /* was answered with 5xx; no exception is known */ };

struct report {
	enum report_source source;
	char uuid[37];
	int32_t pid, tid;                 /* who crashed, or wrote it; REPORT_STDERR: with time_ns, for joining it to a crash file */
	uint8_t trace_id[16], span_id[8]; /* the thread's open request; zero: none */
	bool handled;                     /* REPORT_STDERR: the program logged it and went on (REMORA_ERRORS_LOGGED) */
	bool fatal;                       /* REPORT_STDERR: the process died by it, as far as its text tells */
	bool by_signal;                   /* REPORT_STDERR: that was a signal, so a crash file tells of the same (errors_join) */
	uint64_t time_ns;
	const char *level;    /* rollbar's: critical error warning info debug */
	const char *language; /* "c", "c++", "rust", "python", "javascript", "java", "ruby", "go" */
	const char *title;    /* "SIGSEGV in parse_order (order.c:41)" */
	char fingerprint[41]; /* sha1 hex; "" = let the receiver group */
	size_t n_exceptions;
	struct report_exception *exceptions; /* outermost (last raised) first; a signal has one */
	size_t n_threads;
	struct report_thread *threads; /* crashed one first; none for text */
	const struct crash_head *head; /* NULL for text */
	const char *unwind;            /* "dwarf", "stack_corrupt", "partial" */
	const char *description;       /* "write to NULL, thread worker-3 (tid 71)" */
	const char *abort_msg;
	size_t n_modules;
	struct report_module {
		const char *path, *build_id;
		uint64_t base;
	} * modules;
	const char *const *process;       /* NAME=VALUE strings of the process' description, NULL-terminated */
	const char *cwd;                  /* when it crashed; NULL */
	const char *hs_err_path, *hs_err; /* what a JVM wrote of its crash, and where; NULL */
	const void *words;                /* CRASH_SEC_WORDS, for errors_last_words; NULL: it said nothing, or the file does not have it */
	size_t n_words;
	const char *text;       /* a gdb-like trace of all of it, for exception.stacktrace and for people */
	bool complete;          /* the crash file was whole, and nothing faulted in its making */
	struct report_mem *mem; /* private: what report_alloc gave */
};

/* report_mem.c. A zeroed report with a new uuid and now as its time; NULL: no memory. */
struct report *report_new(enum report_source source);
/* Zeroed memory that lives as long as the report; NULL: none left. */
void *report_alloc(struct report *r, size_t n);
/* A copy with its NUL. NULL for NULL, or when there is no memory. */
const char *report_str(struct report *r, const char *s, size_t n);
/* What `from` owns belongs to `to` from now on; `from` itself is freed. */
void report_absorb(struct report *to, struct report *from);

struct crash_report_opts {
	bool source;           /* REMORA_CRASH_SOURCE=1: source lines around a frame */
	uint32_t ms;           /* time for all of it; 0: 2000 */
	uint64_t debug_max;    /* bytes of debugging information that are read; 0: 128 MiB */
	const char *debug_dir; /* NULL: /usr/lib/debug */
};
struct report *crash_report_make_with(const void *file, size_t n, const struct crash_report_opts *o, const char **why);

/* Title, fingerprint and text anew: the exceptions have changed. */
void report_name(struct report *r);
/* From a crash file (bytes are hostile). NULL: not one, or no memory; *why says so. */
struct report *crash_report_make(const void *file, size_t n, const char **why);
void report_free(struct report *r);

#endif
