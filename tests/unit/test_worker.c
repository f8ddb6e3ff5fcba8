/* The exporter as a whole, in this process: a fake host, an anonymous arena, a scripted server. */
#include "export_host.h"

static void begin(const char *delay_ms)
{
	web_bind();
	fake_env("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:%d", web.port);
	fake_env("OTEL_BSP_SCHEDULE_DELAY=%s", delay_ms);
	fake_host(1 << 20);
}

/* Every slot that was ever used is free again. */
static unsigned in_use(void)
{
	unsigned n = 0;
	for (uint32_t i = 0; i < arena_slots(fake.host.arena); i++)
		n += arena_slot(fake.host.arena, i)->state != SLOT_FREE;
	return n;
}

TEST(delivers_over_one_connection)
{
	begin("20");
	web_listen();
	fake_start();
	for (int i = 0; i < 5; i++) {
		fake_spans(10);
		WAIT_FOR(web.spans == 10u * (i + 1), 5000);
	}
	EQ_INT(web.connections, 1);
	OK(strstr(web.head, "POST /v1/traces HTTP/1.1\r\n"));
	OK(strstr(web.head, "\r\nContent-Type: application/x-protobuf\r\n"));
	OK(strstr(web.head, "\r\nUser-Agent: remora/0.1.0 OTel-OTLP-Exporter-C/0.1.0\r\n"));
	OK(!strcasestr(web.head, "\r\nExpect:"));
	EQ_INT(fake_stop(1000), EXPORT_STOPPED);
	EQ_INT(fake_count(COUNT_SENT), 50);
	EQ_INT(in_use(), 0);
	EQ_STR(fake_text(), "");
}

TEST(full_batch_does_not_wait)
{
	begin("60000");
	fake_env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE=20");
	web_listen();
	fake_start();
	fake_spans(1);
	usleep(50000);
	fake_spans(19);
	WAIT_FOR(web.spans == 20, 3000);
	EQ_INT(web.requests, 1);
	fake_stop(1000);
}

TEST(delay_gathers)
{
	begin("300");
	web_listen();
	fake_start();
	uint64_t start = mono_ns();
	for (int i = 0; i < 10; i++) {
		fake_spans(1);
		usleep(10000);
	}
	WAIT_FOR(web.spans == 10, 3000);
	OK(mono_ns() - start >= 290 * MS);
	EQ_INT(web.requests, 1);
	fake_stop(1000);
}

TEST(flush_sends_at_once_and_stop_too)
{
	begin("60000");
	web_listen();
	fake_start();
	fake_spans(7);
	OK(fake_flush(5000) < 1000);
	EQ_INT(web.spans, 7);
	fake_spans(5);
	EQ_INT(fake_stop(5000), EXPORT_STOPPED);
	EQ_INT(web.spans, 12);
}

TEST(flush_does_not_wait_for_an_absent_collector)
{
	begin("60000");
	fake_start();
	fake_spans(3);
	OK(fake_flush(5000) < 1000);
	EQ_INT(fake_count(COUNT_SENT), 0);
	/* The collector is back: the next flush does not wait for the backoff. */
	web_listen();
	OK(fake_flush(5000) < 1000);
	EQ_INT(web.spans, 3);
	fake_stop(100);
}

TEST(flush_is_bounded_when_nobody_answers)
{
	begin("60000");
	web_listen();
	web_reply(NULL, 30000, true);
	fake_start();
	fake_spans(3);
	unsigned ms = fake_flush(300);
	OK(ms >= 290 && ms < 600);
	fake_spans(2);
	uint64_t start = mono_ns();
	EQ_INT(fake_stop(200), EXPORT_STOPPED);
	OK(mono_ns() - start < 600 * MS);
	/* A successor finds everything, and tells it. */
	fake_start();
	EQ_INT(fake_stop(3000), EXPORT_STOPPED);
	EQ_INT(web.spans, 5);
	EQ_INT(in_use(), 0);
}

static void retried(const char *answer, bool close_after)
{
	begin("20");
	web_listen();
	web_reply(answer, 0, close_after);
	fake_start();
	fake_spans(4);
	WAIT_FOR(web.requests == 2, 5000);
	WAIT_FOR(fake_count(COUNT_SENT) == 4, 1000);
	OK(web.times[1] - web.times[0] > 700 * MS);
	EQ_INT(web.spans, 4);
	fake_stop(1000);
	EQ_INT(in_use(), 0);
}
#define STATUS(line) "HTTP/1.1 " line "\r\nContent-Length: 0\r\n\r\n"
TEST(retries_429)
{
	retried(STATUS("429 Too Many Requests"), false);
}
TEST(retries_503)
{
	retried(STATUS("503 Service Unavailable"), false);
}
TEST(retries_garbage)
{
	retried("\x01\x02garbage\r\n\r\n", true);
}
TEST(retries_a_cut_head)
{
	retried("HTTP/1.1 200 OK\r\nContent-Le", true);
}
TEST(retry_after)
{
	begin("20");
	web_listen();
	web_reply("HTTP/1.1 503 x\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n", 0, false);
	fake_start();
	fake_spans(4);
	WAIT_FOR(web.requests == 1, 2000);
	usleep(100000);
	OK(fake_flush(5000) < 100); /* the receiver said when: not before */
	EQ_INT(web.requests, 1);
	WAIT_FOR(web.spans == 4, 5000);
	uint64_t ms = (web.times[1] - web.times[0]) / MS;
	OK(ms >= 1950 && ms < 2500);
	fake_stop(1000);
}

