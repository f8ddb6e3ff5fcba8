#include "exporters/resource_detect.h"
#include "base/slice.h"
#include "base/sys.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

static struct slice from_to(const char *p, const char *e)
{
	return (struct slice){p, (uint32_t)(e - p)};
}

static bool next_line(struct slice *text, struct slice *line)
{
	if (text->n == 0)
		return false;
	const char *e = text->p + text->n, *nl = memchr(text->p, '\n', text->n);
	*line = from_to(text->p, nl ? nl : e);
	text->p = nl ? nl + 1 : e;
	text->n = (uint32_t)(e - text->p);
	return true;
}

/* ---- containers ---- */

static size_t hex_run(const char *p, const char *e)
{
	const char *from = p;
	while (p < e && ((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'f')))
		p++;
	return (size_t)(p - from);
}

/* 64 hex digits, or what ECS on Fargate makes: 32 hex digits, '-', a decimal number. */
static bool is_id(struct slice s)
{
	const char *e = s.p + s.n;
	size_t run = hex_run(s.p, e);
	if (run == 64)
		return s.n == 64;
	if (run != 32 || s.n < 34 || s.n > 43 || s.p[32] != '-')
		return false;
	for (const char *p = s.p + 33; p < e; p++)
		if (*p < '0' || *p > '9')
			return false;
	return true;
}

static bool take(struct slice s, char out[80])
{
	if (!is_id(s))
		return false;
	memcpy(out, s.p, s.n);
	out[s.n] = 0;
	return true;
}

/*
 * The last part of a path, in which runtimes wrap the id: "docker-ID.scope", "cri-containerd-ID.scope", "ID".
 * containerd without systemd writes "...:cri-containerd:ID".
 */
static bool container_of_part(struct slice part, char out[80])
{
	static const char scope[] = ".scope";
	const size_t tail = sizeof scope - 1;
	if (part.n > tail && memcmp(part.p + part.n - tail, scope, tail) == 0)
		part.n -= (uint32_t)tail;
	if (take(part, out))
		return true;
	const char *e = part.p + part.n;
	for (const char *p = e; p > part.p; p--)
		if (p[-1] == '-' || p[-1] == ':')
			return take(from_to(p, e), out);
	return false;
}

bool container_of_cgroup(const char *p, size_t n, char out[80])
{
	struct slice text = {p, (uint32_t)n}, line;
	while (next_line(&text, &line)) {
		const char *slash = line.n ? memrchr(line.p, '/', line.n) : NULL;
		const char *e = line.p + line.n;
		if (!slash)
			continue;
		if (container_of_part(from_to(slash + 1, e), out))
			return true;
		/* One level up: some images run their services in sub-groups ("/docker/ID/init.scope"). */
		const char *up = memrchr(line.p, '/', (size_t)(slash - line.p));
		if (up && container_of_part(from_to(up + 1, slash), out))
			return true;
	}
	return false;
}

/* Runtimes mount files of the container's own directory: /var/lib/docker/containers/ID/hostname and the like. */
bool container_of_mountinfo(const char *p, size_t n, char out[80])
{
	static const char dir[] = "containers/"; /* docker: containers/ID/, podman: overlay-containers/ID/ */
	struct slice text = {p, (uint32_t)n}, line;
	while (next_line(&text, &line)) {
		const char *e = line.p + line.n, *at = line.p;
		while (at < e && (at = memmem(at, (size_t)(e - at), dir, sizeof dir - 1))) {
			at += sizeof dir - 1;
			const char *slash = memchr(at, '/', (size_t)(e - at));
			if (slash && take(from_to(at, slash), out))
				return true;
		}
	}
	return false;
}

/* ---- the machine ---- */

const char *arch_of_machine(const char *machine)
{
	static const char *const words[][2] = {
		{"x86_64", "amd64"},
		{"aarch64", "arm64"},
		{"i386", "x86"},
		{"i686", "x86"},
		{"armv6l", "arm32"},
		{"armv7l", "arm32"},
		{"ppc64le", "ppc64"},
		{"ppc64", "ppc64"},
	};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strcmp(machine, words[i][0]) == 0)
			return words[i][1];
	return machine;
}

bool name_of_uid(const char *p, size_t n, unsigned uid, char *out, size_t cap)
{
	struct slice text = {p, (uint32_t)n}, line;
	while (next_line(&text, &line)) { /* name:password:uid:... */
		const char *e = line.p + line.n, *colon = line.n ? memchr(line.p, ':', line.n) : NULL;
		const char *id = colon ? memchr(colon + 1, ':', (size_t)(e - colon - 1)) : NULL;
		size_t len = colon ? (size_t)(colon - line.p) : 0;
		if (!id || len == 0 || len >= cap || memchr(line.p, 0, len))
			continue;
		uint64_t v = 0;
		const char *d = ++id;
		while (d < e && *d >= '0' && *d <= '9' && v <= UINT32_MAX)
			v = v * 10 + (uint64_t)(*d++ - '0');
		if (d == id || d == e || *d != ':' || v != uid)
			continue;
		memcpy(out, line.p, len);
		out[len] = 0;
		return true;
	}
	return false;
}

static void set(char *to, size_t cap, const char *s)
{
	snprintf(to, cap, "%s", s);
}

size_t read_file(const char *path, char *buf, size_t cap)
{
	size_t n = 0;
	long fd = sys_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0), r;
	if (fd < 0)
		return 0;
	while (n < cap && (r = sys_read((int)fd, buf + n, cap - n)) > 0)
		n += (size_t)r;
	sys_close((int)fd);
	return n;
}

void host_facts_read(struct host_facts *f)
{
	struct utsname u;
	*f = (struct host_facts){0};
	if (uname(&u) == 0) {
		set(f->name, sizeof f->name, u.nodename);
		set(f->os_version, sizeof f->os_version, u.release);
		set(f->arch, sizeof f->arch, arch_of_machine(u.machine));
		snprintf(f->os_description, sizeof f->os_description, "%s %s %s", u.sysname, u.release, u.version);
	}
	const size_t cap = 128 * 1024;
	char *text = malloc(cap);
	if (!text)
		return;
	size_t n = read_file("/proc/self/cgroup", text, cap);
	if (!container_of_cgroup(text, n, f->container)) {
		n = read_file("/proc/self/mountinfo", text, cap);
		container_of_mountinfo(text, n, f->container);
	}
	free(text);
}
