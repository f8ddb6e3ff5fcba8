/* Which names are secret, and the walk over text that holds name=value pairs. */
#include "proto/redact.h"
#include "proto/scan.h"

struct out {
	char *p;
	size_t n, cap;
};

static void put(struct out *o, const char *p, size_t n)
{
	size_t room = o->cap - o->n;
	if (n > room)
		n = room;
	if (n)
		memcpy(o->p + o->n, p, n);
	o->n += n;
}
#define PUT(o, lit) put(o, lit, sizeof(lit) - 1)
#define REDACTED "REDACTED"

/* ---- names ---- */

/* Lengths stand beside the letters, so that most comparisons end there; and no pointer needs relocation. */
struct word {
	unsigned char n;
	char s[23];
};
#define W(lit)               \
	{                        \
		sizeof(lit) - 1, lit \
	}

/* Whole names, lower case, without '_' and '-'. */
static const struct word secret_names[] = {
	W("awsaccesskeyid"),
	W("signature"),
	W("sig"),
	W("xgoogsignature"),
	W("xgoogcredential"),
	W("xamzsignature"),
	W("xamzcredential"),
	W("xamzsecuritytoken"),
	W("key"),
	W("apikey"),
	W("accesskey"),
	W("secretkey"),
	W("privatekey"),
	W("secretaccesskey"),
	W("pass"),
	W("pwd"),
	W("pw"),
	W("passwd"),
	W("passcode"),
	W("passphrase"),
	W("auth"),
	W("authorization"),
	W("proxyauthorization"),
	W("authkey"),
	W("bearer"),
	W("oauth2bearer"),
	W("credential"),
	W("credentials"),
	W("session"),
	W("sessionid"),
	W("sid"),
	W("jsessionid"),
	W("phpsessid"),
	W("jwt"),
	W("code"),
	W("codeverifier"),
	W("assertion"),
	W("clientassertion"),
	W("samlresponse"),
	W("otp"),
	W("hmac"),
	W("cookie"),
	W("setcookie"),
};

/* Names that end so are secret as well. */
static const struct word secret_ends[] = {
	W("password"),
	W("passwd"),
	W("passphrase"),
	W("secret"),
	W("token"),
	W("apikey"),
	W("accesskey"),
	W("secretkey"),
	W("privatekey"),
	W("credentials"),
	W("authorization"),
};

/* In options and variables also these, behind a '_' or '-': FOO_KEY. Too common in URLs (sort_key). */
static const struct word secret_words[] = {
	W("key"),
	W("pwd"),
	W("pass"),
	W("pw"),
	W("auth"),
	W("cookie"),
	W("dsn"),
	W("headers"),
};

#define NAME_MAX_LEN 64 /* longer ones are compared by their end */

static bool ends_in(const char *s, size_t n, const struct word *w)
{
	return n >= w->n && memcmp(s + n - w->n, w->s, w->n) == 0;
}

static int hex(char c)
{
	c = lower(c);
	return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
	                                                    : -1;
}

static bool is_secret(const char *p, const char *e, bool args)
{
	/* user[password], user.password: the last part decides; password[]: the first. */
	while (e - p >= 2 && e[-1] == ']' && e[-2] == '[')
		e -= 2;
	if (e > p && e[-1] == ']')
		e--;
	const char *from = p;
	for (const char *s = p; s < e; s++)
		if (*s == '[' || *s == '.' || *s == ']')
			from = s + 1;
	char name[NAME_MAX_LEN];
	size_t n = 0, word_at = 0;
	for (const char *s = from; s < e; s++) {
		char c = *s;
		if (c == '%' && e - s >= 3 && hex(s[1]) >= 0 && hex(s[2]) >= 0) { /* pass%77ord */
			c = (char)(hex(s[1]) << 4 | hex(s[2]));
			s += 2;
		}
		if (c == '_' || c == '-') {
			word_at = n;
			continue;
		}
		if (n == NAME_MAX_LEN) {
			memmove(name, name + 1, --n);
			word_at -= word_at > 0;
		}
		name[n++] = lower(c);
	}
	for (size_t i = 0; i < sizeof secret_names / sizeof *secret_names; i++)
		if (n == secret_names[i].n && ends_in(name, n, &secret_names[i]))
			return true;
	for (size_t i = 0; i < sizeof secret_ends / sizeof *secret_ends; i++)
		if (ends_in(name, n, &secret_ends[i]))
			return true;
	for (size_t i = 0; args && word_at && i < sizeof secret_words / sizeof *secret_words; i++)
		if (n - word_at == secret_words[i].n && ends_in(name, n, &secret_words[i]))
			return true;
	return false;
}

/* ---- URLs ---- */

/* At "://": the '@' that ends user information, or NULL. */
static const char *userinfo_end(const char *p, const char *e)
{
	const char *at = NULL;
	for (; p < e && *p != '/' && *p != '?' && *p != '#' && (unsigned char)*p > ' ' && *p != '"' && *p != '\''; p++)
		if (*p == '@')
			at = p;
	return at;
}

