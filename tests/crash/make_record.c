/*
 * Makes a crash file of a program without the handler: runs it under ptrace, and writes what the handler would when a
 * fatal signal is about to be delivered. For comparing the unwinder with gdb. Then shows the report, if asked to.
 *
 *	make_record FILE PROGRAM [ARGUMENT...]        until it crashes
 *	make_record -p SECONDS FILE PROGRAM ...       its state after that time
 *	make_record -r FILE                           prints the report of a file
 */
#include "exporters/crash/report.h"
#include <elf.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <dirent.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>
#undef si_pid
#undef si_uid
#undef si_addr

static FILE *out;
static bool bare; /* frames alone, one a line: for the comparison */

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static void put(uint32_t type, int tid, uint64_t addr, const void *p, size_t n)
{
	struct crash_section s = {type, tid, addr, n};
	static const char zero[8];
	fwrite(&s, sizeof s, 1, out);
	fwrite(p, 1, n, out);
	fwrite(zero, 1, -n & 7, out);
}

static void put_memory(uint32_t type, int pid, int tid, uint64_t from, uint64_t to)
{
	size_t cap = to - from, n = 0;
	char *p = malloc(cap);
	while (n < cap) { /* page by page, until one cannot be read */
		size_t k = 4096 - ((from + n) & 4095);
		if (k > cap - n)
			k = cap - n;
		struct iovec l = {p + n, k}, r = {(void *)(from + n), k};
		if (process_vm_readv(pid, &l, 1, &r, 1, 0) == (ssize_t)k) {
			n += k;
		} else if (n == 0 && from + k < to) { /* SP in the guard */
			from += k;
			cap -= k;
		} else {
			break;
		}
	}
	if (n)
		put(type, tid, from, p, n);
	free(p);
}

static void regs_of(uint64_t to[CR_REGS], const struct user_regs_struct *u)
{
	uint64_t all[CR_REGS] = {u->rax, u->rdx, u->rcx, u->rbx, u->rsi, u->rdi, u->rbp, u->rsp, u->r8,
	                         u->r9, u->r10, u->r11, u->r12, u->r13, u->r14, u->r15, u->rip, u->eflags};
	memcpy(to, all, sizeof all);
}

static void stack_end(int pid, uint64_t sp, uint64_t *lo, uint64_t *hi)
{
	char path[64], line[4400];
	snprintf(path, sizeof path, "/proc/%d/maps", pid);
	FILE *f = fopen(path, "r");
	*lo = *hi = 0;
	unsigned long long a, b;
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "%llx-%llx", &a, &b) == 2 && strstr(line, " rw") && sp + 65536 >= a && sp < b && b > sp) {
			*lo = a, *hi = b;
			break;
		}
	if (f)
		fclose(f);
}

static void put_stack(int pid, int tid, uint64_t sp, size_t most)
{
	uint64_t lo, hi, from = (sp - 128) & ~7ull;
	stack_end(pid, sp, &lo, &hi);
	if (from < lo)
		from = lo;
	uint64_t end = hi && hi - from < most ? hi : from + most;
	put_memory(CRASH_SEC_STACK, pid, tid, from, end);
	if (hi && hi > end)
		put_memory(CRASH_SEC_STACK, pid, tid, hi - CRASH_FAR > end ? hi - CRASH_FAR : end, hi);
}

static void put_file(uint32_t type, int pid, const char *name)
{
	char path[64], *p = malloc(4 << 20);
	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	int fd = open(path, O_RDONLY);
	size_t n = 0;
	ssize_t k;
	while ((k = read(fd, p + n, (4 << 20) - n)) > 0)
		n += (size_t)k;
	close(fd);
	put(type, 0, 0, p, n);
	free(p);
}

