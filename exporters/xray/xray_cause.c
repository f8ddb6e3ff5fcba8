/*
 * Why a request failed: the chain of exceptions that it raised or died of, each leading to the one that caused it; or
 * what became of its connection; or what a database said.
 */
#include "exporters/xray/xray_priv.h"

#define FRAMES_FEW 10    /* of an exception that stay where all do not fit */
#define MESSAGE_FEW 1000 /* characters, where frames do not fit either */

enum { KIND_SERVER = 2 }; /* of OTLP */

static struct slice text_slice(const char *s)
{
	return (struct slice){s, s ? (uint32_t)strlen(s) : 0};
}

static void put_frames(struct doc *d, const struct span_raised *e)
{
	uint32_t n = e->n_frames, most = d->room >= ROOM_NO_FRAMES ? 0 : d->room >= ROOM_FEW_FRAMES ? FRAMES_FEW
	                                                                                            : n;
	if (most > n)
		most = n;
	uint32_t left = e->frames_left + (n - most);
	if (left)
		j_int(&d->j, "truncated", left);
	if (!most)
		return;
	j_open(&d->j, "stack", '[');
	for (uint32_t i = 0; i < most; i++) {
		const struct span_frame *f = &e->frames[i];
		j_open(&d->j, NULL, '{');
		if (f->path)
			j_text(&d->j, "path", text_slice(f->path));
		if (f->line)
			j_int(&d->j, "line", f->line);
		if (f->label)
			j_text(&d->j, "label", text_slice(f->label));
		j_close(&d->j, '}');
	}
	j_close(&d->j, ']');
}

/* Each exception has an id; the span's, turned round, is as unique. */
static void put_id(struct doc *d, const char *key, uint32_t i)
{
	uint8_t id[8];
	for (int k = 0; k < 8; k++)
		id[k] = (uint8_t)~d->s->view->rec->span_id[k];
	id[7] ^= (uint8_t)i;
	j_id(&d->j, key, id);
}

static void put_raised(struct doc *d, const struct span_event *e, uint32_t i)
{
	const struct span_raised *r = &e->raised[i];
	j_open(&d->j, NULL, '{');
	put_id(d, "id", i);
	put_text(d, "type", text_slice(r->type), UINT32_MAX);
	put_text(d, "message", text_slice(r->message), d->room >= ROOM_NO_FRAMES ? MESSAGE_FEW : UINT32_MAX);
	j_bool(&d->j, "remote", false);
	if (r->skipped)
		j_int(&d->j, "skipped", r->skipped);
	if (i + 1 < e->n_raised)
		put_id(d, "cause", i + 1);
	put_frames(d, r);
	j_close(&d->j, '}');
}

/* A call's failure came from the other side, as far as it is not this process that ended. */
static bool is_remote(const struct doc *d)
{
	uint8_t error = d->s->view->rec->error;
	return d->s->attrs->kind != KIND_SERVER && error != ERR_CRASHED && error != ERR_PROCESS_KILLED;
}

static void put_failure(struct doc *d)
{
	struct slice word = span_text(d, "error.type"), host = span_text(d, "server.address");
	struct buf b = {0};
	j_open(&d->j, NULL, '{');
	put_id(d, "id", 0);
	put_text(d, "type", word, UINT32_MAX);
	buf_add(&b, d->s->attrs->name, d->s->attrs->name_len);
	if (host.n && d->s->attrs->kind != KIND_SERVER) {
		buf_add(&b, " ", 1);
		buf_add(&b, host.p, host.n);
	}
	buf_add(&b, ": ", 2);
	buf_add(&b, word.p, word.n);
	if (!b.failed)
		put_text(d, "message", (struct slice){b.p, (uint32_t)b.n}, UINT32_MAX);
	buf_free(&b);
	j_bool(&d->j, "remote", is_remote(d));
	j_close(&d->j, '}');
}

void xray_put_cause(struct doc *d)
{
	const struct span_event *e = d->s->event;
	if (d->s->in_progress || (!e && !has_failed(d)))
		return;
	j_open(&d->j, "cause", '{');
	if (e && e->cwd)
		j_text(&d->j, "working_directory", text_slice(e->cwd));
	if (e && e->n_paths && d->room < ROOM_FEW_FRAMES) {
		j_open(&d->j, "paths", '[');
		for (uint32_t i = 0; i < e->n_paths; i++)
			j_text(&d->j, NULL, text_slice(e->paths[i]));
		j_close(&d->j, ']');
	}
	j_open(&d->j, "exceptions", '[');
	for (uint32_t i = 0; e && i < e->n_raised; i++)
		put_raised(d, e, i);
	if (!e)
		put_failure(d);
	j_close(&d->j, ']');
	j_close(&d->j, '}');
}