/* Copies [p, e), without user information behind any "//" that begins an authority. */
static void copy_text(struct out *o, const char *p, const char *e, bool at_start)
{
	const char *from = p;
	for (const char *s = p; e - s > 2; s++) {
		if (s[0] != '/' || s[1] != '/' || !(at_start && s == p) == !(s > p && s[-1] == ':'))
			continue;
		const char *at = userinfo_end(s + 2, e);
		if (!at)
			continue;
		put(o, from, (size_t)(s + 2 - from));
		PUT(o, REDACTED ":" REDACTED);
		from = s = at;
	}
	put(o, from, (size_t)(e - from));
}

/* Pairs of a query, fragment or parameters: [p, e) begins with a key. */
static void copy_pairs(struct out *o, const char *p, const char *e, bool path)
{
	while (p < e) {
		const char *k = p;
		while (p < e && *p != '=' && *p != '&' && *p != ';' && *p != '?' && *p != '#' && !(path && *p == '/'))
			p++;
		bool secret = p < e && *p == '=' && is_secret(k, p, false);
		if (p < e && *p == '?') /* from here on it is a query, whatever it was */
			path = false;
		if (secret) {
			put(o, k, (size_t)(p + 1 - k));
			PUT(o, REDACTED);
			/* A ';' may be part of the value. */
			while (p < e && *p != '&' && *p != '#' && !(path && (*p == '/' || *p == '?')))
				p++;
			continue;
		}
		if (p < e && *p == '=')
			while (p < e && *p != '&' && *p != ';' && *p != '?' && *p != '#' && !(path && *p == '/'))
				p++;
		if (p < e && *p == '?')
			path = false;
		p += p < e;
		copy_text(o, k, p, false);
	}
}

size_t redact_query(struct slice query, char *out, size_t cap)
{
	struct out o = {out, 0, cap};
	if (query.n)
		copy_pairs(&o, query.p, query.p + query.n, false);
	return o.n;
}

size_t redact_url(struct slice url, char *out, size_t cap)
{
	struct out o = {out, 0, cap};
	if (url.n == 0)
		return 0;
	const char *p = url.p, *e = p + url.n, *s = p;
	/* Up to the first '?', '#' or ';' behind the authority there are no pairs. */
	if (*s != '/') {
		while (s < e && *s != '/' && *s != '?' && *s != '#' && *s != ';')
			s++;
		if (s > p && s < e && *s == '/' && s[-1] == ':' && e - s >= 2 && s[1] == '/') {
			const char *at = userinfo_end(s + 2, e);
			s = at ? at : s + 2;
		}
	} else if (e - s >= 2 && s[1] == '/') {
		const char *at = userinfo_end(s + 2, e);
		s = at ? at : s;
	}
	while (s < e && *s != '?' && *s != '#' && *s != ';')
		s++;
	bool path = s < e && *s == ';';
	s += s < e;
	copy_text(&o, p, s, true);
	copy_pairs(&o, s, e, path);
	return o.n;
}

/* ---- command lines ---- */

enum { PROGRAM_OTHER,
	   PROGRAM_MYSQL,
	   PROGRAM_P_VALUE,
	   PROGRAM_A_VALUE,
	   PROGRAM_W_VALUE,
	   PROGRAM_CURL };
enum { NEXT_ANY,
	   NEXT_SECRET,
	   NEXT_USER };

static bool is_name_char(char c)
{
	c = lower(c);
	return is_digit(c) || (c >= 'a' && c <= 'z') || c == '_' || c == '-' || c == '.' || c == '%' || c == '[' || c == ']';
}

static bool word_ci(const char *p, const char *e, const char *word)
{
	for (; p < e && *word; p++, word++)
		if (lower(*p) != *word)
			return false;
	return p == e && !*word;
}

static bool is(const char *p, const char *e, const char *word)
{
	size_t n = strlen(word);
	return (size_t)(e - p) == n && memcmp(p, word, n) == 0;
}

static unsigned char program_kind(const char *p, const char *e)
{
	const char *base = p;
	for (; p < e; p++)
		if (*p == '/')
			base = p + 1;
	size_t n = (size_t)(e - base);
	if ((n >= 5 && memcmp(base, "mysql", 5) == 0) || (n >= 7 && memcmp(base, "mariadb", 7) == 0))
		return PROGRAM_MYSQL;
	if ((n >= 5 && memcmp(base, "mongo", 5) == 0) || is(base, e, "sshpass"))
		return PROGRAM_P_VALUE;
	if (is(base, e, "redis-cli") || is(base, e, "valkey-cli"))
		return PROGRAM_A_VALUE;
	if (n >= 4 && memcmp(base, "ldap", 4) == 0)
		return PROGRAM_W_VALUE;
	return is(base, e, "curl") ? PROGRAM_CURL : PROGRAM_OTHER;
}

/*
 * Pairs inside one argument: NAME=value, "name": "value", Header: value, and Bearer tokens; [p, e) may be a whole
 * script. A value that begins the argument's only pair ends with the argument, others at their quote or blank.
 */
