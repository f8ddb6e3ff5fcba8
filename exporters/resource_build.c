/*
 * The attributes of one process: what the user gave, then what was found out where nothing was given. Everything
 * lies in one block: struct resource, its attributes, their text.
 */
#include "exporters/resource_detect.h"
#include "base/slice.h"
#include "exporters/utf8.h"
#include "version.h"
#include <stdio.h>
#include <stdlib.h>

#define OWN_ATTRS 32   /* more than are added below */
#define OWN_TEXT 3072  /* of theirs that is not in the description */
#define GIVEN_MAX 1000 /* attributes in OTEL_RESOURCE_ATTRIBUTES: they are compared with each other */
#define ARG_SEPARATOR 0x1f

struct builder {
	struct resource *r;
	char *at;
};

static struct slice from_to(const char *p, const char *e)
{
	return (struct slice){p, (uint32_t)(e - p)};
}

/* The value of NAME=VALUE in the description. */
static struct slice described(const struct process_facts *f, const char *name)
{
	const char *p = f->blob, *e = f->blob + f->blob_len;
	size_t n = strlen(name);
	while (p < e) {
		const char *end = memchr(p, 0, (size_t)(e - p));
		if (!end)
			end = e;
		if ((size_t)(end - p) > n && memcmp(p, name, n) == 0 && p[n] == '=')
			return from_to(p + n + 1, end);
		p = end + 1;
	}
	return (struct slice){NULL, 0};
}

/* Well-formed and with a NUL. */
static struct slice keep(struct builder *b, struct slice s)
{
	char *from = b->at;
	b->at += utf8_copy(from, s.p, s.n);
	*b->at = 0;
	return from_to(from, b->at++);
}

static struct attr *find(const struct builder *b, struct slice key)
{
	for (uint32_t i = 0; i < b->r->n; i++) {
		struct attr *a = &b->r->attrs[i];
		if (a->key_len == key.n && memcmp(a->key, key.p, key.n) == 0)
			return a;
	}
	return NULL;
}

static struct attr *append(struct builder *b, struct slice key)
{
	struct attr *a = &b->r->attrs[b->r->n++];
	*a = (struct attr){.key = key.p, .key_len = key.n};
	return a;
}

static void set_text(struct attr *a, struct slice s)
{
	a->type = ATTR_STRING;
	a->str = s.p;
	a->str_len = s.n;
}

