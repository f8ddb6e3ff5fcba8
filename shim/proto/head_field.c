#include "proto/head_field.h"
#include "proto/redact.h"

/* Lines follow the request line until an empty one, which a whole head has. */
struct slice head_field(const struct http1_head *h, struct slice name)
{
	const char *end = h->method_raw.p + h->len;
	for (const char *p = memchr(h->method_raw.p, '\n', h->len); p && ++p < end && *p != '\r' && *p != '\n';) {
		const char *nl = memchr(p, '\n', (size_t)(end - p)), *colon = memchr(p, ':', (size_t)(nl ? nl - p : 0));
		if (!nl)
			break;
		if (colon && slice_same((struct slice){p, (uint32_t)(colon - p)}, name))
			return slice_trim((struct slice){colon + 1, (uint32_t)(nl - colon - 1)});
		p = nl;
	}
	return (struct slice){NULL, 0};
}

bool head_field_is_credential(struct slice name)
{
	static const struct slice bad[] = {
		SLICE("authorization"), SLICE("proxy-authorization"), SLICE("cookie"), SLICE("x-api-key"), SLICE("x-auth-token"),
		SLICE("x-csrf-token"), SLICE("x-amz-security-token")};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (slice_same(name, bad[i]))
			return true;
	return false;
}

bool header_name_ok(struct slice s)
{
	for (uint32_t i = 0; i < s.n; i++)
		if (s.p[i] <= 0x20 || s.p[i] > 0x7e || s.p[i] == ':')
			return false;
	return s.n && s.n <= HEADER_NAME_MOST;
}

bool header_names_parse(struct header_names *l, const char *text, struct slice *bad)
{
	struct slice rest = {text, text ? (uint32_t)strlen(text) : 0};
	bool good = true;
	l->n = 0;
	while (rest.n) {
		struct slice s = slice_trim(slice_next(&rest, ','));
		if (!s.n)
			continue;
		if (l->n < HEADERS_MOST && header_name_ok(s) && !head_field_is_credential(s)) {
			l->name[l->n++] = s;
		} else {
			*bad = s;
			good = false;
		}
	}
	return good;
}

size_t header_names_write(const struct header_names *l, const struct http1_head *h, char *out, size_t cap)
{
	size_t n = 0;
	for (unsigned i = 0; i < l->n; i++) {
		struct slice name = l->name[i], value = head_field(h, name);
		if (!value.p || name.n + 3 + value.n > cap - n)
			continue;
		for (uint32_t k = 0; k < name.n; k++)
			out[n++] = ascii_lower(name.p[k]);
		out[n++] = ':';
		out[n++] = ' ';
		size_t from = n, room = cap - n - 1;
		if (memmem(value.p, value.n, "://", 3)) { /* a Referer's query may hold a secret */
			n += redact_url(value, out + n, room);
		} else {
			memcpy(out + n, value.p, value.n);
			n += value.n;
		}
		for (; from < n; from++) /* a folded value has line ends inside */
			if (out[from] == '\n' || out[from] == '\r')
				out[from] = ' ';
		out[n++] = '\n';
	}
	return n;
}
