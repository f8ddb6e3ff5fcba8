#include "exporters/errors/stream.h"
#include <stdlib.h>

#define KEEP_HEAD (16 * 1024) /* of a block that is too long */
#define REPLAY_MOST 64        /* lines of a block that was none, looked at once more */
#define DEPTH_MOST 4

static bool reserve(struct stream *s, uint32_t more)
{
	if (more <= s->cap - s->n)
		return true;
	uint32_t cap = s->cap ? s->cap : 512;
	while (cap - s->n < more)
		cap *= 2;
	char *p = realloc(s->text, cap);
	if (!p)
		return false;
	s->text = p;
	s->cap = cap;
	return true;
}

/* The first n bytes go, which lie before the line under way. */
static void cut(struct stream *s, uint32_t n)
{
	if (n)
		memmove(s->text, s->text + n, s->n - n);
	s->n -= n;
	s->line -= n;
}

/* The first line of a text goes; its bytes with the end. */
static uint32_t cut_first(struct slice *s)
{
	const char *end = memchr(s->p, '\n', s->n);
	uint32_t k = end ? (uint32_t)(end + 1 - s->p) : s->n;
	*s = (struct slice){s->p + k, s->n - k};
	return k;
}

static struct slice without_end(const char *p, uint32_t n)
{
	if (n && p[n - 1] == '\n')
		n--;
	if (n && p[n - 1] == '\r')
		n--;
	return (struct slice){p, n};
}

/* The middle of a block that has grown too long, by whole lines. */
static void shorten(struct stream *s)
{
	char *from = memchr(s->text + KEEP_HEAD, '\n', s->line - KEEP_HEAD);
	if (!from)
		return;
	uint32_t a = (uint32_t)(from + 1 - s->text), want = a + KEEP_HEAD;
	char *to = want < s->line ? memchr(s->text + want, '\n', s->line - want) : NULL;
	if (!to)
		return;
	memmove(s->text + a, to + 1, (size_t)(s->text + s->n - (to + 1)));
	s->n = s->line -= (uint32_t)(to + 1 - s->text) - a;
}

/* ---- blocks ---- */

static void finish_line(struct stream *s, const struct stream_events *ev, void *ctx);

static void forget(struct stream *s)
{
	s->kind = NULL;
	s->n = s->line = 0;
}

static void add_line(struct stream *s, const char *p, uint32_t n, const struct stream_events *ev, void *ctx)
{
	if (!reserve(s, n))
		return;
	memcpy(s->text + s->n, p, n);
	s->n += n;
	finish_line(s, ev, ctx);
}

/* What looked like a block's first line was none: its other lines may begin one. */
static void replay(struct stream *s, struct slice block, uint32_t lines, const struct stream_events *ev, void *ctx)
{
	bool joined = s->joined;
	cut_first(&block);
	if (lines > REPLAY_MOST || s->depth == DEPTH_MOST)
		return;
	s->depth++;
	while (block.n) {
		const char *p = block.p;
		uint32_t k = cut_first(&block);
		s->joined = true;
		add_line(s, p, k, ev, ctx);
	}
	s->depth--;
	s->joined = joined;
}

/* The block is complete. What is in text behind it, its caller has put aside; afterwards there may be another one. */
static void end_block(struct stream *s, const struct stream_events *ev, void *ctx)
{
	struct found f = {s->kind, {s->text, s->line}, s->inside, NULL, FATE_UNCERTAIN};
	uint32_t lines = s->scan.lines;
	char *text = malloc(f.text.n + 1);
	if (text)
		memcpy(text, f.text.p, f.text.n);
	f.text.p = text;
	forget(s);
	if (!text)
		return;
	f.report = error_make(f.kind, f.text, f.begun_inside, &f.fate);
	if (f.report) {
		if (ev->found)
			ev->found(ctx, &f);
		else
			report_free(f.report);
	} else {
		replay(s, f.text, lines, ev, ctx);
	}
	free(text);
}