static void record(int pid, int tid, const siginfo_t *si, const char *file)
{
	struct user_regs_struct u;
	struct crash_head h = {.magic = CRASH_MAGIC, .layout = CRASH_LAYOUT, .pid = pid, .tid = tid, .slot = UINT32_MAX};
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	h.time_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	char cpath[64];
	snprintf(cpath, sizeof cpath, "/proc/%d/task/%d/comm", pid, tid);
	FILE *cf = fopen(cpath, "r");
	if (cf) {
		size_t k = fread(h.comm, 1, sizeof h.comm - 1, cf);
		if (k && h.comm[k - 1] == 0x0a)
			h.comm[k - 1] = 0;
		fclose(cf);
	}
	h.signo = si->si_signo;
	h.si_code = si->si_code;
	if (si->si_code > 0)
		h.si_addr = (uint64_t)si->_sifields._sigfault.si_addr;
	else
		h.si_pid = si->_sifields._kill.si_pid;
	ptrace(PTRACE_GETREGS, tid, 0, &u);
	regs_of(h.regs, &u);
	if (h.signo == SIGSEGV && h.si_addr == u.rip) {
		h.trapno = 14, h.err = 0x14, h.cr2 = u.rip;
	}
	out = fopen(file, "w");
	if (!out)
		die(file);
	fwrite(&h, sizeof h, 1, out);
	put(CRASH_SEC_SIGINFO, tid, 0, si, sizeof *si);
	put_stack(pid, tid, u.rsp, CRASH_STACK);
	uint64_t lo, hi, main_hi = 0;
	stack_end(pid, u.rsp, &lo, &hi);
	char mpath[64], line[4400];
	snprintf(mpath, sizeof mpath, "/proc/%d/maps", pid);
	FILE *mf = fopen(mpath, "r");
	unsigned long long ma, mb;
	while (mf && fgets(line, sizeof line, mf))
		if (strstr(line, "[stack]") && sscanf(line, "%llx-%llx", &ma, &mb) == 2)
			main_hi = mb;
	if (mf)
		fclose(mf);
	if (pid == tid && main_hi != hi) /* on an alternate stack: the end of the thread's own */
		put_memory(CRASH_SEC_STACK, pid, tid, main_hi - CRASH_FAR, main_hi);
	put_memory(CRASH_SEC_CODE, pid, tid, u.rip - 64, u.rip + 64);
	put_file(CRASH_SEC_MAPS, pid, "maps");
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/task", pid);
	DIR *d = opendir(path);
	struct dirent *e;
	while (d && (e = readdir(d))) {
		int t = atoi(e->d_name), st;
		if (t <= 0 || t == tid)
			continue;
		struct crash_thread ct = {.tid = t};
		if (ptrace(PTRACE_INTERRUPT, t, 0, 0) == 0)
			waitpid(t, &st, __WALL);
		if (ptrace(PTRACE_GETREGS, t, 0, &u) == 0) {
			ct.flags = 1;
			regs_of(ct.regs, &u);
		}
		put(CRASH_SEC_THREAD, t, 0, &ct, sizeof ct);
		if (ct.flags)
			put_stack(pid, t, u.rsp, CRASH_OTHER_STACK);
	}
	if (d)
		closedir(d);
	h.done = 1;
	rewind(out);
	fwrite(&h, sizeof h, 1, out);
	fclose(out);
}

