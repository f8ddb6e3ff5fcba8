/* A program that crashes in a loop: ten items an hour of one kind tell as much as a thousand. */
#include "exporters/local/local.h"
#include <stdio.h>
#include <string.h>

#define HOUR 3600
#define LINES 256 /* fingerprints that are remembered */
#define NAME "limits"

struct line { /* "<fingerprint> <hour's begin> <sent> <suppressed>" */
	char fingerprint[41];
	unsigned long long since, sent, suppressed;
};

static bool read_line(const char *p, const char *e, struct line *out)
{
	char text[128];
	int end = 0;
	size_t n = (size_t)(e - p);
	if (n >= sizeof text)
		return false;
	memcpy(text, p, n);
	text[n] = 0;
	return sscanf(text, "%40[0-9a-f] %19llu %9llu %9llu%n", out->fingerprint, &out->since, &out->sent, &out->suppressed,
	              &end) == 4 &&
	       (size_t)end == n;
}

static void write_line(struct buf *b, const struct line *l)
{
	char text[128];
	int n = snprintf(text, sizeof text, "%s %llu %llu %llu\n", l->fingerprint, l->since, l->sent, l->suppressed);
	buf_add(b, text, (size_t)n);
}

bool limits_admit(struct buf *text, const char *fingerprint, uint64_t now, uint32_t *suppressed)
{
	struct buf out = {0};
	struct line mine = {.since = now}, l;
	unsigned kept = 1;
	snprintf(mine.fingerprint, sizeof mine.fingerprint, "%s", fingerprint);
	for (const char *p = text->n ? text->p : "", *end = p + text->n, *e; p < end; p = e + 1) {
		e = memchr(p, '\n', (size_t)(end - p));
		if (!e)
			break;
		/* A clock that was set back must not silence anything for years. */
		if (!read_line(p, e, &l) || l.since > now)
			continue;
		if (strcmp(l.fingerprint, mine.fingerprint) == 0) {
			mine.suppressed = l.suppressed;
			if (now - l.since < HOUR)
				mine = l;
		} else if (now - l.since < HOUR && kept < LINES) {
			write_line(&out, &l);
			kept++;
		}
	}
	bool admit = mine.sent < LIMIT_PER_HOUR;
	*suppressed = 0;
	if (admit) {
		*suppressed = (uint32_t)mine.suppressed;
		mine.suppressed = 0;
		mine.sent++;
	} else if (mine.suppressed < 999999999) {
		mine.suppressed++;
	}
	write_line(&out, &mine);
	if (out.failed) {
		buf_free(&out);
		return admit;
	}
	buf_free(text);
	*text = out;
	return admit;
}

uint64_t local_suppressed(struct local *l, uint64_t now)
{
	struct buf text = {0};
	struct line one;
	uint64_t n = 0;
	if (local_read(l, LOCAL_ROOT, NAME, &text))
		for (const char *p = text.p, *end = p + text.n, *e; p < end && (e = memchr(p, '\n', (size_t)(end - p))); p = e + 1)
			if (read_line(p, e, &one) && one.since <= now)
				n += one.suppressed;
	buf_free(&text);
	return n;
}

bool local_admit(struct local *l, struct buf *fallback, const char *fingerprint, uint64_t now, uint32_t *suppressed)
{
	struct buf text = {0};
	bool locked = local_lock(l), there = locked && local_read(l, LOCAL_ROOT, NAME, &text);
	if (!there)
		text.n = 0;
	bool admit = limits_admit(locked ? &text : fallback, fingerprint, now, suppressed);
	if (locked) {
		local_write(l, LOCAL_ROOT, NAME, text.p, text.n);
		local_unlock(l);
	}
	buf_free(&text);
	return admit;
}
