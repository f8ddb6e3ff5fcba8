/* Feeds text to lines.c and writes down its events; every hold must come back once. */
#ifndef LINES_SAMPLE_H
#define LINES_SAMPLE_H

#include "exporters/buf.h"
#include "exporters/cloudwatch/lines.h"
#include <stdlib.h>

struct lines_sample {
	struct lines *lines;
	struct buf log; /* each event, '|' behind it; '!' before one with an error, '~' before one that was cut */
	int held;       /* holds that are out */
	unsigned events;
	bool dead;
	uint64_t now;
	bool sound; /* events reached only holds that are alive, in order */
};

__attribute__((unused)) static void sample_unref(void *ctx, struct hold *h)
{
	struct lines_sample *s = ctx;
	if (--h->refs)
		return;
	s->held--;
	free(h);
}

__attribute__((unused)) static void sample_event(void *ctx, const struct line_event *e)
{
	struct lines_sample *s = ctx;
	s->events++;
	if (e->cut)
		buf_add(&s->log, "~", 1);
	if (e->error)
		buf_add(&s->log, "!", 1);
	buf_add(&s->log, e->text.p, e->text.n);
	buf_add(&s->log, "|", 1);
	s->sound = s->sound && e->first && e->last && e->end <= e->last->len;
	uint32_t before = 0;
	for (struct hold *h = e->first, *next; h; h = next) {
		next = h == e->last ? NULL : h->next;
		s->sound = s->sound && h->slot > before && h->refs > 0;
		before = h->slot;
		sample_unref(s, h);
	}
}

__attribute__((unused)) static bool sample_alive(void *ctx, const void *arena, int32_t pid)
{
	(void)arena;
	(void)pid;
	return !((struct lines_sample *)ctx)->dead;
}

__attribute__((unused)) static void sample_begin(struct lines_sample *s)
{
	*s = (struct lines_sample){.now = 1, .sound = true};
	s->lines = lines_new(&(struct lines_events){sample_event, sample_unref, sample_alive, s});
}

__attribute__((unused)) static void sample_add(struct lines_sample *s, int fd, const char *p, size_t n, bool merged, bool gap)
{
	static uint32_t slots;
	struct hold *h = calloc(1, sizeof *h);
	*h = (struct hold){.refs = 1, .slot = ++slots, .len = (uint32_t)n};
	s->held++;
	struct lines_in in = {
		.arena = s,
		.pid = 7,
		.fd = fd,
		.text = {p, (uint32_t)n},
		.merged = merged,
		.gap = gap,
		.meta.time_ns = s->now,
		.hold = h,
		.now = s->now,
	};
	lines_add(s->lines, &in);
	sample_unref(s, h);
}

#endif
