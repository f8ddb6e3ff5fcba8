/* The black box: what trees that died left behind is sent by the next start, once. */
#include "export_host.h"
#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>

static char dir[256];

static void begin(void)
{
	char name[] = "/dev/shm/remora-unit-XXXXXX";
	OK(mkdtemp(name));
	runtime_dir(name, NULL, dir, sizeof dir);
	EQ_STR(dir, name);
	web_bind();
	fake_env("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:%d", web.port);
	fake_env("OTEL_BSP_SCHEDULE_DELAY=20");
	fake_env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE=16");
	fake_host(1 << 20);
	fake.host.dir = dir;
}

static unsigned files(void)
{
	unsigned n = 0;
	DIR *d = opendir(dir);
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static void end(void)
{
	OK(rmdir(dir) == 0);
}

static struct arena *attach(void)
{
	bool black_box = false;
	struct arena_ident who = {
		.pid = getpid(),
		.start = proc_start_time(getpid()),
		.root_pid = getpid(),
		.root_start = proc_start_time(getpid()),
		.hash = fake.host.arena->hash,
		.max_bytes = 1 << 20,
		.dir = dir,
	};
	struct arena *a = arena_attach(&who, &black_box);
	OK(a && black_box);
	return a;
}

/* A tree that dies with n complete records and `open` requests in flight. */
static void dead_tree(unsigned n, unsigned open)
{
	static unsigned number = 1000;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		fake.host.arena = attach();
		for (unsigned i = 0; i < n; i++)
			fake_commit(fake_span(number + i, "/dead"));
		for (unsigned i = 0; i < open; i++)
			fake_span(number + n + i, "/open");
		kill(getpid(), SIGKILL);
	}
	number += n + open;
	int st;
	OK(waitpid(pid, &st, 0) == pid && WIFSIGNALED(st));
}

TEST(delivered_by_the_next_start)
{
	begin();
	dead_tree(100, 3);
	EQ_INT(files(), 1);
	web_listen();
	fake_start();
	fake_spans(5);
	WAIT_FOR(web.spans == 108, 5000);
	WAIT_FOR(files() == 0, 2000);
	fake_stop(1000);
	end();
}

TEST(many_trees_and_empty_ones)
{
	begin();
	for (int i = 0; i < 12; i++)
		dead_tree(i % 3 ? 10 : 0, 0);
	EQ_INT(files(), 12);
	web_listen();
	fake_start();
	WAIT_FOR(web.spans == 80, 5000);
	WAIT_FOR(files() == 0, 2000);
	fake_stop(1000);
	end();
}

/* Nobody takes them, the exporter is told to stop: they wait for the next one. */
TEST(kept_while_the_collector_is_away)
{
	begin();
	dead_tree(40, 0);
	for (int i = 0; i < 3; i++) {
		fake_start();
		usleep(50000);
		EQ_INT(fake_stop(300), EXPORT_STOPPED);
		EQ_INT(files(), 1);
	}
	web_listen();
	fake_start();
	WAIT_FOR(web.spans == 40, 5000);
	WAIT_FOR(files() == 0, 2000);
	fake_stop(1000);
	EQ_INT(web.spans, 40);
	end();
}

/* The exporter's own process dies in mid-work; and the last process of a tree that ends well leaves nothing. */
TEST(killed_while_it_exports)
{
	begin();
	web_listen();
	web_reply(NULL, 60000, true);
	fflush(stdout);
	int go[2];
	OK(pipe(go) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		fake.host.arena = attach();
		fake_start();
		fake_spans(40);
		char c;
		(void)!read(go[0], &c, 1);
		kill(getpid(), SIGKILL);
	}
	WAIT_FOR(web.requests == 1, 5000); /* it holds 16 in flight, 24 in its queue */
	usleep(50000);
	OK(write(go[1], "x", 1) == 1);
	int st;
	OK(waitpid(pid, &st, 0) == pid && WIFSIGNALED(st));
	EQ_INT(files(), 1);
	fake.host.arena = attach();
	EQ_INT(files(), 2);
	fake_start();
	WAIT_FOR(web.spans == 40, 5000);
	WAIT_FOR(files() == 1, 2000);
	EQ_INT(fake_stop(1000), EXPORT_STOPPED);
	EQ_INT(files(), 0);
	end();
}
