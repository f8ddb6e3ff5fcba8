/* A process' resource from its description, and what is found in /proc, whose files hold what anybody wrote. */
#include "exporters/resource_detect.h"
#include "span_sample.h"

static const struct host_facts host = {
	.name = "box", .os_version = "6.1", .os_description = "Linux 6.1 #1", .arch = "amd64", .container = ""};
static struct resource *res;
static const char *bad;

static void build_n(const char *blob, size_t n)
{
	static const uint8_t instance[16] = {1, 2, 3, 4, 5, 6, 0xff, 8, 0xff, 10, 11, 12, 13, 14, 15, 16};
	struct unit_guarded g = unit_at_end(blob, n);
	struct process_facts f = {.pid = 42, .instance = instance, .owner = "www-data", .blob = g.p, .blob_len = n};
	unit_case("%s", unit_show(blob, n));
	free(res);
	res = resource_build(&host, &f, &bad);
	unit_unguard(g);
	OK(res);
	for (uint32_t i = 0; i < res->n; i++)
		OK(attr_named(res->attrs, i, res->attrs[i].key) == NULL); /* none twice */
	EQ_STR(res->service_name, attr_text(res->attrs, res->n, "service.name"));
}
#define BUILD(lit) build_n(lit, sizeof(lit) - 1)

static const char *get(const char *key)
{
	return attr_text(res->attrs, res->n, key);
}

TEST(a_process)
{
	BUILD("exe=/usr/bin/python3.11\0comm=gunicorn: worker\0args=python3\x1f-m\x1f\x1f"
	      "app\0service_name=shop\0resource_attributes=a=1\0ppid=41\0");
	EQ_STR(get("service.name"), "shop");
	EQ_STR(get("service.instance.id"), "01020304-0506-4f08-bf0a-0b0c0d0e0f10");
	EQ_STR(get("process.pid"), "42");
	EQ_STR(get("process.parent_pid"), "41");
	EQ_STR(get("process.executable.name"), "python3.11");
	EQ_STR(get("process.executable.path"), "/usr/bin/python3.11");
	EQ_STR(get("process.command"), "python3");
	EQ_STR(get("process.command_args"), "python3|-m||app");
	EQ_STR(get("process.owner"), "www-data");
	EQ_STR(get("host.name"), "box");
	EQ_STR(get("host.arch"), "amd64");
	EQ_STR(get("os.type"), "linux");
	EQ_STR(get("os.version"), "6.1");
	EQ_STR(get("os.description"), "Linux 6.1 #1");
	EQ_STR(get("container.id"), NULL);
	EQ_STR(get("telemetry.sdk.name"), "remora");
	EQ_STR(get("a"), "1");
	OK(get("telemetry.sdk.language") && get("telemetry.sdk.version") && get("telemetry.distro.name"));
	EQ_STR(bad, NULL);
	EQ_STR(res->attrs[0].key, "service.name");
	free(res);
}

TEST(nothing_known)
{
	struct process_facts f = {.blob = ""};
	res = resource_build(&(struct host_facts){0}, &f, &bad);
	EQ_STR(get("service.name"), "unknown_service");
	EQ_STR(get("process.pid"), NULL);
	EQ_STR(get("service.instance.id"), NULL);
	EQ_STR(get("process.command_args"), NULL);
	EQ_STR(get("host.name"), NULL);
	free(res);
}

TEST(service_name)
{
	BUILD("exe=/usr/bin/curl\0");
	EQ_STR(get("service.name"), "unknown_service:curl");
	BUILD("exe=/usr/bin/curl (deleted)\0comm=x\0");
	EQ_STR(get("service.name"), "unknown_service:curl");
	EQ_STR(get("process.executable.path"), "/usr/bin/curl");
	BUILD("comm=nginx\0");
	EQ_STR(get("service.name"), "unknown_service:nginx");
	BUILD("exe=/x\0resource_attributes=service.name=fromattr\0");
	EQ_STR(get("service.name"), "fromattr");
	BUILD("exe=/x\0resource_attributes=service.name=a,service.name=b\0service_name=fromname\0");
	EQ_STR(get("service.name"), "fromname");
	BUILD("exe=/x\0resource_attributes=service.name=\0service_name=\0");
	EQ_STR(get("service.name"), "unknown_service:x");
	BUILD("exe=/x\0service_name=caf\xe9\0");
	EQ_STR(get("service.name"), "caf\xef\xbf\xbd");
	free(res);
}