static void refused(const char *answer, unsigned lost)
{
	begin("20");
	web_listen();
	web_reply(answer, 0, false);
	fake_start();
	fake_spans(4);
	WAIT_FOR(fake_count(COUNT_DROP_REFUSED) == lost, 3000);
	fake_spans(1);
	WAIT_FOR(web.requests == 2, 3000);
	WAIT_FOR(fake_count(COUNT_SENT) == 5 - lost, 3000);
	fake_stop(1000);
	EQ_INT(in_use(), 0);
}
TEST(does_not_retry_400)
{
	refused("HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-protobuf\r\nContent-Length: 7\r\n\r\n\x08\x03\x12\x03"
	        "bad",
	        4);
	OK(strstr(fake_text(), "400") && strstr(fake_text(), "bad"));
}
TEST(does_not_retry_500)
{
	refused(STATUS("500 Oops"), 4);
}
TEST(does_not_follow_redirects)
{
	refused("HTTP/1.1 307 x\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", 4);
}
TEST(partial_success)
{
	refused("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 68\r\n\r\n"
	        "{\"partialSuccess\":{\"rejectedSpans\":\"3\",\"errorMessage\":\"three bad\"} }",
	        3);
	OK(strstr(fake_text(), "three bad"));
}
TEST(a_cut_body_of_a_200_is_no_reason_to_repeat)
{
	begin("20");
	web_listen();
	web_reply("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", 0, true);
	fake_start();
	fake_spans(4);
	WAIT_FOR(fake_count(COUNT_SENT) == 4, 3000);
	usleep(100000);
	EQ_INT(web.requests, 1);
	fake_stop(1000);
}

TEST(attempt_times_out)
{
	begin("20");
	fake_env("OTEL_EXPORTER_OTLP_TIMEOUT=300");
	web_listen();
	web_reply(NULL, 10000, true);
	fake_start();
	fake_spans(4);
	WAIT_FOR(web.spans == 4, 6000);
	OK(web.times[1] - web.times[0] >= 900 * MS);
	OK(web.connections >= 2);
	fake_stop(1000);
}

TEST(expires)
{
	begin("20");
	fake_env("OTEL_BSP_EXPORT_TIMEOUT=500");
	fake_start();
	fake_spans(4);
	WAIT_FOR(fake_count(COUNT_DROP_EXPIRED) == 4, 5000);
	fake_stop(100);
	EQ_INT(in_use(), 0);
}

TEST(queue_limit)
{
	begin("20");
	fake.host.log_level = LOG_DEBUG;
	fake_env("OTEL_BSP_MAX_QUEUE_SIZE=64");
	fake_env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE=16");
	web_listen();
	web_reply(REPLY_200, 700, false);
	fake_start();
	fake_spans(16);
	WAIT_FOR(web.requests == 1, 2000);
	for (int i = 0; i < 40; i++) {
		fake_spans(10);
		usleep(1000);
	}
	WAIT_FOR(web.spans == 80, 5000);
	fake_stop(1000);
	EQ_INT(fake_count(COUNT_DROP_QUEUE), 336);
	OK(strstr(fake_text(), "dropped"));
	OK(strstr(fake_text(), "336"));
	EQ_INT(in_use(), 0);
}

/* Nobody takes anything: hosts can still open requests, and memory ends where it should. */
TEST(arena_is_not_filled_up)
{
	begin("20");
	fake_env("OTEL_BSP_EXPORT_TIMEOUT=0");
	fake_start();
	for (int i = 0; i < 200; i++) {
		fake_spans(50);
		usleep(1000);
	}
	usleep(50000);
	struct arena *a = fake.host.arena;
	EQ_INT(arena_slots(a), arena_local(a)->max_slots);
	OK(fake_count(COUNT_DROP_QUEUE) > 5000);
	struct span_rec *r[100];
	for (int i = 0; i < 100; i++)
		OK((r[i] = arena_open(a, getpid())));
	for (int i = 0; i < 100; i++)
		arena_discard(a, r[i]);
	fake_stop(50);
}

TEST(two_destinations_are_apart)
{
	begin("20");
	fake_env("HONEYCOMB_API_KEY=abcdefgh");
	fake_env("HONEYCOMB_API_ENDPOINT=http://127.0.0.1:1");
	web_listen();
	fake_start();
	for (int i = 0; i < 20; i++) {
		fake_spans(300);
		WAIT_FOR(web.spans == 300u * (i + 1), 5000);
	}
	EQ_INT(fake_count(COUNT_DROP_FULL), 0);
	OK(fake_count(COUNT_DROP_QUEUE) > 0); /* Honeycomb's */
	OK(!strstr(web.head, "abcdefgh"));
	fake_stop(50);
}