static int show(const char *file)
{
	int fd = open(file, O_RDONLY);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0)
		die(file);
	char *p = malloc((size_t)st.st_size);
	if (read(fd, p, (size_t)st.st_size) != st.st_size)
		die(file);
	const char *why;
	struct timespec a, b;
	clock_gettime(CLOCK_MONOTONIC, &a);
	struct crash_report_opts opts = {.source = getenv("REMORA_CRASH_SOURCE") != NULL, .debug_dir = getenv("DEBUG_DIR")};
	struct report *r = crash_report_make_with(p, (size_t)st.st_size, &opts, &why);
	clock_gettime(CLOCK_MONOTONIC, &b);
	if (!r) {
		fprintf(stderr, "%s: %s\n", file, why);
		return 1;
	}
	if (bare) {
		for (size_t i = 0; i < r->threads[0].n; i++) {
			const struct report_frame *f = &r->threads[0].frames[i];
			if (f->scanned)
				break;
			printf("%s\t%s\t%u\t%u\t0x%llx\t%s\n", f->signal ? "<signal handler called>" : f->function ? f->function
			                                                                                           : "??",
			       f->file ? f->file : "", f->line,
			       f->repeated, f->inlined ? 0ull : (unsigned long long)f->ip, f->module ? f->module : "");
		}
	} else {
		printf("%s\n%s\nfingerprint %s, %s, unwind %s, %s\n", r->title, r->text, r->fingerprint, r->language, r->unwind,
		       r->complete ? "complete" : "cut off");
	}
	fprintf(stderr, "%.2f ms\n", (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6);
	report_free(r);
	free(p);
	return 0;
}

static bool fatal(int sig)
{
	return sig == SIGSEGV || sig == SIGBUS || sig == SIGILL || sig == SIGFPE || sig == SIGABRT || sig == SIGTRAP || sig == SIGSYS;
}

int main(int argc, char **argv)
{
	double after = 0;
	bool handled = getenv("PASS_HANDLED") != NULL; /* signals that the program catches are delivered */
	if (argc == 3 && strcmp(argv[1], "-r") == 0)
		return show(argv[2]);
	if (argc == 3 && strcmp(argv[1], "-f") == 0) {
		bare = true;
		return show(argv[2]);
	}
	if (argc > 4 && strcmp(argv[1], "-p") == 0) {
		after = atof(argv[2]);
		argv += 2, argc -= 2;
	}
	if (argc < 3) {
		fprintf(stderr, "usage: make_record [-p SECONDS] FILE PROGRAM [ARGUMENT...] | -r FILE | -f FILE\n");
		return 2;
	}
	int pid = fork();
	if (pid == 0) {
		raise(SIGSTOP);
		execvp(argv[2], argv + 2);
		die(argv[2]);
	}
	int st;
	waitpid(pid, &st, WUNTRACED);
	if (ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL | PTRACE_O_TRACEEXEC) != 0)
		die("ptrace");
	kill(pid, SIGCONT);
	struct timespec start, now;
	clock_gettime(CLOCK_MONOTONIC, &start);
	bool interrupted = false;
	for (;;) {
		int tid = waitpid(-1, &st, __WALL | (after > 0 ? WNOHANG : 0));
		if (tid < 0)
			return 1;
		if (tid == 0) {
			clock_gettime(CLOCK_MONOTONIC, &now);
			if (!interrupted && (double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9 > after) {
				ptrace(PTRACE_INTERRUPT, pid, 0, 0);
				interrupted = true;
			}
			usleep(1000);
			continue;
		}
		if (WIFEXITED(st) || WIFSIGNALED(st)) {
			if (tid == pid) {
				fprintf(stderr, "it ended: %x\n", st);
				return 1;
			}
			continue;
		}
		int sig = WSTOPSIG(st), event = st >> 16;
		if (interrupted && tid == pid) {
			siginfo_t si = {.si_signo = SIGABRT, .si_code = SI_USER};
			record(pid, pid, &si, argv[1]);
			kill(pid, SIGKILL);
			return 0;
		}
		siginfo_t si;
		if (event == 0 && fatal(sig) && ptrace(PTRACE_GETSIGINFO, tid, 0, &si) == 0) {
			if (!handled || sig != SIGSEGV || si.si_code <= 0) {
				record(pid, tid, &si, argv[1]);
				kill(pid, SIGKILL);
				return 0;
			}
			handled = false;
		}
		if (event == PTRACE_EVENT_STOP && (sig == SIGSTOP || sig == SIGTSTP))
			ptrace(PTRACE_LISTEN, tid, 0, 0);
		ptrace(PTRACE_CONT, tid, 0, event ? 0 : sig == SIGCONT ? 0
		                                                       : sig);
	}
}
