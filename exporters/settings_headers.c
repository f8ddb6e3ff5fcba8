/* OTEL_EXPORTER_OTLP_HEADERS. Values are secrets: messages name the variable and at most the header's name. */
#include "exporters/buf.h"
#include "exporters/log.h"
#include "exporters/settings.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HEADERS_MOST 64

static bool is_token(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)p[i];
		if (c <= 0x20 || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c))
			return false;
	}
	return n > 0;
}

static int hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
	                                    : c >= 'A' && c <= 'F'   ? c - 'A' + 10
	                                                             : -1;
}

/* In place; the result's length, or -1: a bad escape, or a character that would end the header. */
static ptrdiff_t percent_decode(char *p, size_t n)
{
	size_t o = 0;
	for (size_t i = 0; i < n; i++) {
		char c = p[i];
		if (c == '%') {
			if (n - i < 3 || hex(p[i + 1]) < 0 || hex(p[i + 2]) < 0)
				return -1;
			c = (char)(hex(p[i + 1]) << 4 | hex(p[i + 2]));
			i += 2;
		}
		if (((unsigned char)c < 0x20 && c != '\t') || c == 0x7f)
			return -1;
		p[o++] = c;
	}
	return (ptrdiff_t)o;
}

bool settings_header_add(char ***headers, const char *name, const char *value, size_t n)
{
	char **h = *headers;
	size_t len = strlen(name), count = 0, at;
	while (h && h[count])
		count++;
	for (at = 0; at < count; at++)
		if (strncasecmp(h[at], name, len) == 0 && h[at][len] == ':')
			break;
	char *line = malloc(len + n + 4);
	if (!line)
		return false;
	/* curl leaves a header without a value out, unless it is written with a semicolon. */
	int used = n ? snprintf(line, len + 3, "%s: ", name) : snprintf(line, len + 2, "%s;", name);
	memcpy(line + used, value, n);
	line[(size_t)used + n] = 0;
	if (at < count) {
		free(h[at]);
		h[at] = line;
		return true;
	}
	h = count < HEADERS_MOST ? realloc(h, (count + 2) * sizeof *h) : NULL;
	if (!h) {
		free(line);
		return false;
	}
	h[count] = line;
	h[count + 1] = NULL;
	*headers = h;
	return true;
}

static void trim(char **p, char **e)
{
	while (*p < *e && (**p == ' ' || **p == '\t'))
		++*p;
	while (*e > *p && ((*e)[-1] == ' ' || (*e)[-1] == '\t'))
		--*e;
}

static const char *add(char ***out, char *p, char *e)
{
	/* What remora says itself, or what would change the framing. */
	static const char ours[] = "content-type|content-length|content-encoding|transfer-encoding|connection|expect";
	char *eq = memchr(p, '=', (size_t)(e - p)), *name_end, *value;
	if (!eq)
		return "a member without '='";
	value = eq + 1;
	name_end = eq;
	trim(&p, &name_end);
	trim(&value, &e);
	if (!is_token(p, (size_t)(name_end - p)))
		return "a name that is no header name";
	if (settings_choice(p, (size_t)(name_end - p), ours) >= 0)
		return "a header that cannot be set";
	ptrdiff_t n = percent_decode(value, (size_t)(e - value));
	if (n < 0)
		return "a value with a bad %-escape or a control character";
	*name_end = 0;
	return settings_header_add(out, p, value, (size_t)n) ? NULL : "too many members";
}

char **settings_headers(const char *value, const char *var)
{
	char **out = NULL, *copy = value ? strdup(value) : NULL, *p = copy;
	while (p) {
		char *next = strchr(p, ','), *e = next ? next : p + strlen(p), *from = p;
		trim(&from, &e);
		const char *wrong = from < e ? add(&out, from, e) : NULL;
		if (wrong)
			log_once(log_bit(var), "%s has %s; that header is not sent", var, wrong);
		p = next ? next + 1 : NULL;
	}
	if (copy) {
		memset(copy, 0, strlen(copy));
		free(copy);
	}
	return out;
}

void settings_headers_free(char **headers)
{
	for (char **h = headers; h && *h; h++)
		free(*h);
	free(headers);
}
