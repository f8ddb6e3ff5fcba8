/* Whose call is it? Each rule alone, and what is passed on. */
#include "conn_sample.h"
#include <pthread.h>

#define OK2 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN "b7ad6b7169203331"
#define TP "00-" TRACE "-" SPAN "-01"

static int pairs[16][2];

/* Connections 0..7 are incoming, 8..15 outgoing. */
static void begin(void)
{
	sample_begin();
	config.propagators = PROP_TRACECONTEXT | PROP_BAGGAGE;
	for (int i = 0; i < 16; i++) {
		sample_pair(pairs[i]);
		if (i < 8)
			on_accept(pairs[i][0], NULL, 0);
	}
}

static void request(int i, const char *fields)
{
	char head[10000];
	snprintf(head, sizeof head, "GET /%d HTTP/1.1\r\n%s\r\n", i, fields);
	rxs(pairs[i][0], head);
}

static struct txn *open_of(int i)
{
	struct conn *c = conn_lock(pairs[i][0]);
	struct txn *t = c ? c->last : NULL;
	if (c)
		conn_unlock(c, pairs[i][0]);
	OK(t);
	return t;
}

static char wire[20000]; /* of the last call */

static struct txn *call(int i, const char *fields)
{
	char head[1000];
	struct tx t;
	int err = 0, fd = pairs[i][0];
	size_t n = 0;
	ssize_t len = snprintf(head, sizeof head, "GET /%d HTTP/1.1\r\n%s\r\n", i, fields);
	struct iovec v = {head, (size_t)len};
	if (!fd_conn(fd_peek(fd)))
		sample_connected(fd);
	bool edit = inject_begin(&t, fd, &v, 1, NULL, 0);
	const struct iovec *out = edit ? t.msg.msg_iov : &v;
	for (size_t k = 0; k < (edit ? t.msg.msg_iovlen : 1); n += out[k++].iov_len)
		memcpy(wire + n, out[k].iov_base, out[k].iov_len);
	wire[n] = 0;
	EQ_INT(inject_end(&t, fd, (ssize_t)n, &err, 0), len);
	return open_of(i);
}

static bool child_of(const struct txn *c, const struct txn *p)
{
	return memcmp(c->trace_id, p->trace_id, 16) == 0 && memcmp(c->parent_id, p->span_id, 8) == 0;
}

static bool root(const struct txn *c)
{
	static const uint8_t zero[8];
	return memcmp(c->parent_id, zero, 8) == 0;
}

static bool ambiguous(const struct txn *c)
{
	return txn_record(c)->bits & REC_AMBIGUOUS;
}

static void answer(int i)
{
	i < 8 ? txs(pairs[i][0], OK2) : rxs(pairs[i][0], OK2);
}

TEST(nobody_asked)
{
	begin();
	struct txn *c = call(8, "");
	OK(root(c) && !ambiguous(c) && strstr(wire, "traceparent: 00-"));
}

TEST(request_of_the_thread)
{
	begin();
	request(0, "traceparent: " TP "\r\n");
	struct txn *p = open_of(0), *c = call(8, "");
	OK(child_of(c, p) && !ambiguous(c));
	char want[64];
	hex_encode(c->span_id, 8, want);
	want[16] = 0;
	OK(strstr(wire, "traceparent: 00-" TRACE "-") && strstr(wire, want));
	uint8_t up[8];
	hex_decode(SPAN, 8, up);
	OK(memcmp(p->parent_id, up, 8) == 0 && txn_record(p)->bits & REC_PARENT_REMOTE);
	OK(!(txn_record(c)->bits & REC_PARENT_REMOTE));
	answer(8);
	answer(0);
	c = call(8, ""); /* between requests */
	OK(root(c) && !ambiguous(c));
	answer(8);
	request(0, "");
	OK(child_of(call(8, ""), open_of(0)));
}

TEST(pipelined_requests_in_turn)
{
	begin();
	rxs(pairs[0][0], "GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n");
	struct conn *k = conn_lock(pairs[0][0]);
	struct txn *first = k->first, *second = k->last;
	conn_unlock(k, pairs[0][0]);
	OK(child_of(call(8, ""), first));
	answer(0);
	OK(child_of(call(9, ""), second));
	OK(!thread_self.loop);
}

