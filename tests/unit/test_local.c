/* The state directory: who may read it, what is kept, and names that come back. */
#include "report_sample.h"
#include "unit.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static char dir[64];

static struct local *fresh(void)
{
	strcpy(dir, "/tmp/remora-local-XXXXXX");
	OK(mkdtemp(dir));
	char deep[128];
	snprintf(deep, sizeof deep, "%s/a/state", dir);
	struct local *l = local_new(deep);
	OK(l);
	return l;
}

static void end(struct local *l)
{
	char cmd[128];
	local_delete(l);
	snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
	OK(system(cmd) == 0);
}

static unsigned mode(const char *rest)
{
	struct stat st;
	char path[512];
	snprintf(path, sizeof path, "%s/a/%s", dir, rest);
	OK(stat(path, &st) == 0);
	return st.st_mode & 07777;
}

TEST(private_files)
{
	struct local *l = fresh();
	struct buf b = {0};
	umask(0);
	OK(!local_read(l, LOCAL_SPOOL, "x", &b));
	EQ_INT(errno, ENOENT);
	OK(local_write(l, LOCAL_SPOOL, "x", "hello", 5));
	OK(local_write(l, LOCAL_SPOOL, "x", "again", 5));
	EQ_INT(mode("state"), 0700);
	EQ_INT(mode("state/spool"), 0700);
	EQ_INT(mode("state/spool/x"), 0600);
	OK(local_read(l, LOCAL_SPOOL, "x", &b));
	EQ_MEM(b.p, b.n, "again", 5);
	buf_free(&b);
	size_t n;
	char **names = local_names(l, LOCAL_SPOOL, &n);
	EQ_INT(n, 1);
	EQ_STR(names[0], "x");
	local_names_free(names);
	OK(local_remove(l, LOCAL_SPOOL, "x"));
	end(l);
}

TEST(open_directories_and_links_are_refused)
{
	struct local *l = fresh();
	char path[128], file[160];
	struct buf b = {0};
	OK(local_write(l, LOCAL_SPOOL, "x", "hello", 5));
	snprintf(path, sizeof path, "%s/a/state", dir);
	OK(chmod(path, 0755) == 0);
	OK(!local_write(l, LOCAL_SPOOL, "y", "hello", 5));
	EQ_INT(errno, EPERM);
	OK(chmod(path, 0700) == 0);
	snprintf(file, sizeof file, "%s/spool/link", path);
	OK(symlink("/etc/passwd", file) == 0);
	OK(!local_read(l, LOCAL_SPOOL, "link", &b));
	snprintf(file, sizeof file, "%s/spool/pipe", path);
	OK(mkfifo(file, 0600) == 0);
	OK(!local_read(l, LOCAL_SPOOL, "pipe", &b));
	end(l);
}