/* ---- OTEL_RESOURCE_ATTRIBUTES ---- */

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 32;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static struct slice trimmed(struct slice s)
{
	while (s.n && (*s.p == ' ' || *s.p == '\t')) {
		s.p++;
		s.n--;
	}
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

/* Percent-decoded and kept. False: not percent-encoding. */
static bool decoded(struct builder *b, struct slice s, struct slice *out)
{
	char *raw = b->at + (size_t)s.n * UTF8_GROWTH + 1, *o = raw; /* behind where keep() will write */
	for (uint32_t i = 0; i < s.n; i++) {
		if (s.p[i] != '%') {
			*o++ = s.p[i];
			continue;
		}
		if (s.n - i < 3 || hex(s.p[i + 1]) < 0 || hex(s.p[i + 2]) < 0)
			return false;
		*o++ = (char)(hex(s.p[i + 1]) << 4 | hex(s.p[i + 2]));
		i += 2;
	}
	*out = keep(b, from_to(raw, o));
	return true;
}

static uint32_t members(struct slice list)
{
	uint32_t n = list.n > 0;
	for (uint32_t i = 0; i < list.n; i++)
		n += list.p[i] == ',';
	return n;
}

/* "k=v,k=v" behind the attributes there are. Returns what is wrong, or NULL. */
static const char *given(struct builder *b, struct slice list)
{
	if (list.n == 0)
		return NULL;
	const char *p = list.p, *e = list.p + list.n;
	for (; p <= e; p++) {
		const char *end = memchr(p, ',', (size_t)(e - p));
		struct slice member = trimmed(from_to(p, end ? end : e)), key, value;
		p = end ? end : e;
		if (member.n == 0)
			continue;
		const char *eq = memchr(member.p, '=', member.n);
		if (!eq)
			return "a member without '='";
		if (!decoded(b, trimmed(from_to(member.p, eq)), &key) ||
		    !decoded(b, trimmed(from_to(eq + 1, member.p + member.n)), &value))
			return "a '%' that two hexadecimal digits do not follow";
		if (key.n == 0)
			return "a member without a key";
		struct attr *a = find(b, key);
		set_text(a ? a : append(b, key), value);
	}
	return NULL;
}

/* ---- what we found out ---- */

/* NULL: the user gave it. */
static struct attr *own(struct builder *b, const char *key)
{
	struct slice k = slice_of(key);
	return find(b, k) ? NULL : append(b, k);
}

static void text(struct builder *b, const char *key, struct slice s)
{
	struct attr *a = s.n ? own(b, key) : NULL;
	if (a)
		set_text(a, keep(b, s));
}

static void integer(struct builder *b, const char *key, int64_t v)
{
	struct attr *a = v > 0 ? own(b, key) : NULL;
	if (a) {
		a->type = ATTR_INT;
		a->num = v;
	}
}

/* The bytes are random already: version 4. */
static void instance_id(struct builder *b, const uint8_t *bytes)
{
	static const uint8_t none[16];
	char s[37], *o = s;
	if (!bytes || memcmp(bytes, none, 16) == 0)
		return;
	for (int i = 0; i < 16; i++) {
		uint8_t c = bytes[i];
		if (i == 6)
			c = (c & 0x0f) | 0x40;
		if (i == 8)
			c = (c & 0x3f) | 0x80;
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*o++ = '-';
		*o++ = "0123456789abcdef"[c >> 4];
		*o++ = "0123456789abcdef"[c & 15];
	}
	text(b, "service.instance.id", from_to(s, o));
}

static void arguments(struct builder *b, struct slice args)
{
	if (args.n == 0)
		return;
	const char *first = memchr(args.p, ARG_SEPARATOR, args.n), *p = args.p, *e = args.p + args.n;
	text(b, "process.command", from_to(args.p, first ? first : e));
	struct attr *a = own(b, "process.command_args");
	if (!a)
		return;
	a->type = ATTR_STRINGS;
	a->str = b->at;
	for (;;) {
		const char *end = memchr(p, ARG_SEPARATOR, (size_t)(e - p));
		keep(b, from_to(p, end ? end : e));
		a->n++;
		if (!end)
			break;
		p = end + 1;
	}
	a->str_len = (size_t)(b->at - a->str);
}

static struct slice base_name(struct slice path)
{
	const char *slash = path.n ? memrchr(path.p, '/', path.n) : NULL;
	return slash ? from_to(slash + 1, path.p + path.n) : path;
}

static struct slice executable(const struct process_facts *f)
{
	static const char gone[] = " (deleted)"; /* the kernel's word for a file that was replaced */
	struct slice s = described(f, "exe");
	const size_t tail = sizeof gone - 1;
	if (s.n > tail && memcmp(s.p + s.n - tail, gone, tail) == 0)
		s.n -= (uint32_t)tail;
	return s;
}

static int64_t number(struct slice s)
{
	int64_t v = 0;
	for (uint32_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9' || v > INT32_MAX / 10)
			return 0;
		v = v * 10 + (s.p[i] - '0');
	}
	return v;
}

static void service_name(struct builder *b, struct slice from_variable, struct slice program)
{
	struct attr *a = &b->r->attrs[0];
	struct slice name = from_variable;
	char *from = b->at;
	if (name.n == 0 && a->str_len)
		return;
	if (name.n == 0) {
		name = SLICE("unknown_service");
		b->at += utf8_copy(b->at, name.p, name.n);
		if (program.n)
			*b->at++ = ':';
		name = program;
	}
	struct slice end = keep(b, name);
	set_text(a, from_to(from, end.p + end.n));
}

struct resource *resource_build(const struct host_facts *h, const struct process_facts *f, const char **bad)
{
	struct slice list = described(f, "resource_attributes"), exe = executable(f), program = base_name(exe);
	uint32_t n = members(list);
	*bad = n > GIVEN_MAX                                        ? "too many members"
	       : described(f, "resource_attributes_too_long").n > 0 ? "more bytes than the 8 KiB that a process is described in"
	                                                            : NULL;
	if (*bad)
		list.n = n = 0;
	size_t attrs = (size_t)n + OWN_ATTRS;
	struct resource *r = malloc(sizeof *r + attrs * sizeof(struct attr) + OWN_TEXT +
	                            f->blob_len * (UTF8_GROWTH + 1) * 2);
	if (!r)
		return NULL;
	*r = (struct resource){.pid = f->pid, .attrs = (struct attr *)(r + 1)};
	struct builder mk = {r, (char *)(r->attrs + attrs)}, *b = &mk;
	if (program.n == 0)
		program = described(f, "comm");

	set_text(append(b, SLICE("service.name")), (struct slice){"", 0});
	const char *wrong = given(b, list);
	if (wrong) {
		*bad = wrong;
		r->n = 1;
		set_text(&r->attrs[0], (struct slice){"", 0});
	}
	service_name(b, described(f, "service_name"), program);
	r->service_name = r->attrs[0].str;

	instance_id(b, f->instance);
	text(b, "telemetry.sdk.name", SLICE("remora"));
	text(b, "telemetry.sdk.language", SLICE("c"));
	text(b, "telemetry.sdk.version", SLICE(REMORA_VERSION));
	text(b, "telemetry.distro.name", SLICE("remora"));
	text(b, "telemetry.distro.version", SLICE(REMORA_VERSION));
	integer(b, "process.pid", f->pid);
	integer(b, "process.parent_pid", number(described(f, "ppid")));
	text(b, "process.executable.name", program);
	text(b, "process.executable.path", exe);
	arguments(b, described(f, "args"));
	if (f->owner)
		text(b, "process.owner", slice_of(f->owner));
	text(b, "host.name", slice_of(h->name));
	text(b, "host.arch", slice_of(h->arch));
	text(b, "os.type", SLICE("linux"));
	text(b, "os.version", slice_of(h->os_version));
	text(b, "os.description", slice_of(h->os_description));
	text(b, "container.id", slice_of(h->container));
	return r;
}
