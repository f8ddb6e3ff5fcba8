/* A record with any fields and strings, made of fuzzed bytes: 8 of fields, then strings that 0xfe bytes divide. */
#ifndef REMORA_FUZZ_RECORD_H
#define REMORA_FUZZ_RECORD_H

#include "fuzz.h"
#include "span/arena.h"

#define FUZZ_RECORD_HEAD 8

struct fuzz_record {
	char slot[SLOT_SIZE] __attribute__((aligned(8)));
	char *held[REC_TAG_MAX];
	struct rec_view view;
};

/* fields: FUZZ_RECORD_HEAD bytes; strings from p to e. fuzz_record_free afterwards. */
static inline void fuzz_record_make(struct fuzz_record *f, const uint8_t *fields, const uint8_t *p, const uint8_t *e)
{
	memset(f, 0, sizeof *f);
	struct span_rec *r = (struct span_rec *)f->slot;
	memset(r->trace_id, 1, 16);
	memset(r->span_id, 1, 8);
	r->kind = fields[0];
	r->method = fields[1];
	r->status = (uint16_t)(fields[2] * 4);
	r->error = fields[3] & 15;
	r->bits = fields[4];
	r->peer.family = fields[5] & 7;
	r->peer.port = fields[6];
	r->minor = fields[7] & 7;
	r->req_size = fields[7] >> 3;
	f->view.rec = r;
	for (int tag = 1; tag < REC_TAG_MAX && p < e; tag++) {
		const uint8_t *end = memchr(p, 0xfe, (size_t)(e - p));
		size_t n = (size_t)((end ? end : e) - p);
		f->held[tag] = exact(p, n);
		rec_set(&f->view, tag, (struct slice){f->held[tag], (uint32_t)n});
		p += n + 1;
	}
}

static inline void fuzz_record_free(struct fuzz_record *f)
{
	for (int tag = 1; tag < REC_TAG_MAX; tag++)
		free(f->held[tag]);
}

#endif
