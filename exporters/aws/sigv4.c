#include "exporters/aws/sigv4.h"
#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define HASH 32

struct field { /* name in lower case, value trimmed, inner runs of blanks one blank */
	char *name, *value;
	size_t at; /* order of arrival: values of one name stay in it */
};

static void str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

static void hex(char *to, const unsigned char *p, size_t n)
{
	static const char digit[] = "0123456789abcdef";
	for (size_t i = 0; i < n; i++) {
		*to++ = digit[p[i] >> 4];
		*to++ = digit[p[i] & 15];
	}
	*to = 0;
}

static bool sha256_hex(const void *p, size_t n, char out[2 * HASH + 1])
{
	unsigned char sum[HASH];
	bool ok = EVP_Digest(p, n, sum, NULL, EVP_sha256(), NULL) == 1;
	hex(out, sum, HASH);
	return ok;
}

static bool hmac(const void *key, size_t key_n, const char *text, unsigned char out[HASH])
{
	unsigned n = HASH;
	return HMAC(EVP_sha256(), key, (int)key_n, (const unsigned char *)text, strlen(text), out, &n) && n == HASH;
}

/* ---- canonical request ---- */

/* Without "." and "..", and runs of slashes one: then every byte that is not unreserved as %XX, once more. */
static void add_path(struct buf *b, const char *path)
{
	static const char digit[] = "0123456789ABCDEF";
	struct buf clean = {0};
	for (const char *p = path; *p;) {
		size_t slash = strspn(p, "/"), n = strcspn(p + slash, "/");
		const char *part = p + slash;
		p = part + n;
		if (n == 2 && memcmp(part, "..", 2) == 0) {
			while (clean.n && clean.p[--clean.n] != '/')
				;
			continue;
		}
		if (!n || (n == 1 && *part == '.'))
			continue;
		buf_add(&clean, "/", 1);
		buf_add(&clean, part, n);
	}
	size_t len = strlen(path);
	if (!clean.n || (len && path[len - 1] == '/'))
		buf_add(&clean, "/", 1);
	for (size_t i = 0; i < clean.n; i++) {
		unsigned char c = (unsigned char)clean.p[i];
		char e[3] = {'%', digit[c >> 4], digit[c & 15]};
		bool plain = isalnum(c) || strchr("/-_.~", c);
		buf_add(b, plain ? &clean.p[i] : e, plain ? 1 : 3);
	}
	b->failed |= clean.failed;
	buf_free(&clean);
}

struct pair {
	const char *p;
	size_t name, n;
};

static int by_pair(const void *a, const void *b)
{
	const struct pair *x = a, *y = b;
	size_t k = x->name < y->name ? x->name : y->name;
	int d = memcmp(x->p, y->p, k);
	if (!d && x->name != y->name)
		return x->name < y->name ? -1 : 1;
	if (d)
		return d;
	k = x->n < y->n ? x->n : y->n;
	d = memcmp(x->p, y->p, k);
	return d ? d : (x->n > y->n) - (x->n < y->n);
}

static void add_query(struct buf *b, const char *query)
{
	size_t n = 0, most = 1;
	for (const char *p = query; *p; p++)
		most += *p == '&';
	struct pair *list = calloc(most, sizeof *list);
	if (!list) {
		b->failed = true;
		return;
	}
	for (const char *p = query; *p;) {
		size_t len = strcspn(p, "&");
		const char *eq = memchr(p, '=', len);
		if (len)
			list[n++] = (struct pair){p, eq ? (size_t)(eq - p) : len, len};
		p += len + (p[len] == '&');
	}
	qsort(list, n, sizeof *list, by_pair);
	for (size_t i = 0; i < n; i++) {
		if (i)
			buf_add(b, "&", 1);
		buf_add(b, list[i].p, list[i].n);
		if (list[i].name == list[i].n)
			buf_add(b, "=", 1);
	}
	free(list);
}

static int by_name(const void *a, const void *b)
{
	const struct field *x = a, *y = b;
	int d = strcmp(x->name, y->name);
	return d ? d : (x->at > y->at) - (x->at < y->at);
}

static bool add_field(struct field *f, size_t *n, const char *name, size_t name_n, const char *value)
{
	if (*n == SIGV4_HEADERS)
		return false;
	struct field *out = &f[*n];
	*out = (struct field){malloc(name_n + 1), malloc(strlen(value) + 1), *n};
	++*n;
	if (!out->name || !out->value)
		return false;
	for (size_t i = 0; i < name_n; i++)
		out->name[i] = (char)tolower((unsigned char)name[i]);
	out->name[name_n] = 0;
	char *to = out->value;
	for (const char *p = value; *p; p++) {
		bool blank = *p == ' ' || *p == '\t' || *p == '\r' || *p == '\n';
		if (!blank)
			*to++ = *p;
		else if (to > out->value && to[-1] != ' ')
			*to++ = ' ';
	}
	while (to > out->value && to[-1] == ' ')
		to--;
	*to = 0;
	return true;
}