TEST(given_attributes)
{
	BUILD("resource_attributes=service.version=1.2, deployment.environment.name=pro%20d,team=a%2Cb%3Dc,service.namespace=n\0");
	EQ_STR(get("service.version"), "1.2");
	EQ_STR(get("deployment.environment.name"), "pro d");
	EQ_STR(get("team"), "a,b=c");
	EQ_STR(get("service.namespace"), "n");
	BUILD("resource_attributes= a = b=c ,,d=,%65=%22%5C%0a,f=%ff%00\xff,\0");
	EQ_STR(get("a"), "b=c");
	EQ_STR(get("d"), "");
	EQ_STR(get("e"), "\"\\\n");
	EQ_STR(get("f"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
	BUILD("resource_attributes=a=1,a=2\0");
	EQ_STR(get("a"), "2");
	EQ_STR(bad, NULL);
	free(res);
}

TEST(given_wins_over_found)
{
	BUILD("exe=/x\0args=x\x1fy\0ppid=7\0resource_attributes=host.name=h,process.pid=p,process.command_args=c,"
	      "service.instance.id=i,os.type=o,telemetry.sdk.name=t,process.parent_pid=q\0");
	EQ_STR(get("host.name"), "h");
	EQ_STR(get("process.pid"), "p");
	EQ_STR(get("process.command_args"), "c");
	EQ_STR(get("service.instance.id"), "i");
	EQ_STR(get("os.type"), "o");
	EQ_STR(get("telemetry.sdk.name"), "t");
	EQ_STR(get("process.parent_pid"), "q");
	free(res);
}

TEST(one_error_discards_all)
{
	static const char *const rows[] = {"good=1,bad=%zz", "good=1,bad=%2", "good=1,bad=%", "good=1,%g0=x", "good=1,bad",
	                                   "good=1,=x", "good=1,service.name=s,x"};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char blob[200];
		int n = snprintf(blob, sizeof blob, "exe=/x%cresource_attributes=%s", 0, rows[i]);
		build_n(blob, (size_t)n + 1);
		OK(bad != NULL);
		EQ_STR(get("good"), NULL);
		EQ_STR(get("bad"), NULL);
		EQ_STR(get("service.name"), "unknown_service:x");
		EQ_STR(get("host.name"), "box");
	}
	static char many[20000];
	int n = snprintf(many, sizeof many, "resource_attributes=");
	while (n < 19000)
		n += snprintf(many + n, sizeof many - (size_t)n, "k%d=v,", n);
	build_n(many, (size_t)n + 1);
	OK(bad != NULL);
	free(res);
}

/* Everything that may be in a description grows as much as it can. */
TEST(worst_case_sizes)
{
	static char blob[60000];
	for (size_t n = 1; n < 16000; n = n * 2 + 1)
		for (int k = 0; k < 3; k++) {
			char *p = blob, fill = "\x1f%\xff"[k];
			static const char *const names[] = {"exe", "comm", "args", "service_name"};
			for (int i = 0; i < 4; i++) {
				p += sprintf(p, "%s=/", names[i]);
				memset(p, fill, n / 2);
				p += n / 2;
				*p++ = 0;
			}
			p += sprintf(p, "resource_attributes=");
			for (size_t m = 0; m < n / 2 && m < 900 * 4; m += 4)
				p += sprintf(p, "%c%c=\xff,", 'a' + (int)(m / 4 % 26), 'a' + (int)(m / 104 % 26));
			build_n(blob, (size_t)(p - blob) + 1);
			EQ_STR(bad, NULL);
		}
	free(res);
}

TEST(descriptions_without_form)
{
	BUILD("");
	BUILD("exe");
	BUILD("\0\0\0");
	BUILD("=x\0exe=\0ppid=x\0args=\0");
	EQ_STR(get("process.parent_pid"), NULL);
	BUILD("args=\x1f");
	EQ_STR(get("process.command_args"), "|");
	BUILD("ppid=99999999999999999999");
	EQ_STR(get("process.parent_pid"), NULL);
	free(res);
}

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ECS "0123456789abcdef0123456789abcdef-1234567890"

TEST(containers_in_cgroup)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{"0::/\n", NULL},
		{"", NULL},
		{"12:memory:/user.slice\n0::/user.slice/user-0.slice/session-1.scope\n", NULL},
		{"13:name=systemd:/docker/" ID "\n", ID},
		{"0::/system.slice/docker-" ID ".scope", ID},
		{"0::/system.slice/docker-" ID ".scope/init.scope\n", ID},
		{"11:cpu:/kubepods/besteffort/pod1-2/" ID "\n", ID},
		{"11:cpu:/kubepods.slice/kubepods-pod1.slice/cri-containerd-" ID ".scope\n", ID},
		{"11:cpu:/kubepods.slice/kubepods-pod1.slice:cri-containerd:" ID "\n", ID},
		{"0::/machine.slice/libpod-" ID ".scope/container\n", ID},
		{"9:perf_event:/ecs/task/" ECS "\n", ECS},
		{"1:x:/docker/" ID "0\n", NULL},
		{"1:x:/docker/0123456789abcdef\n", NULL},
		{"1:x:/docker/0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef\n", NULL},
		{"1:x:/ecs/0123456789abcdef0123456789abcdef-\n", NULL},
		{"1:x:/ecs/0123456789abcdef0123456789abcdef-12345678901\n", NULL},
		{"no slash\n/\n//\n\n", NULL},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char id[80] = "";
		struct unit_guarded g = unit_at_end(rows[i].text, strlen(rows[i].text));
		unit_case("%s", rows[i].text);
		EQ_INT(container_of_cgroup(g.p, strlen(rows[i].text), id), rows[i].want != NULL);
		EQ_STR(id, rows[i].want ? rows[i].want : "");
		unit_unguard(g);
	}
}

