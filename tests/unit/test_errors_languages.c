/* Everything but Python, as the programs printed it: node 20, Java 17, Ruby 3.1, Go 1.26, Rust 1.95, libstdc++ 12, glibc 2.36. */
#include "errors_samples.h"

SAMPLE(node_err)
SAMPLE(node_rej)
SAMPLE(node_rej2)
SAMPLE(node_str)
SAMPLE(node_tick)
SAMPLE(node_app)
SAMPLE(node_syn)
SAMPLE(node_agg)
SAMPLE(node_esm)
SAMPLE(node_logged)
SAMPLE(node_uncaught)
SAMPLE(node_uncaught18)
SAMPLE(node_heap)
SAMPLE(node_oom)
SAMPLE(java_main)
SAMPLE(java_thread)
SAMPLE(java_handled)
SAMPLE(java_supp)
SAMPLE(java_hs_err)
SAMPLE(ruby_main)
SAMPLE(ruby_bug)
SAMPLE(ruby_thread)
SAMPLE(ruby_multi)
SAMPLE(go_main)
SAMPLE(go_err)
SAMPLE(go_re)
SAMPLE(go_dead)
SAMPLE(go_nil)
SAMPLE(rust_main)
SAMPLE(rust_thread)
SAMPLE(rust_unwrap)
SAMPLE(rust_multi)
SAMPLE(rust_main_backtrace)
SAMPLE(rust_thread_backtrace)
SAMPLE(rust_unwrap_backtrace)
SAMPLE(rust_multi_backtrace)
SAMPLE(rust_full)
SAMPLE(rust_overflow)
SAMPLE(native_main)
SAMPLE(native_my)
SAMPLE(native_thread)
SAMPLE(native_noexc)
SAMPLE(native_free)
SAMPLE(native_assert)
SAMPLE(native_smash)