static bool begin(struct stream *s, const struct stream_events *ev, void *ctx)
{
	struct slice prev = without_end(s->text, s->line), line = without_end(s->text + s->line, s->n - s->line);
	if (!s->line)
		prev.p = NULL;
	for (int i = 0; error_kinds[i]; i++) {
		enum begins b = error_kinds[i]->begins(prev, line);
		if (b == BEGINS_NOT)
			continue;
		s->kind = error_kinds[i];
		s->scan = (struct scan){.joined = true};
		s->inside = false;
		if (b == BEGINS_BEFORE && prev.p) {
			s->kind->belongs(&s->scan, prev);
		} else {
			s->inside = s->joined && !s->merged && s->line;
			if (s->line && ev->line)
				ev->line(ctx, prev);
			cut(s, s->line);
		}
		if (ev->begun)
			ev->begun(ctx);
		return true;
	}
	return false;
}

/* The line that begins at s->line has come to its end. Afterwards s->line == s->n. */
static void finish_line(struct stream *s, const struct stream_events *ev, void *ctx)
{
	if (s->kind) {
		s->scan.joined = s->joined;
		enum belongs b = s->kind->belongs(&s->scan, without_end(s->text + s->line, s->n - s->line));
		if (b != LINE_OUT) {
			s->line = s->n;
			if (b == LINE_LAST)
				end_block(s, ev, ctx);
			else if (s->line > STREAM_BLOCK_MOST)
				shorten(s);
			return;
		}
		uint32_t n = s->n - s->line;
		char *line = malloc(n + 1);
		if (line)
			memcpy(line, s->text + s->line, n);
		end_block(s, ev, ctx);
		if (line)
			add_line(s, line, n, ev, ctx);
		free(line);
		return;
	}
	if (begin(s, ev, ctx)) {
		enum belongs b = s->kind->belongs(&s->scan, without_end(s->text + s->line, s->n - s->line));
		s->line = s->n;
		if (b == LINE_LAST)
			end_block(s, ev, ctx);
		return;
	}
	if (s->line && ev->line)
		ev->line(ctx, without_end(s->text, s->line));
	cut(s, s->line);
	s->line = s->n; /* the last line, for what begins with the one before */
}

void stream_add(struct stream *s, struct slice bytes, bool merged, const struct stream_events *ev, void *ctx)
{
	bool first = true; /* a line that begins with the record is joined to none */
	while (bytes.n) {
		const char *end = memchr(bytes.p, '\n', bytes.n);
		uint32_t k = end ? (uint32_t)(end + 1 - bytes.p) : bytes.n;
		if (!s->whole) {
			s->joined = !first;
			s->merged = merged;
		}
		uint32_t have = s->n - s->line, keep = k;
		if (have + keep > STREAM_LINE_MOST)
			keep = have < STREAM_LINE_MOST ? STREAM_LINE_MOST - have : 0;
		if (!reserve(s, keep + 1)) {
			stream_free(s);
			return;
		}
		memcpy(s->text + s->n, bytes.p, keep);
		s->n += keep;
		s->whole += k;
		if (end) {
			if (keep < k)
				s->text[s->n++] = '\n';
			s->whole = 0;
			finish_line(s, ev, ctx);
		}
		bytes.p += k;
		bytes.n -= k;
		first = false;
	}
	if (!s->kind && s->cap > 16384 && s->n < 4096) {
		char *p = realloc(s->text, 4096);
		if (p) {
			s->text = p;
			s->cap = 4096;
		}
	}
}

void stream_close(struct stream *s, const struct stream_events *ev, void *ctx)
{
	if (s->n > s->line) { /* without its end, but all there is */
		if (!reserve(s, 1))
			return;
		s->text[s->n++] = '\n';
		s->whole = 0;
		finish_line(s, ev, ctx);
	}
	while (s->kind) /* what was none leaves fewer lines */
		end_block(s, ev, ctx);
}

void stream_free(struct stream *s)
{
	free(s->text);
	*s = (struct stream){0};
}