TEST(containers_in_mountinfo)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{"", NULL},
		{"36 35 98:0 / / rw,noatime master:1 - ext4 /dev/root rw\n", NULL},
		{"1 2 8:1 /var/lib/docker/containers/" ID "/hostname /etc/hostname rw - ext4 /dev/sda rw\n", ID},
		{"1 2 8:1 / / rw - ext4 x\n1 2 0:5 /containers/storage/overlay-containers/" ID "/userdata/hosts /etc/hosts rw", ID},
		{"1 2 8:1 /run/containerd/io.containerd.grpc.v1.cri/sandboxes/" ID "/hostname /etc/hostname rw\n", NULL},
		{"1 2 8:1 /containers/" ID, NULL},
		{"1 2 8:1 /containers/", NULL},
		{"1 2 8:1 /containers/containers/" ID "/x\n", ID},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char id[80] = "";
		struct unit_guarded g = unit_at_end(rows[i].text, strlen(rows[i].text));
		unit_case("%s", rows[i].text);
		EQ_INT(container_of_mountinfo(g.p, strlen(rows[i].text), id), rows[i].want != NULL);
		EQ_STR(id, rows[i].want ? rows[i].want : "");
		unit_unguard(g);
	}
}

TEST(user_names)
{
	static const char passwd[] = "root:x:0:0:root:/root:/bin/bash\n# remark\n::\n:x:7:\nbad:x:33x:\nbad:x::\n"
								 "www-data:x:33:33:www:/:/bin/sh\nlate:x:4294967296:\nlast:x:9:";
	static const struct {
		unsigned uid;
		const char *want;
	} rows[] = {{0, "root"}, {33, "www-data"}, {9, "last"}, {7, NULL}, {1, NULL}};
	struct unit_guarded g = unit_at_end(passwd, sizeof passwd - 1);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char name[9] = "";
		unit_case("uid %u", rows[i].uid);
		EQ_INT(name_of_uid(g.p, sizeof passwd - 1, rows[i].uid, name, sizeof name), rows[i].want != NULL);
		EQ_STR(name, rows[i].want ? rows[i].want : "");
	}
	char small[8];
	OK(!name_of_uid(g.p, sizeof passwd - 1, 33, small, sizeof small));
	unit_unguard(g);
}

