/* Which frames are the application's, which one is to blame, and by what a crash is known again. */
#include "exporters/crash/report_priv.h"
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#define KNOWN_BY 5 /* frames */
#define CYCLE 8

static bool begins(const char *s, const char *with)
{
	return strncmp(s, with, strlen(with)) == 0;
}

static bool begins_any(const char *s, const char *const *list)
{
	for (; *list; list++)
		if (begins(s, *list))
			return true;
	return false;
}

static bool is_any(const char *s, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(s, *list) == 0)
			return true;
	return false;
}

bool frame_is_noise(const struct report_frame *f)
{
	static const char *const names[] = {
		"abort",
		"raise",
		"__GI_raise",
		"__GI_abort",
		"gsignal",
		"__pthread_kill_implementation",
		"__pthread_kill_internal",
		"pthread_kill",
		"__GI___pthread_kill",
		"pthread_kill@@GLIBC_2.34",
		"__libc_message",
		"malloc_printerr",
		"__fortify_fail",
		"__GI___fortify_fail",
		"__stack_chk_fail",
		"__chk_fail",
		"__GI___chk_fail",
		"__assert_fail",
		"__assert_fail_base",
		"__GI___assert_fail",
		"__assert_perror_fail",
		"std::terminate",
		"__cxxabiv1::__terminate",
		"__cxa_throw",
		"__cxa_rethrow",
		"__cxa_bad_cast",
		"__cxa_pure_virtual",
		"__gxx_personality_v0",
		"_Unwind_RaiseException",
		"_Unwind_Resume",
		"__cxxabiv1::__cxa_throw",
		"__gnu_cxx::__verbose_terminate_handler",
		"__cxa_call_unexpected",
		"__libc_start_main",
		"__libc_start_main_impl",
		"__libc_start_call_main",
		"_start",
		"start_thread",
		"clone",
		"clone3",
		"__clone3",
		"__GI___clone3",
		"__clone",
		"rust_panic",
		"rust_begin_unwind",
		"__rust_start_panic",
		"syscall",
		"kill",
		NULL,
	};
	static const char *const starts[] = {"std::", "core::", "alloc::", "__rust", "__gnu_cxx::", "__cxxabiv1::", "__asan", "__ubsan", "__tsan",
	                                     "__interceptor_", "__sanitizer", NULL};
	return f->signal || (f->function && (is_any(f->function, names) || begins_any(f->function, starts)));
}

bool frame_in_app(const struct report_frame *f)
{
	static const char *const libs[] = {
		"libc.so",
		"libc-2.",
		"ld-linux",
		"ld-2.",
		"ld-musl",
		"libpthread",
		"libm.so",
		"libdl.so",
		"librt.so",
		"libstdc++",
		"libgcc_s",
		"libc++",
		"libasan",
		"libtsan",
		"libubsan",
		"liblsan",
		"libjvm",
		"libjli",
		"libjava",
		"libpython",
		"python",
		"node",
		"libnode",
		"java",
		"ruby",
		"libruby",
		"perl",
		"libperl",
		"php",
		"libphp",
		"libunwind",
		"libremora",
		"libsystemd",
		"libffi",
		"[",
		"libzip.so",
		"libnio",
		"libnet.so",
		"libjimage",
		"_ctypes.",
		"libuv",
		"libv8",
		"libgo.so",
		NULL,
	};
	static const char *const dirs[] = {"/rustc/", "/usr/include/c++/", "library/core/", "library/std/", "library/alloc/", NULL};
	if (f->signal || frame_is_noise(f))
		return false;
	if (!f->module)
		return false;
	const char *base = strrchr(f->module, '/');
	if (begins_any(base ? base + 1 : f->module, libs))
		return false;
	return !(f->file && begins_any(f->file, dirs));
}