/* One line for each: what is first in the chain, its innermost frame, and the last of the chain. */
static const struct expect {
	const char *name;
	struct slice (*text)(void);
	enum error_fate fate;
	const char *language, *type, *message;
	unsigned chain, frames;
	const char *function, *file;
	unsigned line, column;
	const char *last_type;
} expects[] = {
#define T(name) #name, sample_##name
	{T(node_err), FATE_PROCESS, "javascript", "Error", "outer failed", 2, 3, "f", "/srv/app/err.js", 2, 51, "TypeError"},
	{T(node_rej), FATE_PROCESS, "javascript", "RangeError", "no range", 1, 8, "go", "/srv/app/rej.js", 1, 29, "RangeError"},
	{T(node_rej2), FATE_PROCESS, "javascript", "UnhandledPromiseRejection", NULL, 1, 3, "throwUnhandledRejectionsMode",
     "node:internal/process/promises", 389, 7, "UnhandledPromiseRejection"},
	{T(node_str), FATE_PROCESS, "javascript", "Error", "just text", 1, 1, "<anonymous>", "/srv/app/str.js", 1, 1, "Error"},
	{T(node_tick), FATE_PROCESS, "javascript", "TypeError", "Cannot read properties of null (reading 'x')", 1, 3,
     "Timeout.tick [as _onTimeout]", "/srv/app/tick.js", 1, 34, "TypeError"},
	{T(node_app), FATE_PROCESS, "javascript", "AppError", "multi\nline message", 1, 8, "work", "/srv/app/app.js", 2, 24, "AppError"},
	{T(node_syn), FATE_PROCESS, "javascript", "SyntaxError", "Unexpected token ';'", 1, 7, "wrapSafe", "node:internal/modules/cjs/loader",
     1464, 18, "SyntaxError"},
	{T(node_agg), FATE_PROCESS, "javascript", "AggregateError", "many", 3, 7, "Object.<anonymous>", "/srv/app/agg.js", 1, 7, "TypeError"},
	{T(node_esm), FATE_PROCESS, "javascript", "Error", "ENOENT: no such file or directory, open '/nonexistent'", 1, 7, "Object.openSync",
     "node:fs", 573, 18, "Error"},
	{T(node_logged), FATE_LOGGED, "javascript", "Error", "handled", 1, 7, "<anonymous>", "[eval]", 1, 13, "Error"},
	{T(node_uncaught), FATE_PROCESS, "javascript", "TypeError", "bad", 1, 9, "inner", "/srv/app/u.js", 1, 20, "TypeError"},
	{T(node_uncaught18), FATE_PROCESS, "javascript", "TypeError", "bad", 1, 9, "inner", "/srv/app/u.js", 1, 20, "TypeError"},
	{T(node_heap), FATE_PROCESS, "javascript", "FATAL ERROR", "Reached heap limit Allocation failed - JavaScript heap out of memory", 1, 0,
     NULL, NULL, 0, 0, "FATAL ERROR"},
	{T(node_oom), FATE_PROCESS, "javascript", "FATAL ERROR", "Fatal process OOM in Failed to reserve virtual memory for CodeRange", 1, 0,
     NULL, NULL, 0, 0, "FATAL ERROR"},
	{T(java_main), FATE_THREAD, "java", "java.lang.RuntimeException", "mid failed", 2, 2, "mid", "T.java", 3, 0,
     "java.lang.IllegalStateException"},
	{T(java_thread), FATE_THREAD, "java", "java.lang.RuntimeException", "mid failed", 2, 3, "mid", "T.java", 3, 0,
     "java.lang.IllegalStateException"},
	{T(java_handled), FATE_LOGGED, "java", "java.lang.RuntimeException", "mid failed", 2, 2, "mid", "T.java", 3, 0,
     "java.lang.IllegalStateException"},
	{T(java_supp), FATE_THREAD, "java", "java.lang.Exception", "main\nsecond line", 1, 1, "main", "T.java", 7, 0, "java.lang.Exception"},
	{T(java_hs_err), FATE_PROCESS, "java", "SIGSEGV", NULL, 1, 0, NULL, NULL, 0, 0, "SIGSEGV"},
	{T(ruby_main), FATE_UNCERTAIN, "ruby", "OrderError", "order failed", 2, 5, "rescue in handle", "/srv/app/e.rb", 8, 0, "ArgumentError"},
	{T(ruby_bug), FATE_PROCESS, "ruby", "[BUG]", "Segmentation fault at 0x00000000000076c5", 1, 4, "kill", "/srv/app/r.rb", 1, 0, "[BUG]"},
	{T(ruby_thread), FATE_THREAD, "ruby", "OrderError", "order failed", 2, 3, "rescue in handle", "/srv/app/e.rb", 8, 0, "ArgumentError"},
	{T(go_main), FATE_PROCESS, "go", "panic", "assignment to entry in nil map", 1, 2, "main.deep", "/srv/app/g.go", 4, 0, "panic"},
	{T(go_err), FATE_PROCESS, "go", "panic", "wrapped thing", 1, 1, "main.main", "/srv/app/g.go", 6, 0, "panic"},
	{T(go_re), FATE_PROCESS, "go", "panic", "again first", 2, 3, "main.main.func1", "/srv/app/g.go", 7, 0, "panic"},
	{T(go_dead), FATE_PROCESS, "go", "fatal error", "all goroutines are asleep - deadlock!", 1, 1, "main.main", "/srv/app/g.go", 8, 0,
     "fatal error"},
	{T(go_nil), FATE_PROCESS, "go", "panic", "runtime error: invalid memory address or nil pointer dereference", 1, 1, "main.main",
     "/srv/app/g.go", 9, 0, "panic"},
	{T(rust_main), FATE_THREAD, "rust", "panic", "index out of bounds: the len is 1 but the index is 7", 1, 1, NULL, "r.rs", 2, 34, "panic"},
	{T(rust_thread), FATE_THREAD, "rust", "panic", "in thread 5", 1, 1, NULL, "r.rs", 5, 86, "panic"},
	{T(rust_unwrap), FATE_THREAD, "rust", "panic", "called `Result::unwrap()` on an `Err` value: \"no \\\"such\\\" thing\"", 1, 1, NULL, "r.rs",
     6, 86, "panic"},
	{T(rust_multi), FATE_THREAD, "rust", "panic", "line one\nline two", 1, 1, NULL, "r.rs", 7, 21, "panic"},
	{T(rust_main_backtrace), FATE_THREAD, "rust", "panic", NULL, 1, 6, NULL, NULL, 0, 0, "panic"},
	{T(rust_thread_backtrace), FATE_THREAD, "rust", "panic", "in thread 5", 1, 1, "r::main::{{closure}}", "./r.rs", 5, 86, "panic"},
	{T(rust_unwrap_backtrace), FATE_THREAD, "rust", "panic", NULL, 1, 3, NULL, NULL, 0, 0, "panic"},
	{T(rust_multi_backtrace), FATE_THREAD, "rust", "panic", "line one\nline two", 1, 2, "r::main", "./r.rs", 7, 21, "panic"},
	{T(rust_full), FATE_THREAD, "rust", "panic", "in thread 5", 1, 0, "r::main::{{closure}}", "/srv/app/r.rs", 5, 86, "panic"},
	{T(rust_overflow), FATE_PROCESS, "rust", "stack overflow", NULL, 1, 0, NULL, NULL, 0, 0, "stack overflow"},
	{T(native_main), FATE_PROCESS, "c++", "std::out_of_range", "vector index 7", 1, 0, NULL, NULL, 0, 0, "std::out_of_range"},
	{T(native_my), FATE_PROCESS, "c++", "My", "", 1, 0, NULL, NULL, 0, 0, "My"},
	{T(native_thread), FATE_PROCESS, "c++", "std::runtime_error", "in thread", 1, 0, NULL, NULL, 0, 0, "std::runtime_error"},
	{T(native_noexc), FATE_PROCESS, "c++", "std::terminate", "terminate called without an active exception", 1, 0, NULL, NULL, 0, 0,
     "std::terminate"},
	{T(native_free), FATE_UNCERTAIN, "c", "double free", "free(): double free detected in tcache 2", 1, 0, NULL, NULL, 0, 0, "double free"},
	{T(native_smash), FATE_UNCERTAIN, "c", "stack smashing", "*** stack smashing detected ***: terminated", 1, 0, NULL, NULL, 0, 0,
     "stack smashing"},
	{T(native_assert), FATE_UNCERTAIN, "c", "assertion failed", "Assertion `m == \"x\"' failed.", 1, 1, "int main(int, char**)", "t.cc", 12,
     0, "assertion failed"},
};

