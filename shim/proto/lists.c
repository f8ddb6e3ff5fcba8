/* tracestate and baggage: lists that we pass on in heads of our own, so only well-formed members leave here. */
#include "proto/scan.h"
#include "proto/tracecontext.h"

#define TRACESTATE_MEMBERS 32
#define TRACESTATE_LONG 128 /* members above this go first when there is no room */
#define BAGGAGE_MEMBERS 64

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The next comma-separated member, trimmed. The remainder keeps its meaning in *p, e. */
static bool next_member(const char **p, const char *e, struct slice *m)
{
	if (*p == e)
		return false;
	const char *c = memchr(*p, ',', (size_t)(e - *p)), *b = *p, *end = c ? c : e;
	*p = c ? c + 1 : e;
	while (b < end && blank(*b))
		b++;
	while (end > b && blank(end[-1]))
		end--;
	*m = (struct slice){b, (uint32_t)(end - b)};
	return true;
}

static bool key_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '*' || c == '/';
}

/* Length of a valid member's key, else 0. */
static uint32_t tracestate_key(struct slice m)
{
	uint32_t n = 0;
	while (n < m.n && (key_char(m.p[n]) || (n && m.p[n] == '@')))
		n++;
	if (n == 0 || n > 256 || !key_char(*m.p) || *m.p == '_' || *m.p == '-' || *m.p == '*' || *m.p == '/')
		return 0;
	if (n + 1 >= m.n || m.p[n] != '=' || m.n - n - 1 > 256)
		return 0;
	for (uint32_t i = n + 1; i < m.n; i++)
		if (m.p[i] < 0x20 || m.p[i] > 0x7e || m.p[i] == '=' || m.p[i] == ',')
			return 0;
	return n;
}

static size_t join_cost(const struct slice *m, unsigned n)
{
	size_t sum = 0, kept = 0;
	for (unsigned i = 0; i < n; i++)
		if (m[i].n) {
			sum += m[i].n;
			kept++;
		}
	return kept ? sum + kept - 1 : 0;
}

size_t tracestate_join(const struct slice *fields, unsigned n, char *out, size_t cap)
{
	struct slice m[TRACESTATE_MEMBERS], one;
	uint32_t key[TRACESTATE_MEMBERS];
	unsigned members = 0;
	for (unsigned i = 0; i < n; i++) {
		if (fields[i].n == 0)
			continue;
		const char *p = fields[i].p, *e = p + fields[i].n;
		while (members < TRACESTATE_MEMBERS && next_member(&p, e, &one)) {
			uint32_t k = tracestate_key(one);
			bool again = false; /* a key may stand once: the leftmost is the latest */
			for (unsigned j = 0; j < members && k; j++)
				again |= key[j] == k && memcmp(m[j].p, one.p, k) == 0;
			if (k == 0 || again)
				continue;
			key[members] = k;
			m[members++] = one;
		}
	}

	size_t need = join_cost(m, members);
	for (unsigned i = members; need > cap && i-- > 0;)
		if (m[i].n > TRACESTATE_LONG) {
			m[i].n = 0;
			need = join_cost(m, members);
		}
	for (unsigned i = members; need > cap && i-- > 0;) {
		m[i].n = 0;
		need = join_cost(m, members);
	}

	size_t o = 0;
	for (unsigned i = 0; i < members; i++) {
		if (m[i].n == 0)
			continue;
		if (o)
			out[o++] = ',';
		memcpy(out + o, m[i].p, m[i].n);
		o += m[i].n;
	}
	return o;
}

/* token OWS "=" and then printable ASCII: values are percent-encoded. */
static bool baggage_member(struct slice m)
{
	uint32_t n = 0;
	while (n < m.n && is_tchar(m.p[n]))
		n++;
	uint32_t eq = n;
	while (eq < m.n && (m.p[eq] == ' ' || m.p[eq] == '\t'))
		eq++;
	if (n == 0 || eq == m.n || m.p[eq] != '=')
		return false;
	for (uint32_t i = eq + 1; i < m.n; i++)
		if ((m.p[i] < 0x20 && m.p[i] != '\t') || m.p[i] > 0x7e || m.p[i] == '"' || m.p[i] == '\\')
			return false;
	return true;
}

size_t baggage_join(const struct slice *fields, unsigned n, char *out, size_t cap)
{
	struct slice m;
	size_t o = 0;
	unsigned members = 0;
	for (unsigned i = 0; i < n; i++) {
		if (fields[i].n == 0)
			continue;
		const char *p = fields[i].p, *e = p + fields[i].n;
		while (next_member(&p, e, &m)) {
			if (!baggage_member(m))
				continue;
			if (members == BAGGAGE_MEMBERS || o + (o > 0) + m.n > cap)
				return o;
			if (o)
				out[o++] = ',';
			memcpy(out + o, m.p, m.n);
			o += m.n;
			members++;
		}
	}
	return o;
}
