#include "exporters/aws/credentials.h"
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define ID_MOST 128
#define SECRET_MOST 512
#define TOKEN_MOST 16384

static void wipe(char **s)
{
	if (*s)
		explicit_bzero(*s, strlen(*s));
	free(*s);
	*s = NULL;
}

void aws_found_free(struct aws_found *f)
{
	wipe(&f->id);
	wipe(&f->secret);
	wipe(&f->token);
	f->expires_s = 0;
}

void aws_profile_free(struct aws_profile *p)
{
	aws_found_free(&p->keys);
	char *const all[] = {p->region, p->role_arn, p->source_profile, p->source, p->session, p->external_id, p->duration, p->token_file};
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		free(all[i]);
	*p = (struct aws_profile){0};
}

bool aws_word_ok(const char *p, size_t n, size_t most)
{
	if (n == 0 || n > most)
		return false;
	for (size_t i = 0; i < n; i++)
		if (p[i] <= 0x20 || p[i] > 0x7e)
			return false;
	return true;
}

static bool put(char **to, const char *p, size_t n, size_t most)
{
	if (!aws_word_ok(p, n, most))
		return false;
	wipe(to);
	*to = strndup(p, n);
	return *to != NULL;
}

/* With blanks: names. */
static void put_text(char **to, const char *p, size_t n, size_t most)
{
	if (n && n <= most && !memchr(p, 0, n))
		*to = strndup(p, n);
}

/* ---- shared files ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static void trim(const char **p, const char **e)
{
	while (*p < *e && is_blank(**p))
		++*p;
	while (*e > *p && is_blank((*e)[-1]))
		--*e;
}

static bool is_word(const char *p, const char *e, const char *word)
{
	return (size_t)(e - p) == strlen(word) && memcmp(p, word, (size_t)(e - p)) == 0;
}

/* "[default]", "[profile x]", quotes around a name with blanks. */
static bool is_section(const char *p, const char *e, const char *name, bool config)
{
	static const char prefix[] = "profile";
	trim(&p, &e);
	if (config && !is_word(p, e, "default")) {
		if ((size_t)(e - p) < sizeof prefix || memcmp(p, prefix, sizeof prefix - 1) != 0 || !is_blank(p[sizeof prefix - 1]))
			return false;
		p += sizeof prefix;
		trim(&p, &e);
	}
	if (e - p >= 2 && (*p == '"' || *p == '\'') && e[-1] == *p) {
		p++;
		e--;
	}
	return is_word(p, e, name);
}

static void setting(struct aws_profile *p, const char *k, const char *ke, const char *v, const char *ve)
{
	static const char *const others[] = {"credential_process", "sso_session", "sso_start_url"};
	const struct {
		const char *name;
		char **to;
		size_t most;
	} words[] = {
		{"role_arn", &p->role_arn, 2048},
		{"credential_source", &p->source, 64},
		{"role_session_name", &p->session, 64},
		{"external_id", &p->external_id, 1224},
		{"duration_seconds", &p->duration, 8},
	};
	size_t n = (size_t)(ve - v);
	if (is_word(k, ke, "aws_access_key_id") && !p->keys.id)
		put(&p->keys.id, v, n, ID_MOST);
	else if (is_word(k, ke, "aws_secret_access_key") && !p->keys.secret)
		put(&p->keys.secret, v, n, SECRET_MOST);
	else if ((is_word(k, ke, "aws_session_token") || is_word(k, ke, "aws_security_token")) && !p->keys.token)
		put(&p->keys.token, v, n, TOKEN_MOST);
	else if (is_word(k, ke, "region") && !p->region)
		put(&p->region, v, n, 64);
	else if (is_word(k, ke, "source_profile") && !p->source_profile)
		put_text(&p->source_profile, v, n, 256);
	else if (is_word(k, ke, "web_identity_token_file") && !p->token_file)
		put_text(&p->token_file, v, n, 4096);
	p->mfa |= is_word(k, ke, "mfa_serial");
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (is_word(k, ke, words[i].name) && !*words[i].to)
			put(words[i].to, v, n, words[i].most);
	for (size_t i = 0; i < sizeof others / sizeof *others && !p->unsupported; i++)
		if (is_word(k, ke, others[i]))
			p->unsupported = others[i];
}