static bool add_line(struct field *f, size_t *n, const char *line)
{
	size_t k = strcspn(line, ":");
	return !line[k] || add_field(f, n, line, k, line + k + 1);
}

/* The headers' part; their names to `names`, divided by ';'. */
static void add_headers(struct buf *b, struct buf *names, const struct field *f, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bool again = i && strcmp(f[i].name, f[i - 1].name) == 0;
		if (again) {
			b->n--; /* the line's end */
			buf_add(b, ",", 1);
		} else {
			if (i)
				buf_add(names, ";", 1);
			str(names, f[i].name);
			str(b, f[i].name);
			buf_add(b, ":", 1);
		}
		str(b, f[i].value);
		buf_add(b, "\n", 1);
	}
}

/* ---- signature ---- */

static bool signature(const struct sigv4 *r, const char *day, const char *text, char out[2 * HASH + 1])
{
	unsigned char key[HASH];
	char *first = NULL;
	int n = asprintf(&first, "AWS4%s", r->keys.secret);
	if (n < 0)
		return false;
	bool ok = hmac(first, (size_t)n, day, key) && hmac(key, HASH, r->region, key) && hmac(key, HASH, r->service, key) &&
	          hmac(key, HASH, "aws4_request", key) && hmac(key, HASH, text, key);
	hex(out, key, HASH);
	explicit_bzero(first, (size_t)n);
	explicit_bzero(key, sizeof key);
	free(first);
	return ok;
}

void sigv4_free(struct sigv4_lines *l)
{
	if (l->token.p)
		explicit_bzero(l->token.p, l->token.cap);
	buf_free(&l->token);
	buf_free(&l->authorization);
}

bool sigv4_sign(const struct sigv4 *r, struct sigv4_lines *out)
{
	struct field f[SIGV4_HEADERS];
	size_t n = 0;
	struct buf canonical = {0}, names = {0};
	char hash[2 * HASH + 1], day[16], *scope = NULL, *text = NULL;
	time_t t = (time_t)r->time_s;
	struct tm tm;
	*out = (struct sigv4_lines){0};
	if (!gmtime_r(&t, &tm) || !strftime(out->date, sizeof out->date, "X-Amz-Date: %Y%m%dT%H%M%SZ", &tm))
		return false;
	const char *date = out->date + sizeof "X-Amz-Date:";
	snprintf(day, sizeof day, "%.8s", date);
	bool ok = add_field(f, &n, "host", 4, r->host) && add_field(f, &n, "x-amz-date", 10, date);
	if (ok && r->keys.token && *r->keys.token) {
		str(&out->token, "X-Amz-Security-Token: ");
		buf_add(&out->token, r->keys.token, strlen(r->keys.token) + 1);
		ok = add_field(f, &n, "x-amz-security-token", 20, r->keys.token);
	}
	for (const char *const *p = r->headers; ok && p && *p; p++)
		ok = add_line(f, &n, *p);
	if (!ok)
		goto end;
	qsort(f, n, sizeof *f, by_name);
	str(&canonical, r->method);
	buf_add(&canonical, "\n", 1);
	add_path(&canonical, r->path);
	buf_add(&canonical, "\n", 1);
	add_query(&canonical, r->query ? r->query : "");
	buf_add(&canonical, "\n", 1);
	add_headers(&canonical, &names, f, n);
	buf_add(&names, "", 1);
	buf_add(&canonical, "\n", 1);
	ok = !names.failed && sha256_hex(r->body_n ? r->body : "", r->body_n, hash);
	if (!ok)
		goto end;
	str(&canonical, names.p);
	buf_add(&canonical, "\n", 1);
	str(&canonical, hash);
	ok = !canonical.failed && sha256_hex(canonical.p, canonical.n, out->canonical) &&
	     asprintf(&scope, "%s/%s/%s/aws4_request", day, r->region, r->service) > 0 &&
	     asprintf(&text, "AWS4-HMAC-SHA256\n%s\n%s\n%s", date, scope, out->canonical) > 0 &&
	     signature(r, day, text, out->signature);
	if (!ok)
		goto end;
	str(&out->authorization, "Authorization: AWS4-HMAC-SHA256 Credential=");
	str(&out->authorization, r->keys.id);
	str(&out->authorization, "/");
	str(&out->authorization, scope);
	str(&out->authorization, ", SignedHeaders=");
	str(&out->authorization, names.p);
	str(&out->authorization, ", Signature=");
	buf_add(&out->authorization, out->signature, sizeof out->signature);
	ok = !out->authorization.failed && !out->token.failed;
end:
	for (size_t i = 0; i < n; i++) {
		if (f[i].value)
			explicit_bzero(f[i].value, strlen(f[i].value));
		free(f[i].name);
		free(f[i].value);
	}
	if (canonical.p)
		explicit_bzero(canonical.p, canonical.cap); /* the session token stands in it */
	buf_free(&canonical);
	buf_free(&names);
	free(scope);
	free(text);
	if (!ok)
		sigv4_free(out);
	return ok;
}