static void check(const struct expect *x, uint32_t piece)
{
	unit_case("%s in pieces of %u", x->name, piece);
	struct report *r = only(x->text(), piece, x->fate);
	const struct report_exception *e = &r->exceptions[0];
	EQ_STR(r->language, x->language);
	EQ_STR(e->type, x->type);
	if (x->message)
		EQ_STR(e->message ? e->message : "", x->message);
	EQ_INT(r->n_exceptions, x->chain);
	EQ_STR(r->exceptions[x->chain - 1].type, x->last_type);
	if (x->frames)
		EQ_INT(e->n, x->frames);
	if (x->file) {
		is_frame_at(&e->frames[0], x->function, x->file, x->line);
		EQ_INT(e->frames[0].column, x->column);
	}
	OK(r->text && r->title && *r->title);
	report_free(r);
}

TEST(all_line_by_line)
{
	for (size_t i = 0; i < sizeof expects / sizeof *expects; i++)
		check(&expects[i], 0);
}

TEST(all_at_once)
{
	for (size_t i = 0; i < sizeof expects / sizeof *expects; i++)
		check(&expects[i], 100000);
}

TEST(all_in_any_pieces)
{
	for (size_t i = 0; i < sizeof expects / sizeof *expects; i++)
		for (uint32_t piece = 1; piece < 400; piece += piece < 20 ? 1 : 37)
			check(&expects[i], piece);
}

