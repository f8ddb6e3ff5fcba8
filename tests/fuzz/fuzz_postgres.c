/*
 * Both directions interleaved: a letter (C: of the client, else of the server), four bytes of length, that many bytes.
 * Whatever the bytes: a call takes some or gives an event, slices lie inside the input or the state, no more commands are
 * answered than were told, what a text left in the state is gone, and pieces of three bytes give the same events.
 */
#include "fuzz.h"
#include "proto/postgres.h"

static uint64_t hash; /* of all events */

static void mix(const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		hash = (hash ^ ((const uint8_t *)p)[i]) * UINT64_C(0x100000001b3);
}

static void slice(struct slice s, const char *p, size_t n, const struct postgres *state)
{
	const char *st = (const char *)state;
	mix(&s.n, sizeof s.n);
	if (!s.n)
		return;
	HOLDS(s.n <= DB_TEXT_MAX || s.n <= sizeof state->client_buf);
	HOLDS((s.p >= p && s.p + s.n <= p + n) || (s.p >= st && s.p + s.n <= st + sizeof *state));
	mix(s.p, s.n);
}

static void run(const uint8_t *d, size_t size, size_t piece)
{
	struct postgres s = {0};
	unsigned commands = 0, answers = 0;
	hash = 0;
	while (size > 5) {
		bool client = d[0] == 'C';
		size_t n = (size_t)d[1] << 24 | (size_t)d[2] << 16 | (size_t)d[3] << 8 | d[4];
		d += 5, size -= 5;
		n = n < size ? n : size;
		for (size_t at = 0; at < n;) {
			size_t m = n - at < piece ? n - at : piece;
			char *p = exact(d + at, m);
			for (size_t done = 0;;) {
				struct db_event e;
				size_t r = (client ? postgres_client : postgres_server)(&s, p + done, m - done, &e);
				HOLDS(r <= m - done && e.what <= DB_OVER && (e.what != DB_NOTHING || r == m - done));
				if (e.what == DB_OVER) { /* where it was noticed may depend on the pieces; that it was may not */
					mix(&e.what, sizeof e.what);
					free(p);
					return;
				}
				if (e.what == DB_NOTHING)
					break;
				mix(&e.what, sizeof e.what);
				mix(&e.key, sizeof e.key);
				commands += e.what == DB_COMMAND;
				answers += e.what == DB_ANSWER;
				HOLDS(answers <= commands && (e.what != DB_REPEAT || answers < commands));
				HOLDS(e.what != DB_FAILED || (answers < commands && e.status.n == 5));
				slice(e.text, p, m, &s);
				slice(e.status, p, m, &s);
				slice(e.user, p, m, &s);
				slice(e.database, p, m, &s);
				slice(e.version, p, m, &s);
				done += r;
			}
			free(p);
			at += m;
		}
		if (postgres_between(&s))
			for (size_t i = 0; i < sizeof s.client_buf; i++)
				HOLDS(s.client_buf[i] == 0);
		d += n, size -= n;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 1 << 16)
		return 0;
	run(data, size, SIZE_MAX);
	uint64_t whole = hash;
	run(data, size, 3);
	HOLDS(whole == hash);
	postgres_begins((const char *)data, size);
	return 0;
}