void aws_profile_read(struct aws_profile *out, const char *text, size_t n, const char *name, bool config)
{
	bool inside = false, any = false;
	unsigned number = 0;
	for (const char *p = text, *end = text + n; p < end;) {
		const char *nl = memchr(p, '\n', (size_t)(end - p)), *e = nl ? nl : end, *next = nl ? nl + 1 : end;
		bool nested = p < e && is_blank(*p); /* of a setting with settings of its own */
		number++;
		trim(&p, &e);
		const char *eq = p < e ? memchr(p, '=', (size_t)(e - p)) : NULL;
		if (p == e || *p == '#' || *p == ';') {
			;
		} else if (*p == '[') {
			const char *close = memchr(p, ']', (size_t)(e - p));
			inside = close && is_section(p + 1, close, name, config);
			any = true;
			out->there |= inside;
			if (!close && !out->bad_line)
				out->bad_line = number;
		} else if (!eq || !any) {
			if (!nested && !out->bad_line)
				out->bad_line = number;
		} else if (inside && !nested) {
			const char *ke = eq, *v = eq + 1;
			trim(&p, &ke);
			trim(&v, &e);
			setting(out, p, ke, v, e);
		}
		p = next;
	}
}

/* ---- answers ---- */

uint64_t aws_time_read(const char *p, size_t n)
{
	static const char form[] = "dddd-dd-ddTdd:dd:dd";
	int v[6] = {0}, k = 0;
	if (n < sizeof form || p[n - 1] != 'Z')
		return 0;
	for (size_t i = 0; i < sizeof form - 1; i++) {
		if (form[i] != 'd') {
			k++;
			if (p[i] != form[i])
				return 0;
		} else if (p[i] < '0' || p[i] > '9') {
			return 0;
		} else {
			v[k] = v[k] * 10 + (p[i] - '0');
		}
	}
	struct tm tm = {.tm_year = v[0] - 1900, .tm_mon = v[1] - 1, .tm_mday = v[2], .tm_hour = v[3], .tm_min = v[4], .tm_sec = v[5]};
	if (v[0] < 1970 || v[1] < 1 || v[1] > 12 || v[2] < 1 || v[2] > 31 || v[3] > 23 || v[4] > 59 || v[5] > 60)
		return 0;
	time_t t = timegm(&tm);
	return t > 0 ? (uint64_t)t : 0;
}

static bool take_string(const cJSON *o, const char *name, char **to, size_t most)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, name));
	return s && put(to, s, strlen(s), most);
}

static const char *whole(struct aws_found *f, const char *why)
{
	if (!why && f->id && f->secret)
		return NULL;
	aws_found_free(f);
	return why ? why : "it has no AccessKeyId or no SecretAccessKey";
}

static void wipe_tree(cJSON *o)
{
	for (; o; o = o->next) {
		wipe_tree(o->child);
		if (cJSON_IsString(o))
			explicit_bzero(o->valuestring, strlen(o->valuestring));
	}
}

const char *aws_json_read(struct aws_found *f, const char *text, size_t n)
{
	cJSON *o = cJSON_ParseWithLength(text, n);
	const char *why = cJSON_IsObject(o) ? NULL : "it is no JSON object";
	const char *code = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "Code"));
	*f = (struct aws_found){0};
	if (code && strcmp(code, "Success") != 0)
		why = "its Code is not Success";
	if (!why) {
		const char *until = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, "Expiration"));
		take_string(o, "AccessKeyId", &f->id, ID_MOST);
		take_string(o, "SecretAccessKey", &f->secret, SECRET_MOST);
		take_string(o, "Token", &f->token, TOKEN_MOST);
		f->expires_s = until ? aws_time_read(until, strlen(until)) : 0;
		if (until && !f->expires_s)
			why = "its Expiration is no time";
	}
	wipe_tree(o);
	cJSON_Delete(o);
	return whole(f, why);
}

static struct element {
	const char *p;
	size_t n;
} element(const char *text, size_t n, const char *open, const char *close)
{
	const char *p = memmem(text, n, open, strlen(open)), *end = text + n;
	const char *e = p ? memmem(p, (size_t)(end - p), close, strlen(close)) : NULL;
	if (!e)
		return (struct element){NULL, 0};
	p += strlen(open);
	while (p < e && (is_blank(*p) || *p == '\n'))
		p++;
	while (e > p && (is_blank(e[-1]) || e[-1] == '\n'))
		e--;
	return (struct element){p, (size_t)(e - p)};
}
#define ELEMENT(text, n, name) element(text, n, "<" name ">", "</" name ">")

const char *aws_xml_read(struct aws_found *f, const char *text, size_t n)
{
	struct element all = ELEMENT(text, n, "Credentials"), s;
	*f = (struct aws_found){0};
	if (!all.p)
		return "it has no Credentials";
	s = ELEMENT(all.p, all.n, "AccessKeyId");
	put(&f->id, s.p, s.n, ID_MOST);
	s = ELEMENT(all.p, all.n, "SecretAccessKey");
	put(&f->secret, s.p, s.n, SECRET_MOST);
	s = ELEMENT(all.p, all.n, "SessionToken");
	put(&f->token, s.p, s.n, TOKEN_MOST);
	s = ELEMENT(all.p, all.n, "Expiration");
	f->expires_s = s.p ? aws_time_read(s.p, s.n) : 0;
	return whole(f, s.p && f->expires_s ? NULL : "its Expiration is no time");
}
