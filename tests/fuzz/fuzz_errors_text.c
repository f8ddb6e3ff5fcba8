/*
 * What programs print, as lines of any kind in pieces of any size (the first bytes say how). Reports must hold together
 * whatever the bytes are, and a secret in a URL must not come through.
 */
#include "exporters/errors/errors.h"
#include "exporters/errors/stream.h"
#include "exporters/utf8.h"
#include "fuzz.h"

static void text(const char *s)
{
	HOLDS(!s || utf8_valid(s, strlen(s)));
}

static void found(void *ctx, const struct found *f)
{
	struct report *r = f->report;
	unsigned *n = ctx;
	(*n)++;
	HOLDS(r && r->source == REPORT_STDERR && strlen(r->uuid) == 36 && r->n_exceptions && r->n_exceptions <= ERROR_CHAIN_MOST);
	HOLDS(r->language && r->title && strlen(r->title) < 256 && f->text.n);
	text(r->title);
	text(r->text);
	text(r->description);
	for (size_t i = 0; i < r->n_exceptions; i++) {
		const struct report_exception *x = &r->exceptions[i];
		HOLDS(x->type && *x->type && x->n <= ERROR_FRAMES_MOST);
		text(x->type);
		text(x->message);
		for (size_t k = 0; k < x->n; k++) {
			text(x->frames[k].function);
			text(x->frames[k].file);
			text(x->frames[k].code);
			text(x->frames[k].module);
		}
	}
	report_free(r);
}

static const struct stream_events events = {.found = found};

static void file_of_a_jvm(const uint8_t *data, size_t size)
{
	struct report *r = report_new(REPORT_SIGNAL);
	char *own = exact(data, size);
	r->exceptions = report_alloc(r, sizeof *r->exceptions);
	r->exceptions[0].type = "SIGSEGV";
	r->n_exceptions = 1;
	if (errors_hs_err_take(r, (struct slice){own, (uint32_t)size}))
		text(r->hs_err);
	for (size_t i = 1; i < r->n_exceptions; i++)
		for (size_t k = 0; k < r->exceptions[i].n; k++) {
			HOLDS(r->exceptions[i].frames[k].function && r->exceptions[i].frames[k].module);
			text(r->exceptions[i].frames[k].function);
		}
	report_free(r);
	free(own);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stream s = {0};
	unsigned n = 0;
	if (size < 2 || size > 200000)
		return 0;
	uint32_t piece = data[0] ? data[0] * 4u : UINT32_MAX;
	bool merged = data[1] & 1;
	data += 2;
	size -= 2;
	file_of_a_jvm(data, size);
	while (size) {
		uint32_t k = size < piece ? (uint32_t)size : piece;
		char *own = exact(data, k);
		stream_add(&s, (struct slice){own, k}, merged, &events, &n);
		free(own);
		HOLDS(s.line <= s.n && s.n <= s.cap && s.n <= 2 * STREAM_BLOCK_MOST);
		data += k;
		size -= k;
	}
	stream_close(&s, &events, &n);
	HOLDS(!stream_in_block(&s));
	stream_free(&s);
	return 0;
}