static void copy_script(struct out *o, const char *p, const char *e, bool whole)
{
	const char *copied = p;
	for (bool first = true; p < e; first = false) {
		const char *k = p;
		while (p < e && is_name_char(*p))
			p++;
		if (p == k) {
			p++;
			continue;
		}
		const char *name = k, *end = p;
		while (name < end && *name == '-')
			name++;
		if (p < e && (*p == '"' || *p == '\''))
			p++;
		while (p < e && *p == ' ')
			p++;
		bool bearer = p > end && word_ci(name, end, "bearer");
		if (p == e || (*p != '=' && *p != ':' && !bearer) || (*p == ':' && e - p > 2 && p[1] == '/' && p[2] == '/') ||
		    !is_secret(name, end, true)) {
			p = end;
			continue;
		}
		bool colon = *p == ':';
		if (*p == '=' || colon)
			p++;
		while (p < e && (*p == ' ' || *p == '\t'))
			p++;
		copy_text(o, copied, p, false);
		PUT(o, REDACTED);
		if (whole && first) {
			return;
		}
		char quote = 0;
		if (p < e && (*p == '"' || *p == '\''))
			quote = *p++;
		/* A header's value has blanks in it. */
		while (p < e && (quote ? *p != quote : *p != '"' && *p != '\'' && *p != '\n' && (colon || (unsigned char)*p > ' ') && (colon || (*p != '&' && *p != ';'))))
			p++;
		if (quote && p < e)
			p++;
		copied = p;
	}
	copy_text(o, copied, e, false);
}

static bool all_digits_and_colon(const char *p, const char *e)
{
	for (; p < e; p++)
		if (!is_digit(*p) && *p != ':')
			return false;
	return true;
}

/* user:password, but not the uid:gid of other programs. */
static void copy_user(struct out *o, const char *p, const char *e)
{
	if (memchr(p, ':', (size_t)(e - p)) && !all_digits_and_colon(p, e))
		PUT(o, REDACTED ":" REDACTED);
	else
		put(o, p, (size_t)(e - p));
}

size_t redact_arg(struct redact_args *a, struct slice arg, char *out, size_t cap)
{
	struct out o = {out, 0, cap};
	const char *p = arg.p, *e = p + (arg.n ? arg.n : 0);
	if (!a->started) {
		a->started = true;
		if (arg.n)
			a->program = program_kind(p, e);
		put(&o, p, arg.n);
		return o.n;
	}
	unsigned char next = a->next;
	a->next = NEXT_ANY;
	if (arg.n == 0)
		return 0;
	bool is_long = e - p > 2 && p[0] == '-' && p[1] == '-';
	if (next == NEXT_SECRET && !is_long) {
		PUT(&o, REDACTED);
		return o.n;
	}
	if (next == NEXT_USER && !is_long) {
		copy_user(&o, p, e);
		return o.n;
	}
	if (*p != '-') {
		if (e - p > 5 && memcmp(p, "pass:", 5) == 0) /* openssl -passin pass:... */
			PUT(&o, "pass:" REDACTED);
		else
			copy_script(&o, p, e, true);
		return o.n;
	}

	const char *name = p, *eq = memchr(p, '=', arg.n), *end = eq ? eq : e;
	while (name < end && *name == '-')
		name++;
	if (is(name, end, "user") || is(name, end, "proxy-user") || (!is_long && is(name, e, "u"))) {
		if (eq) {
			put(&o, p, (size_t)(eq + 1 - p));
			copy_user(&o, eq + 1, e);
			return o.n;
		}
		a->next = NEXT_USER;
	} else if (!is_long && name < e) {
		bool value = (a->program == PROGRAM_MYSQL && *name == 'p' && e - name > 1 && !is(name, end, "port")) ||
		             (a->program == PROGRAM_P_VALUE && *name == 'p') || (a->program == PROGRAM_A_VALUE && *name == 'a') ||
		             (a->program == PROGRAM_W_VALUE && *name == 'w');
		bool user = a->program == PROGRAM_CURL && (*name == 'u' || *name == 'U');
		if ((value || user) && e - name > 1) {
			put(&o, p, 2);
			if (value)
				PUT(&o, REDACTED);
			else
				copy_user(&o, name + 1, e);
			return o.n;
		}
		if (value || (a->program == PROGRAM_CURL && is(name, e, "b")))
			a->next = NEXT_SECRET;
		else if (user)
			a->next = NEXT_USER;
	}
	bool no = end - name > 3 && memcmp(name, "no-", 3) == 0;
	if (!eq && !no && end - name > 1 && !memchr(p, ' ', arg.n) && !memchr(p, ':', arg.n) && is_secret(name, end, true))
		a->next = NEXT_SECRET;
	/* -Dkey=value, -eKEY=value, -HHeader: value: the option letter is not part of the name. */
	if (!is_long && e - p > 3 && !(eq && is_secret(name, end, true))) {
		put(&o, p, 2);
		p += 2;
	}
	copy_script(&o, p, e, true);
	return o.n;
}
