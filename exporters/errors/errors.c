/*
 * Which thread said what, and whether anybody caught it.
 *
 * Python, Ruby and glibc print what ends the process just as a program prints what it caught. Such an error is held
 * until the process ends (it was uncaught), or lives on for a while or goes on talking (it was logged).
 */
#include "exporters/errors/errors.h"
#include "base/clock.h"
#include "base/sys.h"
#include "exporters/errors/stream.h"
#include "exporters/log.h"
#include <stdlib.h>

#define MS UINT64_C(1000000)
#define QUIET_NS (300 * MS)  /* a block with nothing behind it is complete */
#define LOOK_NS (200 * MS)   /* is the process still there? */
#define HOLD_NS (3000 * MS)  /* one that lives so long did not die of it */
#define TALK 4               /* lines that a dying process may still say */
#define TALKERS 512          /* threads */
#define TWICE_NS (5000 * MS) /* the same error of the same thread */
#define SEEN 32
#define JOIN_NS (5000 * MS)  /* between a process's last words and its crash file */
#define PANIC_NS (1000 * MS) /* the same, where the process lives on as a rule */
#define JOINS 32

struct talker { /* a thread that writes text */
	const struct arena *arena;
	int32_t pid, tid, fd;
	uint64_t start; /* of the process; 0 unknown */
	uint64_t used_ns;
	struct stream stream;
	struct origin { /* of the block */
		uint64_t time_ns;
		uint8_t trace_id[16], span_id[8];
		char *process; /* description, owned */
		uint32_t process_n;
	} origin;
	const struct rec_view *view; /* during errors_take */
	struct report *held;
	uint64_t held_until_ns;
	uint32_t said; /* lines since */
	bool can_die;  /* it can be judged whether the process lives */
};

struct errors {
	bool logged, crashes;
	errors_sink sink;
	void *ctx;
	struct talker **talkers;
	uint32_t n, cap, last;
	uint64_t now;
	struct seen {
		int32_t pid, tid;
		uint64_t hash, time_ns;
	} seen[SEEN];
	uint32_t seen_at;
	struct last_words { /* for a crash file to come */
		struct report *r;
		uint64_t until_ns;
	} words[JOINS];
	uint32_t n_words;
	struct crashed { /* what is told by a crash file, which may not have come yet */
		int32_t pid, tid;
		uint64_t time_ns;
	} crashed[JOINS];
	uint32_t crashed_at;
};

struct errors *errors_new(bool logged, bool crashes, errors_sink sink, void *ctx)
{
	struct errors *e = calloc(1, sizeof *e);
	if (e)
		*e = (struct errors){.logged = logged, .crashes = crashes, .sink = sink, .ctx = ctx};
	return e;
}

/* ---- telling ---- */

static uint64_t hash(uint64_t h, const char *s)
{
	for (; s && *s; s++)
		h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
	return (h ^ 0xff) * UINT64_C(0x100000001b3);
}

static uint64_t hash_of(const struct report *r)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < r->n_exceptions; i++) {
		const struct report_exception *x = &r->exceptions[i];
		h = hash(hash(h, x->type), x->message);
		for (size_t k = 0; k < x->n; k++)
			h = (hash(hash(h, x->frames[k].function), x->frames[k].file) ^ x->frames[k].line) * UINT64_C(0x100000001b3);
	}
	return h;
}

/* Logged and then raised to the end, or printed by two handlers. */
static bool told_before(struct errors *e, const struct report *r)
{
	uint64_t h = hash_of(r);
	for (uint32_t i = 0; i < SEEN; i++) {
		struct seen *s = &e->seen[i];
		if (s->hash == h && s->pid == r->pid && s->tid == r->tid && r->time_ns - s->time_ns < TWICE_NS)
			return true;
	}
	e->seen[e->seen_at++ % SEEN] = (struct seen){r->pid, r->tid, h, r->time_ns};
	return false;
}

static bool is_near(uint64_t a, uint64_t b)
{
	return a > b ? a - b < 2 * JOIN_NS : b - a < 2 * JOIN_NS;
}

static bool has_crashed(const struct errors *e, int32_t pid, int32_t tid, uint64_t time_ns)
{
	for (uint32_t i = 0; i < JOINS; i++) {
		const struct crashed *c = &e->crashed[i];
		if (c->pid == pid && (!tid || c->tid == tid) && is_near(c->time_ns, time_ns))
			return true;
	}
	return false;
}