TEST(this_machine)
{
	struct host_facts f;
	host_facts_read(&f);
	OK(f.name[0] && f.os_version[0] && f.os_description[0] && f.arch[0]);
	EQ_STR(arch_of_machine("x86_64"), "amd64");
	EQ_STR(arch_of_machine("s390x"), "s390x");
}

/* ---- the cache ---- */

static struct rec_view of(struct arena *a, struct sample *s, uint32_t index)
{
	s->view.proc = index < ARENA_PROCS ? &a->procs[index] : NULL;
	return s->view;
}

TEST(one_resource_per_process)
{
	static const char blob[] = "exe=/bin/a\0service_name=one\0", other[] = "exe=/bin/b\0service_name=two\0";
	struct arena *a = arena_new_anonymous(ARENA_FIRST, 1);
	uint8_t id[16] = {1}, id2[16] = {2};
	uint64_t start = proc_start_time(getpid());
	uint32_t one = arena_proc_add(a, getpid(), start, id, blob, sizeof blob - 1);
	uint32_t two = arena_proc_add(a, getppid(), proc_start_time(getppid()), id2, other, sizeof other - 1);
	OK(one != two && two < ARENA_PROCS);
	struct sample s = sample_new(SPAN_SERVER);
	struct resources *r = resources_new(&no_limits);
	struct rec_view v1 = of(a, &s, one), v2 = of(a, &s, two), v3 = of(a, &s, ARENA_PROCS);
	const struct resource *r1 = resource_of(r, a, &v1), *r2 = resource_of(r, a, &v2), *r3 = resource_of(r, a, &v3);
	EQ_STR(r1->service_name, "one");
	EQ_STR(r2->service_name, "two");
	EQ_STR(r3->service_name, "unknown_service");
	EQ_STR(attr_text(r1->attrs, r1->n, "process.executable.name"), "a");
	OK(attr_text(r1->attrs, r1->n, "process.owner") != NULL);
	EQ_INT(r1->pid, getpid());
	EQ_STR(attr_text(r3->attrs, r3->n, "process.pid"), "4711");
	OK(resource_of(r, a, &v1) == r1 && resource_of(r, a, &v2) == r2 && resource_of(r, a, &v3) == r3);

	/* The entry becomes another process; what was handed out stays valid until the trim. */
	memcpy(a->procs[two].instance, id, 16);
	const struct resource *r4 = resource_of(r, a, &v2);
	OK(r4 != r2);
	EQ_STR(r2->service_name, "two");
	resources_trim(r, a);
	OK(resource_of(r, a, &v1) == r1 && resource_of(r, a, &v2) == r4);
	atomic_store(&a->procs[one].used, 0);
	resources_trim(r, a);
	OK(resource_of(r, a, &v2) == r4);
	resources_delete(r);
}

TEST(many_unknown_processes)
{
	struct arena *a = arena_new_anonymous(ARENA_FIRST, 1);
	struct resources *r = resources_new(&no_limits);
	struct sample s = sample_new(SPAN_SERVER);
	const struct resource *last = NULL;
	for (int pid = 1; pid < 10000; pid++) {
		s.rec->pid = pid;
		last = resource_of(r, a, &s.view);
		EQ_STR(last->service_name, "unknown_service");
	}
	EQ_STR(attr_text(last->attrs, last->n, "process.pid"), NULL);
	s.rec->pid = 5;
	last = resource_of(r, a, &s.view);
	EQ_STR(attr_text(last->attrs, last->n, "process.pid"), "5");
	resources_trim(r, a);
	resources_delete(r);
}