const struct report_frame *report_culprit(const struct report *r)
{
	const struct report_frame *quiet = NULL, *f = r->n_exceptions ? r->exceptions[0].frames : NULL;
	size_t n = f ? r->exceptions[0].n : 0;
	for (size_t i = 0; i < n; i++) {
		if (f[i].scanned && i > 0 && !quiet)
			quiet = &f[0];
		if (f[i].scanned)
			break;
		if (f[i].in_app)
			return &f[i];
		if (!quiet && !frame_is_noise(&f[i]))
			quiet = &f[i];
	}
	return quiet ? quiet : n ? f
	                         : NULL;
}

static bool same(const struct report_frame *a, const struct report_frame *b)
{
	if (a->signal != b->signal || a->scanned != b->scanned || a->inlined != b->inlined)
		return false;
	if (a->function && b->function)
		return strcmp(a->function, b->function) == 0;
	return a->function == b->function && a->ip == b->ip;
}

/* How often the n frames at f are followed by their like. */
static size_t again(const struct report_frame *f, size_t n, size_t cycle)
{
	size_t k = 0;
	while (k + cycle < n && same(&f[k], &f[k + cycle]))
		k++;
	return k / cycle;
}

size_t report_fold(struct report_frame *f, size_t n, size_t gap, size_t left_out)
{
	size_t out = 0;
	for (size_t i = 0; i < n;) {
		size_t cycle = 1, times = 0;
		for (; cycle <= CYCLE; cycle++)
			if ((times = again(f + i, n - i, cycle)) >= REPORT_FOLD)
				break;
		if (cycle > CYCLE) {
			if (out != i)
				f[out] = f[i];
			out++;
			i++;
			continue;
		}
		bool over_gap = gap && i < gap && i + (times + 1) * cycle >= gap;
		for (size_t k = 0; k < cycle; k++) {
			f[out] = f[i + k];
			f[out++].repeated = (uint32_t)(times + (over_gap ? left_out / cycle : 0));
		}
		i += (times + 1) * cycle;
	}
	return out;
}

/* Frames that follow each other in a cycle count once: how deep a recursion went does not matter. */
static bool in_cycle(const struct report_frame **seen, size_t n, const struct report_frame *f)
{
	for (size_t i = 0; i < n; i++)
		if (same(seen[i], f))
			return true;
	return false;
}

void report_fingerprint(struct report *r)
{
	static const char hex[] = "0123456789abcdef";
	const struct report_frame *seen[KNOWN_BY], *f = r->n_exceptions ? r->exceptions[0].frames : NULL;
	size_t n = f ? r->exceptions[0].n : 0, known = 0;
	for (int strict = 1; strict >= 0 && known == 0; strict--)
		for (size_t i = 0; i < n && known < KNOWN_BY; i++)
			if (!f[i].scanned && (strict ? f[i].in_app : !frame_is_noise(&f[i])) && !in_cycle(seen, known, &f[i]))
				seen[known++] = &f[i];
	unsigned char sum[20];
	char place[96];
	struct buf b = {0};
	const char *type = r->n_exceptions && r->exceptions[0].type ? r->exceptions[0].type : "";
	buf_add(&b, type, strlen(type) + 1);
	for (size_t i = 0; i < known; i++) {
		const char *s = seen[i]->function;
		if (!s) {
			snprintf(place, sizeof place, "%s+0x%llx", seen[i]->build_id ? seen[i]->build_id : "?", (unsigned long long)seen[i]->offset);
			s = seen[i]->module ? place : "?";
		}
		buf_add(&b, s, strlen(s) + 1);
	}
	if (!b.failed)
		SHA1((const unsigned char *)b.p, b.n, sum);
	bool failed = b.failed;
	buf_free(&b);
	if (failed)
		return;
	for (int i = 0; i < 20; i++) {
		r->fingerprint[2 * i] = hex[sum[i] >> 4];
		r->fingerprint[2 * i + 1] = hex[sum[i] & 15];
	}
	r->fingerprint[40] = 0;
}
