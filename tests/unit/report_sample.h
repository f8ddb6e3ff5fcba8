/* Reports as the makers of exporters/crash and exporters/errors leave them, but constant. */
#ifndef REMORA_TEST_REPORT_SAMPLE_H
#define REMORA_TEST_REPORT_SAMPLE_H

#include "exporters/crash/report.h"
#include "exporters/rollbar/rollbar.h"

#define SAMPLE_UUID "6f1d7a52-3b0e-4c1d-9a55-0123456789ab"

static const char *const sample_pre[] = {"void parse_order(int *p)", "{", NULL}, *const sample_post[] = {"}", NULL};
static const char *const sample_process[] = {
	"exe=/srv/app/bin/app",
	"comm=app",
	"args=app\x1f--port\x1f"
	"80",
	"cwd=/srv/app",
	"service_name=orders",
	"resource_attributes=service.version=1.2.3,deployment.environment.name=staging",
	NULL,
};
static struct report_frame sample_frames[] = {
	{
		.ip = 0x5555000011f0,
		.function = "parse_order",
		.file = "/srv/app/order.c",
		.line = 41,
		.column = 5,
		.module = "/srv/app/bin/app",
		.offset = 0x11f0,
		.build_id = "abcd",
		.code = "*p = 1;",
		.pre = sample_pre,
		.post = sample_post,
		.in_app = true,
	},
	{.ip = 0x7fff00001000, .module = "/usr/lib/libz.so.1", .offset = 0x1000, .build_id = "beef", .in_app = true},
	{
		.ip = 0x555500002000,
		.function = "main",
		.file = "/srv/app/main.c",
		.line = 88,
		.module = "/srv/app/bin/app",
		.offset = 0x2000,
		.in_app = true,
		.repeated = 3,
	},
};
static struct report_exception sample_exceptions[] = {
	{.type = "SIGSEGV", .message = "Address not mapped to object at 0x0", .n = 3, .frames = sample_frames},
	{.type = "Cause", .message = "why", .n = 1, .frames = sample_frames + 2},
};
static struct report_thread sample_threads[] = {
	{.tid = 71, .name = "worker-3", .crashed = true, .n = 3, .frames = sample_frames},
	{.tid = 70, .name = "app", .n = 1, .frames = sample_frames + 2},
};
static struct report_module sample_modules[] = {
	{"/srv/app/bin/app", "abcd", 0x555500000000},
	{"/usr/lib/libz.so.1", "beef", 0x7fff00000000},
};
static struct crash_head sample_head = {
	.magic = CRASH_MAGIC,
	.layout = CRASH_LAYOUT,
	.done = 1,
	.pid = 70,
	.tid = 71,
	.time_ns = 1780000000123456789u,
	.up_ns = 42000000000u,
	.signo = 11,
	.si_code = 1,
	.comm = "worker-3",
	.slot = UINT32_MAX,
	.trace_id = {0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36},
	.span_id = {0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7},
};

__attribute__((unused)) static struct report sample_crash(void)
{
	struct report r = {
		.source = REPORT_SIGNAL,
		.uuid = SAMPLE_UUID,
		.pid = 70,
		.tid = 71,
		.time_ns = 1780000000123456789u,
		.level = "critical",
		.language = "c",
		.title = "SIGSEGV in parse_order (order.c:41)",
		.fingerprint = "0123456789abcdef0123456789abcdef01234567",
		.n_exceptions = 1,
		.exceptions = sample_exceptions,
		.n_threads = 2,
		.threads = sample_threads,
		.head = &sample_head,
		.unwind = "dwarf",
		.description = "write to NULL, thread worker-3 (tid 71)",
		.n_modules = 2,
		.modules = sample_modules,
		.process = sample_process,
		.text = "#0 parse_order () at order.c:41\n#1 main () at main.c:88\n",
		.complete = true,
	};
	memcpy(r.trace_id, sample_head.trace_id, 16);
	memcpy(r.span_id, sample_head.span_id, 8);
	return r;
}

/* A record of any kind, for requests and timelines. */
__attribute__((unused)) static struct span_copy sample_span(uint8_t kind, const char *target, uint64_t at_ms)
{
	struct span_copy c;
	memset(&c, 0, sizeof c);
	c.rec.state = SLOT_TAKEN;
	c.rec.kind = kind;
	c.rec.method = 1;
	c.rec.status = 200;
	c.rec.pid = 70;
	c.rec.start_ns = at_ms * 1000000u;
	c.rec.end_ns = c.rec.start_ns + 5000000u;
	c.rec.peer = (struct rec_addr){.ip = {203, 0, 113, 9}, .port = 4000, .family = 4};
	c.rec.local = (struct rec_addr){.ip = {10, 0, 0, 1}, .port = 8080, .family = 4};
	const char *strings[][2] = {{"\1", target}, {"\2", "shop.example"}, {"\3", "curl/8"}};
	for (int i = 0; i < 3; i++) {
		uint16_t n = (uint16_t)strlen(strings[i][1]);
		char *p = c.rec.var + c.rec.var_len;
		p[0] = strings[i][0][0];
		p[1] = 0;
		memcpy(p + 2, &n, 2);
		memcpy(p + 4, strings[i][1], n);
		c.rec.var_len += 4u + n;
	}
	return c;
}

#endif