static bool is_told_by_file(const struct errors *e, const struct report *r)
{
	return errors_of_crash(r) && has_crashed(e, r->pid, r->by_signal ? 0 : r->tid, r->time_ns);
}

static bool wait_for_file(struct errors *e, struct report *r)
{
	if (e->n_words == JOINS)
		return false;
	e->words[e->n_words++] = (struct last_words){r, e->now + (r->by_signal ? JOIN_NS : PANIC_NS)};
	return true;
}

static void words_due(struct errors *e, bool all)
{
	for (uint32_t i = e->n_words; i-- > 0;) {
		struct last_words w = e->words[i];
		if (!all && e->now < w.until_ns)
			continue;
		e->words[i] = e->words[--e->n_words];
		e->sink(e->ctx, w.r);
	}
}

static void tell(struct errors *e, struct report *r, enum error_fate fate)
{
	r->handled = fate == FATE_LOGGED;
	r->fatal = fate == FATE_PROCESS;
	if (r->fatal && !r->level)
		r->level = "critical";
	if (!r->level || r->handled)
		r->level = "error";
	if ((r->handled && !e->logged) || told_before(e, r) || is_told_by_file(e, r))
		report_free(r);
	else if (r->handled || !errors_of_crash(r) || !e->crashes || !wait_for_file(e, r))
		e->sink(e->ctx, r);
}

static void release(struct errors *e, struct talker *t, enum error_fate fate)
{
	struct report *r = t->held;
	t->held = NULL;
	if (!r)
		return;
	if (fate == FATE_PROCESS && !r->by_signal && has_crashed(e, t->pid, 0, r->time_ns))
		fate = FATE_LOGGED; /* that ended it, not this */
	tell(e, r, fate);
}

/* ---- blocks ---- */

struct call {
	struct errors *e;
	struct talker *t;
};

static void begun(void *ctx)
{
	struct talker *t = ((struct call *)ctx)->t;
	const struct rec_view *v = t->view;
	free(t->origin.process);
	t->origin = (struct origin){.time_ns = real_ns()};
	if (!v)
		return;
	t->origin.time_ns = v->rec->start_ns;
	memcpy(t->origin.trace_id, v->rec->trace_id, 16);
	memcpy(t->origin.span_id, v->rec->span_id, 8);
	char *blob = v->proc ? malloc(8192) : NULL;
	if (blob)
		t->origin.process_n = arena_proc_blob(t->arena, v->proc, blob, 8192);
	t->origin.process = blob;
}

static void describe(struct report *r, const struct talker *t)
{
	const struct origin *o = &t->origin;
	r->pid = t->pid;
	r->tid = t->tid;
	r->time_ns = o->time_ns ? o->time_ns : real_ns();
	memcpy(r->trace_id, o->trace_id, 16);
	memcpy(r->span_id, o->span_id, 8);
	if (r->n_threads)
		r->threads[0].tid = t->tid;
	if (!o->process_n)
		return;
	const char *all = report_str(r, o->process, o->process_n);
	size_t n = 0;
	for (uint32_t i = 0; all && i < o->process_n; i += (uint32_t)strlen(all + i) + 1)
		n += all[i] != 0;
	const char **list = report_alloc(r, (n + 1) * sizeof *list);
	size_t k = 0;
	for (uint32_t i = 0; list && i < o->process_n && k < n; i += (uint32_t)strlen(all + i) + 1)
		if (all[i])
			list[k++] = all + i;
	r->process = list;
}

static void found(void *ctx, const struct found *f)
{
	struct call *c = ctx;
	struct talker *t = c->t;
	describe(f->report, t);
	release(c->e, t, FATE_LOGGED); /* the one before did not end it */
	if (f->fate != FATE_UNCERTAIN) {
		tell(c->e, f->report, f->fate);
		return;
	}
	t->held = f->report;
	t->held_until_ns = c->e->now + HOLD_NS;
	t->said = 0;
}

static void line(void *ctx, struct slice l)
{
	struct call *c = ctx;
	if (c->t->held && l.n && ++c->t->said > TALK)
		release(c->e, c->t, FATE_LOGGED);
}

