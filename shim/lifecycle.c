/*
 * Beginning and end. OFF (before the constructor, and for ever in programs that stay inert) -> ON -> passing through
 * again after a seccomp filter. The destructor runs after the program's own exit handlers.
 */
#include "config.h"
#include "base/stderr.h"
#include "crash/crash.h"
#include "export_thread.h"
#include "hooks/guard.h"
#include "hooks/real.h"
#include "log/text.h"
#include "span/process.h"
#include "version.h"
#include <string.h>

static size_t put(char *out, size_t n, size_t cap, const char *s)
{
	while (*s && n < cap - 1)
		out[n++] = *s++;
	return n;
}

static void say_hello(void)
{
	char line[PATH_MAX + 256];
	size_t n = put(line, 0, sizeof line, "remora: " REMORA_VERSION " (" REMORA_COMMIT ") in ");
	n = put(line, n, sizeof line, config.exe);
	n = put(line, n, sizeof line, config.inert ? ": inert, " : ": tracing");
	if (config.inert)
		n = put(line, n, sizeof line, config.inert);
	line[n++] = '\n';
	stderr_write(line, n, false);
}

static void crash_begin(void)
{
	struct crash_libc libc = {
		.sigaction = REAL(sigaction),
		.sigaltstack = REAL(sigaltstack),
		.key_create = (__typeof__(libc.key_create))real_find("pthread_key_create"),
		.key_delete = (__typeof__(libc.key_delete))real_find("pthread_key_delete"),
		.setspecific = (__typeof__(libc.setspecific))real_find("pthread_setspecific"),
		.abort_msg = real_find("__abort_msg"),
		.r_debug = real_find("_r_debug"),
	};
	struct crash_export export_thread = {
		.library = export_thread_library(),
		.tid = export_thread_tid,
		.ask = export_thread_ask,
		.done = export_thread_answered,
		.recent = export_thread_recent,
		.freeze = export_thread_freeze,
	};
	crash_init(&libc, &export_thread);
}

__attribute__((constructor(101))) static void begin(int argc, char **argv, char **envp)
{
	config_read(argc, argv, envp);
	if (config.log_level >= LOG_DEBUG || !config.inert)
		stderr_init();
	if (config.log_level >= LOG_DEBUG)
		say_hello();
	if (config.inert)
		return;
	process_init();
	process_on_fork = export_thread_forked;
	export_thread_init();
	real_resolve_all();
	if (config.text_fds) {
		text_stdio_init();
		text_on_commit = export_thread_poke_text;
	}
	if (config.crash_signals)
		crash_begin();
	atomic_store(&process.active, true);
}

__attribute__((destructor(101))) static void end(void)
{
	struct thread *t = &thread_self;
	int e = errno;
	if (config.lines && atomic_load(&process.active))
		text_stdio_flush(export_thread_tid() ? 2 : 1);
	if (atomic_load(&process.active) && enter(t)) {
		export_thread_exit();
		leave(t);
	}
	errno = e;
}
