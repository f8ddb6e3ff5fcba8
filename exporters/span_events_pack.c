/*
 * An event's structure as NUL-terminated strings, each with a letter for what it is: x an exception, m its message,
 * s how many were skipped before it; f a frame's label, p its path, n its line, t frames left out; c the directory,
 * l a module. Cut anywhere it is still whole strings but the last.
 */
#include "exporters/buf.h"
#include "exporters/span_events.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAUSE_MESSAGE 1024

struct pack {
	struct buf *b;
	size_t end;
};

static bool put(struct pack *p, char tag, const char *s, size_t most)
{
	size_t n = s ? strnlen(s, most) : 0;
	if (p->b->failed || p->b->n + n + 2 > p->end)
		return false;
	buf_add(p->b, &tag, 1);
	if (n)
		buf_add(p->b, s, n);
	buf_add(p->b, "", 1);
	return true;
}

static bool put_number(struct pack *p, char tag, uint32_t v)
{
	char text[12];
	snprintf(text, sizeof text, "%u", v);
	return !v || put(p, tag, text, sizeof text);
}

static void put_frames(struct pack *p, const struct span_raised *r, uint32_t most)
{
	uint32_t i = 0;
	for (; i < r->n_frames && i < most; i++) {
		const struct span_frame *f = &r->frames[i];
		size_t before = p->b->n;
		if (!put(p, 'f', f->label, 512) || !put(p, 'p', f->path, 512) || !put_number(p, 'n', f->line)) {
			p->b->n = before; /* no half of a frame; the few bytes that are kept back hold the count */
			break;
		}
	}
	p->end += 16;
	put_number(p, 't', r->frames_left + r->n_frames - i);
	p->end -= 16;
}

void span_event_pack(struct buf *b, const struct span_event *e, size_t most)
{
	struct pack p = {b, b->n + most - 16};
	if (e->cwd)
		put(&p, 'c', e->cwd, 1024);
	for (uint32_t i = 0; i < e->n_raised; i++) {
		const struct span_raised *r = &e->raised[i];
		if (i && !put(&p, 'x', r->type, 256))
			return;
		if (i) /* the first one's are elsewhere */
			put(&p, 'm', r->message, CAUSE_MESSAGE);
		put_number(&p, 's', r->skipped);
		put_frames(&p, r, i ? SPAN_FRAMES_MOST / 2 : SPAN_FRAMES_MOST);
	}
	for (uint32_t i = 0; i < e->n_paths; i++)
		if (!put(&p, 'l', e->paths[i], 512))
			return;
}

struct frame_read {
	const char *label, *path;
	uint32_t line;
	bool any;
};

static void end_frame(struct span_raised *r, struct frame_read *f)
{
	if (f->any)
		span_event_frame(r, f->label, f->path, f->line);
	*f = (struct frame_read){0};
}

static const char *or_null(const char *s)
{
	return *s ? s : NULL;
}

void span_event_unpack(const struct span_events *s, struct span_event *e, const char *bytes, size_t n)
{
	struct span_raised *r = &e->raised[e->n_raised - 1];
	struct frame_read f = {0};
	const char *type = NULL; /* an exception is made when its message is read */
	for (const char *p = bytes; p < bytes + n; p += strlen(p) + 1) {
		const char *val = *p ? p + 1 : p;
		uint32_t number = (uint32_t)strtoul(val, NULL, 10);
		if (*p == 'f' || *p == 'x' || *p == 't')
			end_frame(r, &f);
		if (type && *p != 'm')
			continue;
		switch (*p) {
		case 'x':
			type = val;
			break;
		case 'm':
			if (type) {
				struct span_raised *next = span_event_raised(s, e, type, val);
				if (!next)
					return;
				r = next;
			}
			type = NULL;
			break;
		case 's':
			r->skipped = number;
			break;
		case 'f':
			f = (struct frame_read){.label = or_null(val), .any = true};
			break;
		case 'p':
			f.path = or_null(val);
			break;
		case 'n':
			f.line = number;
			break;
		case 't':
			r->frames_left += number;
			break;
		case 'c':
			span_event_cwd(e, val);
			break;
		case 'l':
			end_frame(r, &f);
			span_event_path(e, val);
			break;
		}
	}
	end_frame(r, &f);
}
