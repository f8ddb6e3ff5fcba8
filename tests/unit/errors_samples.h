/* What real programs printed (tests/unit/errors/), and a stream that collects what is found in it. */
#ifndef REMORA_ERRORS_SAMPLES_H
#define REMORA_ERRORS_SAMPLES_H

#include "exporters/errors/stream.h"
#include "unit.h"

/* SAMPLE(name): the bytes of tests/unit/errors/name.txt as sample_name(). */
#define SAMPLE(name)                                                                                          \
	__asm__(".section .rodata\n.global bytes_" #name "\nbytes_" #name ":\n.incbin \"tests/unit/errors/" #name \
	        ".txt\"\nend_" #name ":\n.byte 0\n.global end_" #name "\n.previous\n");                           \
	extern const char bytes_##name[], end_##name[];                                                           \
	__attribute__((unused)) static struct slice sample_##name(void)                                           \
	{                                                                                                         \
		return (struct slice){bytes_##name, (uint32_t)(end_##name - bytes_##name)};                           \
	}

#define FOUND_MOST 8
struct collected {
	unsigned n, lines, begun;
	struct report *r[FOUND_MOST];
	enum error_fate fate[FOUND_MOST];
};

static void on_begun(void *ctx)
{
	((struct collected *)ctx)->begun++;
}

static void on_found(void *ctx, const struct found *f)
{
	struct collected *c = ctx;
	if (c->n == FOUND_MOST) {
		report_free(f->report);
		return;
	}
	c->r[c->n] = f->report;
	c->fate[c->n++] = f->fate;
}

static void on_line(void *ctx, struct slice l)
{
	(void)l;
	((struct collected *)ctx)->lines++;
}

static const struct stream_events collect = {on_begun, on_found, on_line};

/* As the interpreter writes it: one record for each line. `piece` 0: lines; else bytes. */
__attribute__((unused)) static struct collected parse(struct slice text, uint32_t piece)
{
	struct collected c = {0};
	struct stream s = {0};
	while (text.n) {
		const char *end = memchr(text.p, '\n', text.n);
		uint32_t k = piece ? piece : end ? (uint32_t)(end + 1 - text.p)
		                                 : text.n;
		if (k > text.n)
			k = text.n;
		struct unit_guarded g = unit_at_end(text.p, k);
		stream_add(&s, (struct slice){g.p, k}, false, &collect, &c);
		unit_unguard(g);
		text.p += k;
		text.n -= k;
	}
	stream_close(&s, &collect, &c);
	stream_free(&s);
	return c;
}

__attribute__((unused)) static struct report *only(struct slice text, uint32_t piece, enum error_fate fate)
{
	struct collected c = parse(text, piece);
	EQ_INT(c.n, 1);
	EQ_INT(c.fate[0], fate);
	return c.r[0];
}

__attribute__((unused)) static void is_frame_at(const struct report_frame *f, const char *function, const char *file, unsigned line)
{
	if (function)
		EQ_STR(f->function, function);
	EQ_STR(f->file, file);
	EQ_INT(f->line, line);
}

#endif
