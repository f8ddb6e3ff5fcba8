/*
 * What a process said before a signal ended it, from its crash file: the language's own name for what happened goes
 * before the signal's. Whoever else reads the same text (it is in the arena too) leaves it to the file: errors.c.
 */
#include "exporters/errors/errors.h"
#include "exporters/errors/stream.h"
#include <signal.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)
#define NEAR_NS (5 * SECOND) /* between it and the crash, or between its lines */
#define OTHERS 32            /* threads' changes that are looked at */

struct listening {
	struct report *crash, *said;
	uint64_t heard_ns;
	bool other; /* a thread that did not crash */
};

static bool is(const struct report *r, const char *language)
{
	return r->language && strcmp(r->language, language) == 0;
}

bool errors_of_crash(const struct report *text)
{
	return text->by_signal || is(text, "rust"); /* a panic may abort */
}

static bool fits(const struct listening *l, const struct report *text)
{
	const struct crash_head *h = l->crash->head;
	if (!errors_of_crash(text) || l->heard_ns + NEAR_NS < l->crash->time_ns)
		return false;
	return text->by_signal || (!l->other && (h->end_signo ? h->end_signo : h->signo) == SIGABRT);
}

static void found(void *ctx, const struct found *f)
{
	struct listening *l = ctx;
	if (!fits(l, f->report)) {
		report_free(f->report);
		return;
	}
	report_free(l->said);
	l->said = f->report;
}

static const struct stream_events events = {.found = found};

static bool next(const struct report *r, size_t *at, struct crash_words *w, const char **bytes)
{
	if (r->n_words - *at < sizeof *w)
		return false;
	memcpy(w, (const char *)r->words + *at, sizeof *w);
	*at += sizeof *w;
	*bytes = (const char *)r->words + *at;
	if (w->n > r->n_words - *at)
		return false;
	*at += (w->n + 7) & ~(size_t)7;
	if (*at > r->n_words)
		*at = r->n_words;
	return true;
}

static struct report *listen_to(struct report *crash, int32_t tid)
{
	struct listening l = {.crash = crash, .other = tid != crash->tid};
	struct stream s = {0};
	struct crash_words w;
	const char *bytes;
	for (size_t at = 0; next(crash, &at, &w, &bytes);) {
		if (w.tid != tid)
			continue;
		if (w.time_ns > l.heard_ns + NEAR_NS)
			stream_close(&s, &events, &l);
		l.heard_ns = w.time_ns;
		stream_add(&s, (struct slice){bytes, w.n}, true, &events, &l);
	}
	stream_close(&s, &events, &l);
	stream_free(&s);
	return l.said;
}

/* Frames of its own, beside the native ones. */
static bool is_second(const struct report *text)
{
	return is(text, "python") || is(text, "java") || is(text, "javascript") || is(text, "ruby");
}

void errors_absorb(struct report *crash, struct report *text)
{
	const struct report_exception *x = &text->exceptions[0];
	if (crash->n_exceptions && x->n && is_second(text)) {
		size_t n = crash->n_exceptions + text->n_exceptions;
		struct report_exception *all = report_alloc(crash, n * sizeof *all);
		if (all) {
			memcpy(all, crash->exceptions, crash->n_exceptions * sizeof *all);
			memcpy(all + crash->n_exceptions, text->exceptions, text->n_exceptions * sizeof *all);
			crash->exceptions = all;
			crash->n_exceptions = n;
		}
	}
	if (crash->n_exceptions && !is(text, "python") && !is(text, "java") && !is(text, "ruby")) {
		struct report_exception *c = &crash->exceptions[0];
		bool overflow = strcmp(x->type, "stack overflow") == 0, second = crash->n_exceptions > 1;
		if (!is(text, "c") && !overflow && !second)
			c->type = x->type;
		if (x->message && !second && (!is(text, "c") || !crash->abort_msg))
			c->message = x->message;
		if (!is(text, "c"))
			crash->language = text->language;
	}
	if (!crash->abort_msg)
		crash->abort_msg = text->text;
	if (is(text, "java"))
		crash->hs_err_path = text->description;
	const char *title = is(text, "javascript") && x->n ? text->title : NULL;
	report_absorb(crash, text);
	if (!crash->n_exceptions)
		return;
	report_name(crash);
	if (title) { /* the interpreter's own frames are the same every time */
		crash->title = title;
		crash->fingerprint[0] = 0;
	}
}

void errors_last_words(struct report *crash)
{
	struct crash_words w;
	const char *bytes;
	struct report *text = crash->words && crash->head ? listen_to(crash, crash->tid) : NULL;
	int32_t last = crash->tid;
	/* Another thread may have said it: what takes the process down prints from where it likes. */
	unsigned others = 0;
	for (size_t at = 0; !text && crash->words && crash->head && others < OTHERS && next(crash, &at, &w, &bytes);)
		if (w.tid != crash->tid && w.tid != last && w.time_ns + NEAR_NS >= crash->time_ns) {
			text = listen_to(crash, last = w.tid);
			others++;
		}
	if (text)
		errors_absorb(crash, text);
	errors_hs_err(crash);
}
