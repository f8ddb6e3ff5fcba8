/* Who the original client was, as the last proxies tell it: RFC 7239 Forwarded, else X-Forwarded-*. */
#include "proto/scan.h"
#include "proto/tracecontext.h"

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct slice trimmed(const char *p, const char *e)
{
	while (p < e && blank(*p))
		p++;
	while (e > p && blank(e[-1]))
		e--;
	return (struct slice){p, (uint32_t)(e - p)};
}

/* Values of these fields are what anybody sent: only what looks like an address passes. */
static bool is_ipv4(const char *p, const char *e)
{
	unsigned dots = 0, digits = 0;
	for (; p < e; p++) {
		if (is_digit(*p)) {
			if (++digits > 3)
				return false;
		} else if (*p == '.' && digits && dots < 3) {
			dots++;
			digits = 0;
		} else {
			return false;
		}
	}
	return dots == 3 && digits;
}

static bool is_ipv6(const char *p, const char *e)
{
	unsigned colons = 0;
	if (e - p < 2 || e - p > 45)
		return false;
	for (; p < e; p++) {
		char c = lower(*p);
		colons += c == ':';
		if (c != ':' && c != '.' && !is_digit(c) && !(c >= 'a' && c <= 'f'))
			return false;
	}
	return colons >= 2;
}

/* "192.0.2.1", "192.0.2.1:80", "[2001:db8::1]:80", "2001:db8::1"; empty for "unknown", "_hidden" and rubbish. */
static struct slice address_of(struct slice s)
{
	const struct slice none = {NULL, 0};
	if (s.n == 0)
		return none;
	const char *p = s.p, *e = s.p + s.n;
	if (*p == '[') {
		const char *close = memchr(p, ']', s.n);
		if (!close || !is_ipv6(p + 1, close))
			return none;
		return (struct slice){p + 1, (uint32_t)(close - p - 1)};
	}
	if (is_ipv6(p, e))
		return s;
	const char *colon = memchr(p, ':', s.n);
	if (colon)
		e = colon;
	return is_ipv4(p, e) ? (struct slice){p, (uint32_t)(e - p)} : none;
}

static bool word(struct slice s, const char *lit, size_t n)
{
	if (s.n != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (lower(s.p[i]) != lit[i])
			return false;
	return true;
}
#define WORD(s, lit) word(s, lit, sizeof(lit) - 1)

static struct slice scheme_of(struct slice s)
{
	if (WORD(s, "https"))
		return SLICE("https");
	if (WORD(s, "http"))
		return SLICE("http");
	return (struct slice){NULL, 0};
}

/* The first element is the client's: pairs divided by ';', values possibly quoted, up to the first comma. */
static void forwarded(struct slice f, struct slice *address, struct slice *proto)
{
	const char *p = f.p, *e = f.p + f.n;
	while (p < e && *p != ',') {
		const char *name = p;
		while (p < e && *p != '=' && *p != ';' && *p != ',')
			p++;
		if (p == e || *p != '=') {
			p += p < e && *p == ';';
			continue;
		}
		struct slice key = trimmed(name, p), value;
		p++;
		while (p < e && blank(*p))
			p++;
		const char *v = p;
		if (p < e && *p == '"') {
			v = ++p;
			while (p < e && *p != '"')
				p += *p == '\\' && p + 1 < e ? 2 : 1;
			if (p > e)
				p = e;
			value = (struct slice){v, (uint32_t)(p - v)};
			while (p < e && *p != ';' && *p != ',')
				p++;
		} else {
			while (p < e && *p != ';' && *p != ',')
				p++;
			value = trimmed(v, p);
		}
		if (WORD(key, "for") && !address->p)
			*address = address_of(value);
		else if (WORD(key, "proto") && !proto->p)
			*proto = scheme_of(value);
		p += p < e && *p == ';';
	}
}

static struct slice first_of_list(struct slice s)
{
	const char *comma = s.n ? memchr(s.p, ',', s.n) : NULL;
	return comma ? trimmed(s.p, comma) : s;
}

void client_of_forwarded(const struct http1_head *h, struct slice *address, struct slice *proto)
{
	*address = *proto = (struct slice){NULL, 0};
	if (h->forwarded.n)
		forwarded(h->forwarded, address, proto);
	if (!address->p)
		*address = address_of(first_of_list(h->x_forwarded_for));
	if (!proto->p)
		*proto = scheme_of(first_of_list(h->x_forwarded_proto));
}