static const struct stream_events events = {begun, found, line};

/* ---- talkers ---- */

static void forget(struct errors *e, uint32_t i)
{
	struct talker *t = e->talkers[i];
	stream_free(&t->stream);
	report_free(t->held);
	free(t->origin.process);
	free(t);
	e->talkers[i] = e->talkers[--e->n];
	e->last = 0;
}

static void close_block(struct errors *e, struct talker *t)
{
	struct call c = {e, t};
	t->view = NULL;
	stream_close(&t->stream, &events, &c);
}

static struct talker *talker_of(struct errors *e, const struct arena *a, int32_t pid, int32_t tid, int32_t fd)
{
	uint32_t oldest = 0;
	for (uint32_t k = 0; k < e->n; k++) {
		uint32_t i = e->last + k < e->n ? e->last + k : e->last + k - e->n;
		struct talker *t = e->talkers[i];
		if (t->tid == tid && t->pid == pid && t->fd == fd && t->arena == a) {
			e->last = i;
			return t;
		}
		if (t->used_ns < e->talkers[oldest]->used_ns)
			oldest = i;
	}
	if (e->n == TALKERS) {
		close_block(e, e->talkers[oldest]);
		release(e, e->talkers[oldest], FATE_LOGGED);
		forget(e, oldest);
	}
	if (e->n == e->cap) {
		uint32_t cap = e->cap ? e->cap * 2 : 16;
		struct talker **p = realloc(e->talkers, cap * sizeof *p);
		if (!p)
			return NULL;
		e->talkers = p;
		e->cap = cap;
	}
	struct talker *t = calloc(1, sizeof *t);
	if (!t)
		return NULL;
	*t = (struct talker){.arena = a, .pid = pid, .tid = tid, .fd = fd};
	e->last = e->n;
	return e->talkers[e->n++] = t;
}

/* ---- crashes ---- */

static void say_last(struct errors *e, int32_t pid)
{
	for (uint32_t i = 0; i < e->n; i++)
		if (e->talkers[i]->pid == pid) {
			close_block(e, e->talkers[i]);
			release(e, e->talkers[i], FATE_PROCESS);
		}
}

static void crashed(struct errors *e, int32_t pid, int32_t tid, uint64_t time_ns)
{
	e->crashed[e->crashed_at++ % JOINS] = (struct crashed){pid, tid, time_ns};
	say_last(e, pid);
	for (uint32_t i = e->n_words; i-- > 0;) {
		struct report *r = e->words[i].r;
		if (r->pid != pid)
			continue;
		e->words[i] = e->words[--e->n_words];
		if (is_told_by_file(e, r))
			report_free(r);
		else
			e->sink(e->ctx, r);
	}
}

void errors_said(struct errors *e, int32_t pid, int32_t tid, uint64_t time_ns, uint64_t now)
{
	e->now = now;
	crashed(e, pid, tid, time_ns);
}

/* Where the file has not what was said (it could not grow), what we have heard is as good. */
static void add_heard(struct errors *e, struct report *crash)
{
	say_last(e, crash->pid);
	for (uint32_t i = e->n_words; i-- > 0;) {
		struct last_words w = e->words[i];
		if (w.r->pid != crash->pid || !is_near(w.r->time_ns, crash->time_ns))
			continue;
		e->words[i] = e->words[--e->n_words];
		errors_absorb(crash, w.r);
	}
}

void errors_join(struct errors *e, struct report *crash)
{
	if (!crash->pid)
		return;
	if (!crash->words)
		add_heard(e, crash);
	crashed(e, crash->pid, crash->tid, crash->time_ns);
}

void errors_take(struct errors *e, const struct arena *a, const struct rec_view *v, uint64_t now)
{
	const struct span_rec *rec = v->rec;
	struct slice bytes = rec_str(v, REC_TEXT);
	struct talker *t = bytes.n ? talker_of(e, a, rec->pid, rec->tid, rec->err_no) : NULL;
	if (!t)
		return;
	/* The record is shared with whoever scribbles in it: one look, then ours alone. */
	char *own = malloc(bytes.n);
	if (!own)
		return;
	memcpy(own, bytes.p, bytes.n);
	if (v->proc) {
		if (t->start && v->proc->start && t->start != v->proc->start) { /* the number is another process's by now */
			close_block(e, t);
			release(e, t, FATE_PROCESS);
		}
		t->start = v->proc->start;
		t->can_die = v->proc->pid_ns && v->proc->pid_ns == a->pid_ns;
	}
	struct call c = {e, t};
	e->now = t->used_ns = now;
	t->view = v;
	stream_add(&t->stream, (struct slice){own, bytes.n}, rec->bits & REC_MERGED, &events, &c);
	t->view = NULL;
	free(own);
}