TEST(event_loop)
{
	begin();
	request(0, "");
	request(1, ""); /* two at once on one thread */
	OK(thread_self.loop);
	struct txn *a = open_of(0), *b = open_of(1);
	OK(child_of(call(8, ""), b)); /* in the turn of its read */
	span_polled();
	struct txn *c = call(9, "");
	OK(root(c) && ambiguous(c));
	OK(strstr(wire, "traceparent: "));
	/* The answer to a call belongs to whom the call belonged to. */
	span_polled();
	answer(8);
	OK(child_of(call(10, ""), b));
	span_polled();
	answer(1);
	c = call(11, ""); /* the only one left */
	OK(child_of(c, a) && !ambiguous(c));
	span_polled();
	request(2, "");
	OK(child_of(call(12, ""), open_of(2)));
}

TEST(owner_at_connect)
{
	begin();
	request(0, "");
	sample_connected(pairs[8][0]); /* notes 0 */
	request(1, "");
	struct txn *a = open_of(0), *b = open_of(1);
	OK(child_of(call(8, ""), a)); /* in the turn of 1, but connected for 0 */
	answer(8);
	span_polled();
	request(2, "");
	OK(child_of(call(8, ""), open_of(2))); /* kept alive: now by dispatch */
	answer(8);
	/* What was noted has ended before the first byte. */
	span_polled();
	request(3, "");
	sample_connected(pairs[9][0]);
	answer(3);
	span_polled();
	struct txn *c = call(9, "");
	OK(ambiguous(c) && root(c));
	(void)b;
}

static void *other_thread(void *arg)
{
	call((int)(intptr_t)arg, "");
	return NULL;
}

static struct txn *call_elsewhere(int i)
{
	pthread_t t;
	OK(pthread_create(&t, NULL, other_thread, (void *)(intptr_t)i) == 0);
	pthread_join(t, NULL);
	return open_of(i);
}

TEST(the_only_one)
{
	begin();
	request(0, "");
	OK(child_of(call_elsewhere(8), open_of(0)));
	answer(0);
	struct txn *c = call_elsewhere(9);
	OK(root(c) && !ambiguous(c));
	request(0, "");
	struct conn *k = conn_lock(pairs[1][0]); /* read by a third thread */
	conn_unlock(k, pairs[1][0]);
	request(1, "");
	c = call_elsewhere(10);
	OK(root(c) && ambiguous(c));
	answer(0);
	OK(child_of(call_elsewhere(11), open_of(1)));
}

TEST(programs_own_traceparent)
{
	uint8_t up[8], trace[16];
	begin();
	hex_decode(SPAN, 8, up);
	hex_decode(TRACE, 16, trace);
	/* An SDK's: child of the span it names, in its trace; in the header only the id changes. */
	struct txn *c = call(8, "traceparent: " TP "\r\n");
	OK(memcmp(c->parent_id, up, 8) == 0 && memcmp(c->trace_id, trace, 16) == 0);
	OK(strstr(wire, "traceparent: 00-" TRACE "-") && !strstr(wire, SPAN));
	/* The same while a request of another trace is open. */
	request(0, "");
	c = call(9, "traceparent: " TP "\r\n");
	OK(memcmp(c->parent_id, up, 8) == 0 && memcmp(c->trace_id, trace, 16) == 0 && !ambiguous(c));
	/* A proxy's: what came in goes out unchanged, so the call is our request's. */
	answer(0);
	request(0, "traceparent: " TP "\r\n");
	c = call(10, "traceparent: " TP "\r\n");
	OK(child_of(c, open_of(0)) && !strstr(wire, SPAN));
	/* Not sampled, it says. */
	answer(0);
	c = call(11, "traceparent: 00-" TRACE "-" SPAN "-00\r\n");
	OK(!(c->flags & TRACE_FLAG_SAMPLED) && !txn_record(c));
}