TEST(details)
{
	struct report *r = only(sample_node_err(), 0, FATE_PROCESS);
	EQ_STR(r->exceptions[0].frames[0].code, "function f() { try { inner(); } catch (e) { throw new Error(\"outer failed\", {cause: e}); } }");
	EQ_STR(r->exceptions[1].message, "bad thing token=REDACTED");
	OK(r->exceptions[1].frames[0].in_app && !r->exceptions[1].frames[3].in_app);
	EQ_STR(r->level, "critical");
	report_free(r);
	r = only(sample_java_main(), 0, FATE_THREAD);
	EQ_INT(r->exceptions[1].n, 5);
	EQ_STR(r->exceptions[1].frames[3].function, "mid");
	EQ_STR(r->exceptions[1].frames[4].function, "main");
	report_free(r);
	r = only(sample_java_thread(), 0, FATE_THREAD);
	EQ_STR(r->threads[0].name, "worker-1");
	EQ_STR(r->exceptions[0].frames[2].module, "java.lang.Thread");
	OK(!r->exceptions[0].frames[2].in_app && r->exceptions[0].frames[0].in_app);
	EQ_STR(r->exceptions[1].frames[0].module, "T$Inner");
	report_free(r);
	r = only(sample_java_hs_err(), 0, FATE_PROCESS);
	OK(strstr(r->description, "hs_err_pid"));
	report_free(r);
	r = only(sample_rust_main_backtrace(), 0, FATE_THREAD);
	int mine = -1;
	for (size_t i = 0; i < r->exceptions[0].n; i++)
		if (r->exceptions[0].frames[i].in_app && mine < 0)
			mine = (int)i;
	OK(mine >= 0);
	is_frame_at(&r->exceptions[0].frames[mine], "r::inner", "./r.rs", 2);
	report_free(r);
}

/* Ruby writes the second line of a message on its own: it is the message's when it came with the first. */
TEST(ruby_lines)
{
	struct report *r = only(sample_ruby_multi(), 4096, FATE_UNCERTAIN);
	EQ_STR(r->exceptions[0].message, "one\ntwo");
	is_frame_at(&r->exceptions[0].frames[0], "<main>", "/srv/app/e.rb", 16);
	report_free(r);
}

TEST(abort_words)
{
	EQ_STR(error_abort_class(SLICE("free(): invalid pointer\n")), "invalid free");
	EQ_STR(error_abort_class(SLICE("malloc(): corrupted top size")), "heap corruption");
	EQ_STR(error_abort_class(SLICE("prog: a.c:3: f: Assertion `x' failed.\n")), "assertion failed");
	OK(!error_abort_class(SLICE("freedom")));
	OK(!error_abort_class((struct slice){NULL, 0}));
}

/* A line that could begin one error is followed by another one. */
TEST(looked_at_again)
{
	struct slice text = SLICE("/srv/x.log:12\n"
	                          "Traceback (most recent call last):\n"
	                          "  File \"a.py\", line 1, in <module>\n"
	                          "ValueError: x\n");
	struct report *r = only(text, 0, FATE_UNCERTAIN);
	EQ_STR(r->exceptions[0].type, "ValueError");
	report_free(r);
}

TEST(two_after_each_other)
{
	char all[8192];
	struct slice a = sample_java_main(), b = sample_rust_thread();
	memcpy(all, a.p, a.n);
	memcpy(all + a.n, b.p, b.n);
	struct collected c = parse((struct slice){all, a.n + b.n}, 0);
	EQ_INT(c.n, 2);
	EQ_STR(c.r[0]->language, "java");
	EQ_STR(c.r[1]->language, "rust");
	report_free(c.r[0]);
	report_free(c.r[1]);
}

TEST(not_errors)
{
	const char *texts[] = {
		"panic: the word alone\n",
		"at home\n    at work (x)\n",
		"/srv/a.c:12\nwarning\n",
		"Exception in thread without quotes\n",
		"thread 'x' finished\n",
		"    at nowhere\n",
		"a.rb:1:in `f'\n",
		"terminate\n",
	};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		unit_case("%zu", i);
		EQ_INT(parse((struct slice){texts[i], (uint32_t)strlen(texts[i])}, 0).n, 0);
	}
}