static bool is_gone(const struct talker *t)
{
	return t->can_die && !proc_alive(t->pid, t->start);
}

void errors_tick(struct errors *e, uint64_t now)
{
	e->now = now;
	for (uint32_t i = 0; i < e->n; i++) {
		struct talker *t = e->talkers[i];
		if (stream_in_block(&t->stream) && now >= t->used_ns + QUIET_NS)
			close_block(e, t);
		if (!t->held)
			continue;
		if (is_gone(t))
			release(e, t, FATE_PROCESS);
		else if (now >= t->held_until_ns)
			release(e, t, FATE_LOGGED);
	}
	words_due(e, false);
}

uint64_t errors_due(const struct errors *e)
{
	uint64_t due = 0;
	for (uint32_t i = 0; i < e->n; i++) {
		const struct talker *t = e->talkers[i];
		uint64_t at = 0;
		if (stream_in_block(&t->stream))
			at = t->used_ns + QUIET_NS;
		if (t->held) {
			uint64_t look = e->now + LOOK_NS < t->held_until_ns ? e->now + LOOK_NS : t->held_until_ns;
			at = at && at < look ? at : look;
		}
		if (at && (!due || at < due))
			due = at;
	}
	for (uint32_t i = 0; i < e->n_words; i++)
		if (!due || e->words[i].until_ns < due)
			due = e->words[i].until_ns;
	return due;
}

void errors_end(struct errors *e, const struct arena *a)
{
	for (uint32_t i = e->n; i-- > 0;) {
		struct talker *t = e->talkers[i];
		if (t->arena != a)
			continue;
		close_block(e, t);
		release(e, t, FATE_PROCESS);
		forget(e, i);
	}
}

void errors_stop(struct errors *e, int32_t pid)
{
	for (uint32_t i = e->n; i-- > 0;) {
		struct talker *t = e->talkers[i];
		if (t->pid != pid && !is_gone(t))
			continue;
		close_block(e, t);
		release(e, t, FATE_PROCESS);
		forget(e, i);
	}
	words_due(e, true);
}

bool errors_idle(const struct errors *e)
{
	return errors_due(e) == 0;
}

void errors_delete(struct errors *e)
{
	if (!e)
		return;
	while (e->n) {
		struct talker *t = e->talkers[e->n - 1];
		close_block(e, t);
		release(e, t, is_gone(t) ? FATE_PROCESS : FATE_LOGGED);
		forget(e, e->n - 1);
	}
	words_due(e, true);
	free(e->talkers);
	free(e);
}

/* ---- a sink ---- */

static const char *base_name(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	return slash ? slash + 1 : path ? path
	                                : "?";
}

void errors_log(const struct report *r)
{
	char trace[33] = "none";
	bool traced = false;
	for (int i = 0; i < 16; i++)
		traced |= r->trace_id[i] != 0;
	for (int i = 0; traced && i < 16; i++) {
		trace[2 * i] = "0123456789abcdef"[r->trace_id[i] >> 4];
		trace[2 * i + 1] = "0123456789abcdef"[r->trace_id[i] & 15];
	}
	trace[traced ? 32 : 4] = 0;
	const struct report_exception *x = &r->exceptions[0];
	log_info("%s %s error: %s (%s %s:%u), %zu in its chain, %zu frames, level %s, process %d thread %d, trace %s",
	         r->handled ? "logged" : r->fatal ? "fatal"
	                                          : "uncaught",
	         r->language, r->title,
	         x->n && x->frames[0].function ? x->frames[0].function : "?", x->n ? base_name(x->frames[0].file) : "?",
	         x->n ? x->frames[0].line : 0, r->n_exceptions, x->n, r->level, r->pid, r->tid, trace);
}