TEST(environment)
{
	begin();
	traceparent_parse(SLICE(TP), &config.parent);
	config.tracestate = SLICE("a=1");
	config.baggage = SLICE("k=v");
	struct txn *c = call(8, "");
	OK(strstr(wire, "traceparent: 00-" TRACE "-") && strstr(wire, "tracestate: a=1\r\n") && strstr(wire, "baggage: k=v\r\n"));
	OK(txn_record(c)->bits & REC_PARENT_REMOTE);
	request(0, ""); /* a server: that was long ago */
	answer(0);
	c = call(9, "");
	OK(root(c) && !strstr(wire, TRACE) && !strstr(wire, "k=v") && !strstr(wire, "a=1"));
}

TEST(not_sampled_is_passed_on)
{
	begin();
	request(0, "traceparent: 00-" TRACE "-" SPAN "-00\r\n");
	struct txn *c = call(8, "");
	OK(child_of(c, open_of(0)) && !txn_record(c));
	OK(strstr(wire, "-00\r\n"));
}

TEST(load_balancers_root)
{
	begin();
	config.propagators = PROP_XRAY;
	request(0, "X-Amzn-Trace-Id: Root=1-67891233-abcdef012345678912345678;Sampled=1\r\n");
	struct txn *p = open_of(0);
	OK(root(p));
	uint8_t id[16];
	hex_decode("67891233abcdef012345678912345678", 16, id);
	EQ_MEM(p->trace_id, 16, id, 16);
}

#define AMZN "X-Amzn-Trace-Id: Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=" SPAN

static bool wire_says(int traceparent, int amzn)
{
	char *tp = strstr(wire, "traceparent: 00-"), *am = strstr(wire, "X-Amzn-Trace-Id: Root=1-");
	return tp && am && (tp[16 + 51] & 1) == traceparent && tp[16 + 50] == '0' && tp[16 + 51] < '4' && strncmp(am + 64 + 17, ";Sampled=", 9) == 0 &&
	       am[64 + 17 + 9] == '0' + amzn;
}

