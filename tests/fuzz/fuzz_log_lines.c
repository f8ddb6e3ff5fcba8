/* Records of any text, cut anywhere: first byte the fd and flags, second the length. Every hold comes back once. */
#include "fuzz.h"
#include "../unit/lines_sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lines_sample s;
	sample_begin(&s);
	while (size >= 2) {
		uint8_t flags = data[0];
		size_t n = data[1] & 0x80 ? (size_t)(data[1] & 0x7f) * 16 : data[1];
		data += 2;
		size -= 2;
		n = n < size ? n : size;
		char *text = exact(data, n);
		sample_add(&s, 1 + (flags & 1), text, n, flags & 2, flags & 4);
		free(text);
		if (flags & 8)
			lines_flush(s.lines, flags & 16 ? 7 : 0);
		if (flags & 32)
			s.now += 400000000;
		s.dead = flags & 64;
		lines_tick(s.lines, s.now);
		data += n;
		size -= n;
	}
	HOLDS(s.sound);
	HOLDS(s.held >= 0);
	lines_end(s.lines, &s);
	HOLDS(s.sound);
	HOLDS(s.held == 0);
	lines_delete(s.lines);
	buf_free(&s.log);
	return 0;
}
