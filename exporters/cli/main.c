/* The remora command. Its own process: libc and nothing else. */
#include "exporters/cli/program.h"
#include "version.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char usage[] =
	"usage: remora run [--] PROGRAM [ARGUMENT...]   run a program with libremora.so preloaded\n"
	"       remora crashes [list]                  crash reports kept on this machine\n"
	"       remora crashes show ID [--json]        one of them\n"
	"       remora flush [--all]                   send what lies around: crash files, unsent items, spans\n"
	"       remora rollbar test [--level LEVEL] [MESSAGE]   send a message to Rollbar and print its answer\n"
	"       remora rollbar flush [--all]           send crash files and unsent items alone\n"
	"       remora --version | --help\n"
	"\n"
	"Where the data goes is said by environment variables, as OpenTelemetry's SDKs read them:\n"
	"  OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318   a collector\n"
	"  HONEYCOMB_API_KEY=...                               Honeycomb\n"
	"  OTEL_TRACES_EXPORTER=console                        this terminal\n"
	"  ROLLBAR_ACCESS_TOKEN=... or ROLLBAR_ACCESS_TOKEN_FILE=...   crashes and errors to Rollbar\n"
	"Without any: the terminal if there is one, else http://localhost:4318.\n"
	"Exit status: the program's own; 126 if it cannot be run so, 127 if it is not found.\n";

/* The full path of a program as execvp would find it; false: not found. */
static bool find_program(const char *name, char path[PATH_MAX])
{
	if (strchr(name, '/')) {
		snprintf(path, PATH_MAX, "%s", name);
		return access(path, F_OK) == 0;
	}
	const char *dirs = getenv("PATH");
	for (const char *p = dirs ? dirs : "/usr/local/bin:/usr/bin:/bin"; *p;) {
		size_t n = strcspn(p, ":");
		struct stat st;
		snprintf(path, PATH_MAX, "%.*s%s%s", (int)n, p, n ? "/" : "", name);
		if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0)
			return true;
		p += n + (p[n] == ':');
	}
	return false;
}

/* Looks into the file, through scripts; false: unreadable (then the kernel may say what it thinks of it). */
static bool inspect(const char *path, struct program *out, bool *privileged)
{
	char next[PATH_MAX];
	snprintf(next, sizeof next, "%s", path);
	for (int depth = 0; depth < 5; depth++) {
		struct stat st;
		int fd = open(next, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st) != 0 || st.st_size <= 0) {
			if (fd >= 0)
				close(fd);
			return false;
		}
		if (st.st_mode & (S_ISUID | S_ISGID) && geteuid() != 0)
			*privileged = true;
		void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		close(fd);
		if (p == MAP_FAILED)
			return false;
		program_inspect(p, (size_t)st.st_size, out);
		munmap(p, (size_t)st.st_size);
		if (out->kind != PROGRAM_SCRIPT || !out->interpreter[0])
			return true;
		snprintf(next, sizeof next, "%s", out->interpreter);
	}
	return true;
}

/* A library beside this program (a build) or in ../lib/remora (installed). */
static bool find_library(const char *name, char path[PATH_MAX])
{
	static const char *const places[] = {"", "/../lib/remora"};
	char self[PATH_MAX], try[PATH_MAX + 64];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	if (n <= 0)
		return false;
	self[n] = 0;
	*strrchr(self, '/') = 0;
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
		snprintf(try, sizeof try, "%s%s/%s", self, places[i], name);
		if (realpath(try, path))
			return true;
	}
	return false;
}

static int refuse(const char *program, const char *why)
{
	fprintf(stderr, "remora: %s: %s\n", program, why);
	return 126;
}

static int run(char **argv)
{
	char path[PATH_MAX], library[PATH_MAX];
	struct program kind = {.kind = PROGRAM_UNKNOWN};
	bool privileged = false, preload = true;
	if (!argv[0]) {
		fprintf(stderr, "remora: no program to run; try: remora run -- PROGRAM [ARGUMENT...]\n");
		return 2;
	}
	if (!find_program(argv[0], path)) {
		fprintf(stderr, "remora: %s: not found\n", argv[0]);
		return 127;
	}
	if (inspect(path, &kind, &privileged)) {
		if (kind.kind == PROGRAM_MUSL)
			return refuse(argv[0], "it is linked with musl, and would not start with a library for glibc; "
			                       "run it without remora, or build it for glibc");
		if (kind.kind == PROGRAM_STATIC || kind.kind == PROGRAM_FOREIGN) {
			fprintf(stderr, "remora: %s: %s; it runs untraced\n", argv[0],
			        kind.kind == PROGRAM_STATIC ? "it is linked statically, so nothing can be preloaded"
			                                    : "it is for another machine than libremora.so");
			preload = false;
		} else if (privileged) {
			fprintf(stderr, "remora: %s: it changes its user (setuid), so the system ignores preloaded libraries; "
			                "it runs untraced\n",
			        argv[0]);
		}
	}
	if (preload) {
		const char *old = getenv("LD_PRELOAD");
		char value[3 * PATH_MAX];
		if (!find_library("libremora.so", library))
			return refuse(argv[0], "libremora.so is neither beside this program nor in ../lib/remora; install it again");
		if (strpbrk(library, " :"))
			return refuse(library, "LD_PRELOAD cannot hold a path with a space or a colon; install it elsewhere");
		/* A program with gcc's dynamic AddressSanitizer refuses to start when anything stands before that. */
		snprintf(value, sizeof value, "%s%s%s%s%s", kind.asan, kind.asan[0] ? ":" : "", library, old && *old ? ":" : "",
		         old ? old : "");
		setenv("LD_PRELOAD", value, 1);
	}
	execvp(argv[0], argv);
	int e = errno;
	fprintf(stderr, "remora: %s: %s\n", argv[0], strerror(e));
	return e == ENOENT ? 127 : 126;
}

/* The commands that need more than libc are in the exporter's library. */
static int tool(char **argv)
{
	char path[PATH_MAX];
	int (*entry)(const char *const *) = NULL;
	void *lib = find_library("libremora-export.so", path) ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
	if (lib)
		entry = (int (*)(const char *const *))(uintptr_t)dlsym(lib, "remora_export_tool");
	if (entry)
		return entry((const char *const *)argv);
	const char *why = lib ? dlerror() : NULL;
	fprintf(stderr, "remora: libremora-export.so is neither beside this program nor in ../lib/remora, or does not fit%s%s; "
	                "install it again\n",
	        why ? ": " : "", why ? why : "");
	return 126;
}

static bool is_tool(const char *command)
{
	static const char *const names[] = {"crashes", "flush", "rollbar", "crash-helper"};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(command, names[i]) == 0)
			return true;
	return false;
}

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "";
	if (strcmp(command, "run") == 0)
		return run(argv + (argc > 2 && strcmp(argv[2], "--") == 0 ? 3 : 2));
	if (is_tool(command))
		return tool(argv + 1);
	if (strcmp(command, "--version") == 0 || strcmp(command, "version") == 0) {
		printf("remora %s (%s)\n", REMORA_VERSION, REMORA_COMMIT);
		return 0;
	}
	if (strcmp(command, "--help") == 0 || strcmp(command, "help") == 0 || strcmp(command, "-h") == 0) {
		fputs(usage, stdout);
		return 0;
	}
	if (*command)
		fprintf(stderr, "remora: unknown command '%s'\n", command);
	fputs(usage, stderr);
	return 2;
}
