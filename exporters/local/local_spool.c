/* Names of spooled items. Names are strict: what does not read back as it was written is nobody's item. */
#include "exporters/local/local.h"
#include <stdio.h>
#include <string.h>

bool uuid_ok(const char *s, size_t n)
{
	if (n != 36)
		return false;
	for (size_t i = 0; i < n; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		bool digit = (s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f');
		if (dash ? s[i] != '-' : !digit)
			return false;
	}
	return true;
}

static bool number(const char **p, unsigned base, uint64_t *out)
{
	uint64_t v = 0;
	const char *from = *p;
	for (;; ++*p) {
		char c = **p;
		unsigned d = c >= '0' && c <= '9' ? (unsigned)(c - '0') : base == 16 && c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
		                                                                                             : 99;
		if (d >= base)
			break;
		if (v > (UINT64_MAX - d) / base)
			return false;
		v = v * base + d;
	}
	*out = v;
	return *p > from;
}

bool spool_name_read(const char *name, struct spool_name *out)
{
	char again[LOCAL_NAME];
	const char *p = name;
	uint64_t pid;
	*out = (struct spool_name){0};
	if (!number(&p, 10, &out->ms) || *p++ != '-' || strlen(p) < 36 || !uuid_ok(p, 36))
		return false;
	memcpy(out->uuid, p, 36);
	p += 36;
	if (*p++ != '.' || !number(&p, 16, &out->key) || *p++ != '.' || !number(&p, 10, &pid) || pid > INT32_MAX ||
	    *p++ != '-' || !number(&p, 10, &out->start))
		return false;
	out->pid = (int32_t)pid;
	out->parked = strcmp(p, ".parked") == 0;
	spool_name_write(out, again);
	return strcmp(again, name) == 0;
}

void spool_name_write(const struct spool_name *s, char out[LOCAL_NAME])
{
	snprintf(out, LOCAL_NAME, "%013llu-%s.%016llx.%d-%llu.%s", (unsigned long long)s->ms, s->uuid,
	         (unsigned long long)s->key, s->pid, (unsigned long long)s->start, s->parked ? "parked" : "json");
}

unsigned local_spool_trim(struct local *l, uint64_t now_ms)
{
	size_t n, items = 0;
	unsigned lost = 0;
	char **names = local_names(l, LOCAL_SPOOL, &n);
	struct spool_name s;
	for (size_t i = 0; names && i < n; i++)
		items += spool_name_read(names[i], &s);
	for (size_t i = 0; names && i < n; i++) {
		const uint64_t age = LOCAL_SPOOL_DAYS * UINT64_C(86400000);
		if (!spool_name_read(names[i], &s))
			continue;
		if (items <= LOCAL_SPOOL_MOST && !(now_ms > s.ms && now_ms - s.ms > age))
			continue;
		if (local_remove(l, LOCAL_SPOOL, names[i]))
			lost += !s.parked;
		items--;
	}
	local_names_free(names);
	return lost;
}
