/*
 * Between libremora.so (the thread's owner) and libremora-export.so (what the thread runs): one struct, one function.
 * Both are installed together; `version` refuses a mixed installation.
 */
#ifndef REMORA_ABI_H
#define REMORA_ABI_H

#include "span/arena.h"

#define EXPORT_ABI 2

enum export_end {                  /* why remora_export_main returned */
	              EXPORT_STOPPED,  /* asked to */
	              EXPORT_IDLE,     /* nothing to send and no open connection for a while: start it again when needed */
	              EXPORT_NO_LEASE, /* another process exports */
	              EXPORT_UNFIT,    /* cannot work here (ABI, no destination): do not start it again */
};

enum export_request {
	REQUEST_NONE,
	REQUEST_FLUSH,
	REQUEST_PAUSE, /* flush, then return: the process lives on without us */
	REQUEST_STOP,  /* the same at the process's end: the last of its tree removes the arena's file */
};

struct export_recent {         /* memory of the exporter's that goes into a crash file, should this process crash */
	_Atomic uint64_t at, size; /* size 0: none */
	_Atomic uint32_t frozen;   /* it crashes: what waits in the arena is to stay there, until a flush is asked for */
};

struct export_host {
	uint32_t version; /* EXPORT_ABI */
	struct arena *arena;
	const char *dir;        /* runtime directory, "" = none */
	const char *const *env; /* copies of the variables that concern us, NAME=VALUE, NULL at the end; for ever valid */
	bool stderr_tty;        /* stderr was a terminal at the program's start */
	uint8_t log_level;      /* enum log_level */
	const char *program;    /* path of the executable, for messages */
	const char *agent;      /* "remora/0.1.0" */
	bool (*busy)(void);     /* does this process have connections that may produce records without a warning? */
	/*
	 * The thread's own time is between run_enter and run_leave; run_enter waits while some host thread forks. Be
	 * outside whenever you wait (futex, poll): a fork then need not wait for you. exporter.
	 */
	void (*run_enter)(void);
	void (*run_leave)(void);
	/* What host threads ask; changes are followed by arena_wake(). */
	_Atomic uint32_t *request;     /* enum export_request */
	_Atomic uint64_t *deadline_ns; /* CLOCK_MONOTONIC: a flush or stop must be answered by then */
	void (*flushed)(void);         /* answer to REQUEST_FLUSH (resets it to NONE) */
	/*
	 * The lease, by the shim's hand: it is taken before this object is loaded, for of a hundred workers that see the
	 * first record at once one shall load it. As arena_lease_try and arena_lease_release; NULL = call those.
	 */
	bool (*lease_try)(struct arena *a, bool *takeover);
	void (*lease_release)(struct arena *a);
	/*
	 * Text to the host's stderr, only while that is still the file it was at the program's start and no raw terminal;
	 * whole or not at all for text below PIPE_BUF. False = not written.
	 */
	bool (*stderr_write)(const char *text, size_t n);
	struct export_recent *recent; /* NULL: nobody reads it */
};

/* Takes the lease, exports until asked to stop or idle. exporter; all signals blocked. */
int remora_export_main(const struct export_host *host);

#endif