/* X-Ray decides for itself: its header says so, or its rules; the others by theirs. Both go on to the calls. */
TEST(x_ray_decides_for_itself)
{
	static const struct {
		const char *fields;
		int w3c, xray; /* -1: by the rules */
	} rows[] = {
		{AMZN ";Sampled=0\r\n", 1, 0},
		{AMZN ";Sampled=1\r\n", 1, 1},
		{AMZN ";Sampled=?\r\n", 1, -1},
		{AMZN "\r\n", 1, -1},
		{"", 1, -1},
		{"traceparent: 00-" TRACE "-" SPAN "-00\r\n", 0, -1},
		{"traceparent: " TP "\r\n", 1, -1},
		{"traceparent: 00-" TRACE "-" SPAN "-00\r\n" AMZN ";Sampled=1\r\n", 0, 1},
		{"traceparent: " TP "\r\n" AMZN ";Sampled=0\r\n", 1, 0},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (int alone = 0; alone < 2; alone++) {
			unit_case("row %zu%s", i, alone ? ", nobody else" : "");
			begin();
			config.propagators |= PROP_XRAY;
			config.xray_own = true;
			if (alone)
				config.record_flags = TRACE_FLAG_XRAY;
			request(0, rows[i].fields);
			struct txn *p = open_of(0);
			int xray = p->flags & TRACE_FLAG_XRAY ? 1 : 0, w3c = p->flags & TRACE_FLAG_SAMPLED;
			EQ_INT(w3c, rows[i].w3c);
			if (rows[i].xray >= 0)
				EQ_INT(xray, rows[i].xray);
			struct span_rec *r = txn_record(p);
			EQ_INT(r != NULL, xray || (w3c && !alone));
			uint8_t trace[16], span[8]; /* of lines and crashes, record or not */
			OK(span_ids(trace, span) && memcmp(trace, p->trace_id, 16) == 0 && memcmp(span, p->span_id, 8) == 0);
			EQ_INT(r ? r->trace_flags & 5 : 0, r ? p->flags & 5 : 0);
			struct txn *c = call(8, "");
			OK(child_of(c, p) && ((c->flags ^ p->flags) & 5) == 0);
			OK(wire_says(w3c, xray));
			EQ_INT(txn_record(c) != NULL, r != NULL);
			struct trace_ctx child;
			OK(span_child_env(&child) && child.flags == (p->flags & 3));
		}
	/* One a second, and some: of many requests few are for X-Ray, all for the others. */
	begin();
	config.propagators |= PROP_XRAY;
	config.xray_own = true;
	int wanted = 0;
	for (int i = 0; i < 2000; i++) {
		request(0, "");
		wanted += open_of(0)->flags & TRACE_FLAG_XRAY ? 1 : 0;
		OK(open_of(0)->flags & TRACE_FLAG_SAMPLED);
		answer(0);
	}
	OK(wanted > 40 && wanted < 200);
	/* A call outside of any request; one with an SDK's context. */
	struct txn *c = call(8, "");
	OK(wire_says(1, c->flags & TRACE_FLAG_XRAY ? 1 : 0));
	c = call(9, AMZN ";Sampled=0\r\n");
	OK(!(c->flags & TRACE_FLAG_XRAY) && (c->flags & TRACE_FLAG_SAMPLED));
}

/* Without that, its flag decides for all. */
TEST(x_ray_decides_for_all)
{
	begin();
	config.propagators |= PROP_XRAY;
	request(0, AMZN ";Sampled=0\r\n");
	struct txn *c = call(8, "");
	OK(!txn_record(open_of(0)) && !txn_record(c) && wire_says(0, 0));
	request(1, "traceparent: " TP "\r\n" AMZN ";Sampled=0\r\n");
	OK(txn_record(open_of(1)) && open_of(1)->flags == TRACE_FLAG_SAMPLED);
}

TEST(what_else_x_ray_says)
{
	begin();
	config.propagators = PROP_TRACECONTEXT | PROP_BAGGAGE | PROP_XRAY;
	request(0, AMZN ";Sampled=1;Lineage=1:a87bd80c:0;Self=1;K=v\r\n");
	call(8, "");
	OK(strstr(wire, ";Sampled=1;Lineage=1:a87bd80c:0;K=v\r\n"));
	answer(0);
	/* Nothing of it is left in what the next one carries. */
	request(0, AMZN ";Sampled=1\r\nbaggage: a=b\r\n");
	call(9, "");
	OK(strstr(wire, ";Sampled=1\r\n") && strstr(wire, "baggage: a=b\r\n"));
	answer(0);
	/* Beside a traceparent, in a call of its own header, and with the propagator off. */
	request(0, "traceparent: " TP "\r\n" AMZN ";Lineage=2\r\nbaggage: a=b\r\n");
	call(10, "");
	OK(strstr(wire, ";Lineage=2\r\n") && strstr(wire, "baggage: a=b\r\n"));
	call(11, "X-Amzn-Trace-Id: x\r\n");
	OK(strstr(wire, "X-Amzn-Trace-Id: x\r\n") && !strstr(wire, "Lineage"));
	answer(0);
	config.propagators = PROP_TRACECONTEXT;
	request(0, AMZN ";Lineage=2\r\n");
	call(12, "");
	OK(!strstr(wire, "Lineage"));
}

TEST(carry)
{
	static char big[9000], state[600];
	begin();
	request(0, "traceparent: " TP "\r\ntracestate: x=1,y=2\r\nbaggage: a=b\r\ntracestate: z=3\r\nbaggage: c=d\r\n");
	call(8, "");
	OK(strstr(wire, "tracestate: x=1,y=2,z=3\r\n") && strstr(wire, "baggage: a=b,c=d\r\n"));
	answer(0);
	request(0, "traceparent: " TP "\r\n"); /* nothing of the one before */
	call(9, "");
	OK(!strstr(wire, "tracestate") && !strstr(wire, "baggage"));
	answer(0);
	/* As long as it gets: 512 and 8192 bytes, by whole members. */
	for (int i = 0; i < 600; i++)
		sprintf(state + strlen(state), strlen(state) < 500 ? "k%d=v," : "", i);
	sprintf(state + 490, ",z=%s", "0123456789012345678");
	state[512] = 0;
	for (int i = 0; strlen(big) < 8180; i++)
		sprintf(big + strlen(big), "%sm%d=w", i ? "," : "", i);
	char fields[9800];
	snprintf(fields, sizeof fields, "traceparent: " TP "\r\ntracestate: %s\r\nbaggage: %.*s\r\n", state, 600, big);
	request(0, fields);
	call(10, "");
	OK(strstr(wire, "\r\ntracestate: k0=v,") && strstr(wire, "\r\nbaggage: m0=w,"));
	answer(0);
	/* Without traceparent the state counts for nothing; baggage stands alone. */
	request(0, "tracestate: x=1\r\nbaggage: a=b\r\n");
	call(11, "");
	OK(!strstr(wire, "tracestate") && strstr(wire, "baggage: a=b\r\n"));
	answer(0);
	/* A ratio decides anew where there is no parent, and says so. */
	config.sampler = SAMPLER_RATIO;
	config.threshold = 0;
	strcpy(config.th, "0");
	request(0, "");
	call(12, "");
	OK(strstr(wire, "tracestate: ot=th:0\r\n"));
	answer(0);
	/* Not baggage's propagator: not baggage. */
	config.propagators = PROP_TRACECONTEXT;
	request(0, "baggage: a=b\r\n");
	call(13, "");
	OK(!strstr(wire, "baggage"));
}

TEST(carries_run_out)
{
	enum { N = 2000 };
	begin();
	for (int i = 0; i < N; i++) {
		on_accept(5000 + i, NULL, 0);
		rxs(5000 + i, "GET / HTTP/1.1\r\nbaggage: a=b\r\n\r\n");
	}
	for (int i = 0; i < N; i++)
		on_close(5000 + i);
	request(0, "baggage: a=b\r\n");
	call(8, "");
	OK(strstr(wire, "baggage: a=b\r\n"));
}

TEST(child_processes)
{
	struct trace_ctx c;
	begin();
	OK(!span_child_env(&c));
	request(0, "traceparent: " TP "\r\n");
	OK(span_child_env(&c) && c.valid);
	EQ_MEM(c.span_id, 8, open_of(0)->span_id, 8);
	config.propagators = PROP_B3;
	OK(!span_child_env(&c));
	config.propagators = PROP_TRACECONTEXT;
	answer(0);
	OK(!span_child_env(&c));
}

/* ---- requests that end while another thread looks at them ---- */

static _Atomic bool stop;

static void *serve(void *arg)
{
	int fd = (int)(intptr_t)arg;
	for (int i = 0; !stop && i < 100000; i++) {
		rxs(fd, i & 1 ? "GET /a HTTP/1.1\r\ntraceparent: " TP "\r\ntracestate: x=1\r\nbaggage: a=b\r\n\r\n"
		              : "GET /b HTTP/1.1\r\nbaggage: cccc=dddd\r\n\r\n");
		txs(fd, OK2);
	}
	return NULL;
}

static void *drain(void *arg)
{
	static struct sample s[64];
	while (!stop)
		sample_take(s, 64);
	return arg;
}

TEST(ends_while_looked_at)
{
	pthread_t t[3];
	begin();
	OK(pthread_create(&t[0], NULL, serve, (void *)(intptr_t)pairs[0][0]) == 0);
	OK(pthread_create(&t[1], NULL, serve, (void *)(intptr_t)pairs[1][0]) == 0);
	OK(pthread_create(&t[2], NULL, drain, NULL) == 0);
	unsigned with = 0;
	for (int i = 0; i < 50000; i++) {
		struct trace_ctx env;
		call(8, "");
		/* Whole or not at all. */
		if (strstr(wire, "baggage")) {
			OK(strstr(wire, "baggage: a=b\r\n") || strstr(wire, "baggage: cccc=dddd\r\n"));
			with++;
		}
		unit_case("%s", wire);
		if (strstr(wire, "tracestate"))
			OK(strstr(wire, "tracestate: x=1\r\n"));
		answer(8);
		span_child_env(&env);
	}
	stop = true;
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	printf("# %u of 50000 calls had a parent\n", with);
}