TEST(absent_then_present)
{
	begin("20");
	fake_start();
	fake_spans(200);
	usleep(300000);
	web_listen();
	WAIT_FOR(web.spans == 200, 8000);
	fake_stop(100);
	EQ_INT(in_use(), 0);
}

/* A record that another process has spoilt costs nobody else's, and is counted once; none of them is a request. */
TEST(spoilt_records_are_left_out)
{
	begin("50");
	web_listen();
	fake_spans(2);
	struct span_rec *bad = fake_span(1000, "/bad");
	bad->status = 1000;
	fake_commit(bad);
	fake_spans(3);
	fake_start();
	WAIT_FOR(web.spans == 5, 3000);
	bad = fake_span(1001, "/bad");
	bad->peer.family = 5;
	fake_commit(bad);
	WAIT_FOR(fake_count(COUNT_DROP_BAD) == 2, 3000);
	EQ_INT(fake_stop(1000), EXPORT_STOPPED);
	EQ_INT(web.requests, 1);
	EQ_INT(fake_count(COUNT_SENT), 5);
	EQ_INT(fake_count(COUNT_DROP_BAD), 2);
	EQ_INT(fake_count(COUNT_DROP_REFUSED), 0);
	EQ_INT(in_use(), 0);
}

/* Answers take their time while records stream in. */
TEST(slow_answers_to_a_stream)
{
	begin("60000");
	fake_env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE=100");
	for (int i = 0; i < 20; i++)
		web_reply(REPLY_200, 15, false);
	web_listen();
	fake_start();
	for (unsigned made = 10; made <= 2000; made += 10) {
		fake_spans(10);
		WAIT_FOR(web.spans + 150 >= made, 5000); /* a batch on its way, and the next not yet full */
	}
	WAIT_FOR(web.spans == 2000, 5000);
	fake_spans(1);
	OK(fake_flush(5000) < 1000);
	EQ_INT(web.spans, 2001);
	EQ_INT(fake_stop(1000), EXPORT_STOPPED);
	EQ_INT(fake_count(COUNT_SENT), 2001);
	EQ_INT(web.connections, 1);
	EQ_INT(in_use(), 0);
}

TEST(gzip_and_json)
{
	begin("20");
	fake_env("OTEL_EXPORTER_OTLP_COMPRESSION=gzip");
	fake_env("OTEL_EXPORTER_OTLP_PROTOCOL=http/json");
	fake_env("OTEL_EXPORTER_OTLP_HEADERS=x-one=1%%2C,x-empty=");
	web_listen();
	fake_start();
	fake_spans(100);
	WAIT_FOR(fake_count(COUNT_SENT) == 100, 3000);
	OK(strstr(web.head, "\r\nContent-Encoding: gzip\r\n") && strstr(web.head, "\r\nContent-Type: application/json\r\n"));
	OK(strstr(web.head, "\r\nx-one: 1,\r\n") && strstr(web.head, "\r\nx-empty:\r\n"));
	EQ_MEM(web.body, 2, "\x1f\x8b", 2);
	fake_stop(100);
}

TEST(idle_ends_when_no_connection_is_open)
{
	begin("20");
	web_listen();
	fake.busy = false;
	fake_start();
	fake_spans(1);
	WAIT_FOR(web.spans == 1, 3000);
	WAIT_FOR(!arena_lease_alive(fake.host.arena), 40000);
	pthread_join(fake.thread, NULL);
	EQ_INT(fake.end, EXPORT_IDLE);
}

static void nothing(void)
{
}

TEST(second_exporter_gets_no_lease)
{
	begin("20");
	web_listen();
	fake_start();
	WAIT_FOR(arena_lease_alive(fake.host.arena), 3000);
	usleep(50000);
	static struct export_host other;
	other = fake.host;
	other.run_enter = other.run_leave = nothing;
	EQ_INT(remora_export_main(&other), EXPORT_NO_LEASE);
	other.version++;
	EQ_INT(remora_export_main(&other), EXPORT_UNFIT);
	fake_stop(100);
}

/* A lock on the host's side that our loop must not hold while it waits; see fake_enter. */
TEST(many_starts_and_stops)
{
	begin("20");
	web_listen();
	for (unsigned i = 1; i <= 300; i++) {
		fake_start();
		if (i % 2)
			fake_spans(3);
		EQ_INT(fake_stop(2000), EXPORT_STOPPED);
	}
	EQ_INT(web.spans, 450);
	EQ_INT(in_use(), 0);
}

/* A body near the limit is sent in parts. */
TEST(long_strings)
{
	static char target[20000];
	begin("20");
	memset(target, 'a', sizeof target - 1);
	target[0] = '/';
	fake_host(8 << 20);
	web_listen();
	fake_start();
	for (unsigned i = 0; i < 100; i++) {
		OK(fake_commit(fake_span(i, target)));
		usleep(2000);
	}
	WAIT_FOR(web.spans == 100, 10000);
	fake_stop(1000);
	EQ_INT(in_use(), 0);
}