/* close_range takes our descriptor, and the number becomes a file of the program's. */
TEST(descriptor_taken_away)
{
	struct local *l = fresh();
	OK(local_write(l, LOCAL_SPOOL, "x", "hello", 5));
	int other = open("/tmp", O_RDONLY | O_DIRECTORY);
	for (int fd = 400; fd < 600; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			dup2(other, fd);
	OK(local_write(l, LOCAL_SPOOL, "y", "hello", 5));
	EQ_INT(mode("state/spool/y"), 0600);
	end(l);
}

TEST(no_place)
{
	struct local *l = local_new(NULL);
	struct buf b = {0};
	size_t n;
	OK(!local_write(l, LOCAL_SPOOL, "x", "", 0) && !local_read(l, LOCAL_SPOOL, "x", &b));
	char **names = local_names(l, LOCAL_SPOOL, &n);
	EQ_INT(n, 0);
	local_names_free(names);
	local_delete(l);
}

TEST(spool_names)
{
	struct spool_name s = {.ms = 1780000000123, .uuid = SAMPLE_UUID, .key = 0xfeed, .pid = 70, .start = 12345}, t;
	char name[LOCAL_NAME];
	spool_name_write(&s, name);
	EQ_STR(name, "1780000000123-" SAMPLE_UUID ".000000000000feed.70-12345.json");
	OK(spool_name_read(name, &t));
	OK(t.ms == s.ms && t.key == s.key && t.pid == 70 && t.start == 12345 && !t.parked);
	EQ_STR(t.uuid, SAMPLE_UUID);
	for (size_t i = 0; i < strlen(name); i++) {
		char bad[LOCAL_NAME];
		unit_case("cut at %zu", i);
		snprintf(bad, sizeof bad, "%.*s", (int)i, name);
		OK(!spool_name_read(bad, &t));
		snprintf(bad, sizeof bad, "%s", name);
		bad[i] = '/';
		OK(!spool_name_read(bad, &t));
	}
}

TEST(spool_is_trimmed)
{
	struct local *l = fresh();
	struct spool_name s = {.uuid = SAMPLE_UUID};
	char name[LOCAL_NAME];
	const uint64_t now = 1780000000000, day = 86400000;
	for (unsigned i = 0; i < 70; i++) {
		s.ms = now - i * 1000;
		spool_name_write(&s, name);
		OK(local_write(l, LOCAL_SPOOL, name, "x", 1));
	}
	EQ_INT(local_spool_trim(l, now), 70 - LOCAL_SPOOL_MOST);
	EQ_INT(local_spool_trim(l, now), 0);
	s.ms = now;
	spool_name_write(&s, name); /* the newest is still there */
	struct buf b = {0};
	OK(local_read(l, LOCAL_SPOOL, name, &b));
	buf_free(&b);
	EQ_INT(local_spool_trim(l, now + 8 * day), LOCAL_SPOOL_MOST);
	end(l);
}

TEST(store_keeps_the_last)
{
	struct local *l = fresh();
	struct report r = sample_crash();
	struct buf json = {0};
	buf_add(&json, "{}", 2);
	for (unsigned i = 0; i < LOCAL_CRASHES_MOST + 5; i++) {
		r.time_ns = (1780000000ull + i) * 1000000000u;
		OK(local_keep(l, &r, "/srv/app/bin/a b/../app", &json));
	}
	size_t n;
	char **names = local_names(l, LOCAL_CRASHES, &n);
	EQ_INT(n, 2 * LOCAL_CRASHES_MOST);
	struct local_entry e;
	OK(local_entry_name(names[1], &e));
	EQ_STR(e.time, "2026-05-28T20:26:45Z");
	EQ_STR(e.program, "app");
	EQ_STR(e.uuid, SAMPLE_UUID);
	struct buf text = {0};
	OK(local_read(l, LOCAL_CRASHES, names[1], &text));
	local_entry_title(text.p, text.n, &e);
	EQ_STR(e.title, "SIGSEGV in parse_order (order.c:41)");
	buf_add(&text, "", 1);
	OK(strstr(text.p, "\ntrace: 4bf92f3577b34da6a3ce929d0e0e4736\n"));
	OK(strstr(text.p, "\n#1 main () at main.c:88\n"));
	buf_free(&text);
	buf_free(&json);
	local_names_free(names);
	end(l);
}

TEST(text_without_a_trace_of_its_own)
{
	struct report r = sample_crash();
	struct buf b = {0};
	r.text = NULL;
	r.title = "evil \x1b[2J\xc2\x9b title\nsecond";
	local_text(&b, &r, "app");
	buf_add(&b, "", 1);
	OK(strncmp(b.p, "evil  [2J   title second\n", 24) == 0);
	OK(strstr(b.p, "#0  parse_order at /srv/app/order.c:41\n"));
	OK(strstr(b.p, "#1  ?? from /usr/lib/libz.so.1+0x1000\n"));
	OK(strstr(b.p, "repeated 3 times more"));
	buf_free(&b);
}

TEST(ten_an_hour)
{
	struct buf text = {0};
	uint32_t suppressed;
	uint64_t t = 1780000000;
	for (int i = 0; i < 30; i++)
		EQ_INT(limits_admit(&text, "abc", t + i, &suppressed), i < LIMIT_PER_HOUR);
	OK(limits_admit(&text, "def", t + 40, &suppressed));
	EQ_INT(suppressed, 0);
	OK(limits_admit(&text, "abc", t + 3601, &suppressed));
	EQ_INT(suppressed, 20);
	OK(limits_admit(&text, "abc", t - 100000, &suppressed)); /* the clock was set back */
	buf_free(&text);
	buf_add(&text, "garbage\nabc 1 2\n\n", 17);
	OK(limits_admit(&text, "abc", t, &suppressed));
	buf_free(&text);
	for (int i = 0; i < 1000; i++) {
		char name[16];
		snprintf(name, sizeof name, "%x", 4096 + i);
		OK(limits_admit(&text, name, t, &suppressed));
	}
	OK(text.n < 256 * 64);
	buf_free(&text);
}

/* The file says so to the next exporter too. */
TEST(limits_hold_over_restarts)
{
	struct local *l = fresh();
	struct buf none = {0};
	uint32_t suppressed;
	for (int i = 0; i < 15; i++) {
		char path[128];
		EQ_INT(local_admit(l, &none, "abc", 1780000000, &suppressed), i < LIMIT_PER_HOUR);
		snprintf(path, sizeof path, "%s", local_path(l));
		local_delete(l);
		l = local_new(path);
	}
	EQ_INT(none.n, 0);
	end(l);
	l = local_new(NULL);
	for (int i = 0; i < 15; i++)
		EQ_INT(local_admit(l, &none, "abc", 1780000000, &suppressed), i < LIMIT_PER_HOUR);
	buf_free(&none);
	local_delete(l);
}
