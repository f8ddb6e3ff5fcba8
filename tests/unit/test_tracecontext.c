/* Trace context in and out. Inputs end at an unreadable page. */
#include "proto/tracecontext.h"
#include "unit.h"

#define TID "0af7651916cd43dd8448eb211c80319c"
#define SID "b7ad6b7169203331"
#define Z16 "0000000000000000"

static struct unit_guarded guarded;

static struct slice at_end(const char *s)
{
	if (guarded.map)
		unit_unguard(guarded);
	guarded = unit_at_end(s, strlen(s));
	return (struct slice){guarded.p, (uint32_t)strlen(s)};
}

/* "trace-span-flags", "?" behind it when the decision is open, "-" when there is no context. */
static const char *told(bool ok, const struct trace_ctx *c)
{
	static char out[96];
	OK(ok == c->valid);
	if (!ok)
		return "-";
	hex_encode(c->trace_id, 16, out);
	out[32] = '-';
	hex_encode(c->span_id, 8, out + 33);
	sprintf(out + 49, "-%02x%s", c->flags, c->sampled_known ? "" : "?");
	return out;
}

TEST(traceparent)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{"00-" TID "-" SID "-01", TID "-" SID "-01"},
		{"00-" TID "-" SID "-00", TID "-" SID "-00"},
		{"00-" TID "-" SID "-03", TID "-" SID "-03"},
		{"00-" TID "-" SID "-ff", TID "-" SID "-03"}, /* unknown flags are not passed on */
		{"cc-" TID "-" SID "-01", TID "-" SID "-01"},
		{"cc-" TID "-" SID "-01-what-the-future-brings", TID "-" SID "-01"},
		{"01-" TID "-" SID "-01-", TID "-" SID "-01"},
		{"cc-" TID "-" SID "-01.x", "-"},
		{"00-" TID "-" SID "-01-x", "-"},
		{"00-" TID "-" SID "-01 ", "-"},
		{"ff-" TID "-" SID "-01", "-"},
		{"FF-" TID "-" SID "-01", "-"},
		{"0-" TID "-" SID "-01", "-"},
		{"00-" TID "-" SID "-0", "-"},
		{"00-" TID "-" SID "-0g", "-"},
		{"00-" TID "-" SID "-0A", "-"},
		{"00-" TID "-" SID, "-"},
		{"00-0AF7651916cd43dd8448eb211c80319c-" SID "-01", "-"},
		{"00-0af7651916cd43dd8448eb211c80319g-" SID "-01", "-"},
		{"00-" TID "-B7ad6b7169203331-01", "-"},
		{"00-" Z16 Z16 "-" SID "-01", "-"},
		{"00-" TID "-" Z16 "-01", "-"},
		{"00_" TID "-" SID "-01", "-"},
		{"00-" TID "_" SID "-01", "-"},
		{"00-" TID "-" SID "_01", "-"},
		{"", "-"},
		{"00", "-"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct trace_ctx c;
		unit_case("%s", rows[i].in);
		memset(&c, 0xa5, sizeof c);
		bool ok = traceparent_parse(at_end(rows[i].in), &c);
		EQ_STR(told(ok, &c), rows[i].want);
	}
}

TEST(traceparent_is_written_as_read)
{
	struct trace_ctx c;
	struct unit_guarded g = unit_at_end(NULL, TRACEPARENT_LEN);
	OK(traceparent_parse(at_end("cc-" TID "-" SID "-03-later"), &c));
	traceparent_format(&c, g.p);
	EQ_MEM(g.p, TRACEPARENT_LEN, "00-" TID "-" SID "-03", 55);
}

TEST(hexadecimal)
{
	uint8_t all[256], back[256];
	char text[512];
	for (int i = 0; i < 256; i++)
		all[i] = (uint8_t)i;
	hex_encode(all, 256, text);
	EQ_MEM(text + 2 * 0x9e, 4, "9e9f", 4);
	OK(hex_decode(text, 256, back));
	EQ_MEM(back, 256, all, 256);
	for (int c = 0; c < 256; c++) {
		char in[2] = {(char)c, '0'}, in2[2] = {'0', (char)c};
		bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
		unit_case("byte %d", c);
		EQ_INT(hex_decode(in, 1, back), digit);
		EQ_INT(hex_decode(in2, 1, back), digit);
	}
}

TEST(b3_in_one_field)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{TID "-" SID "-1", TID "-" SID "-01"},
		{TID "-" SID "-0", TID "-" SID "-00"},
		{TID "-" SID "-d", TID "-" SID "-01"},
		{TID "-" SID, TID "-" SID "-00?"},
		{TID "-" SID "-1-05e3ac9a4f6e3b90", TID "-" SID "-01"},
		{TID "-" SID "-05e3ac9a4f6e3b90", TID "-" SID "-00?"},
		{SID "-" SID "-1", Z16 SID "-" SID "-01"},
		{"0AF7651916CD43DD8448EB211C80319C-" SID "-1", TID "-" SID "-01"},
		{TID "-" SID "-2", "-"},
		{TID "-" SID "-", "-"},
		{TID "-" SID "-1-", "-"},
		{TID "-" SID "-1-05e3", "-"},
		{TID "-" SID "-1x", "-"},
		{TID "-" SID "x", "-"},
		{TID "-b7ad6b716920333", "-"},
		{"f7651916cd43dd8448eb211c80319c-" SID "-1", "-"},
		{Z16 Z16 "-" SID "-1", "-"},
		{TID "-" Z16 "-1", "-"},
		{"0", "-"},
		{"1", "-"},
		{"-", "-"},
		{"", "-"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct trace_ctx c;
		unit_case("%s", rows[i].in);
		memset(&c, 0xa5, sizeof c);
		bool ok = b3_single_parse(at_end(rows[i].in), &c);
		EQ_STR(told(ok, &c), rows[i].want);
	}
	struct trace_ctx c;
	char out[52];
	OK(b3_single_parse(at_end(TID "-" SID "-d"), &c));
	EQ_INT(b3_single_format(&c, out, 50), 0);
	EQ_INT(b3_single_format(&c, out, 51), 51);
	EQ_MEM(out, 51, TID "-" SID "-1", 51);
	OK(!b3_single_parse(at_end("0"), &c) && c.sampled_known && c.flags == 0);
	OK(!b3_single_parse(at_end("1"), &c) && c.sampled_known && c.flags == TRACE_FLAG_SAMPLED);
	OK(!b3_single_parse(at_end("x"), &c) && !c.sampled_known);
}

static struct http1_head head_of(const char *fields)
{
	static char in[4096];
	struct http1_head h;
	int n = snprintf(in, sizeof in, "GET / HTTP/1.1\r\n%s\r\n", fields);
	EQ_INT(http1_parse_request(in, (size_t)n, 0, &h), n);
	return h;
}

TEST(extraction)
{
	static const struct {
		const char *in;
		unsigned set;
		const char *want;
	} rows[] = {
#define T2 "11111111111111111111111111111111"
#define S2 "2222222222222222"
#define MULTI "X-B3-TraceId: " T2 "\r\nX-B3-SpanId: " S2 "\r\n"
#define XRAY "X-Amzn-Trace-Id: Root=1-33333333-333333333333333333333333;Parent=4444444444444444;Sampled=1\r\n"
#define XRAY_TOLD "33333333333333333333333333333333-4444444444444444-01"
		{"traceparent: 00-" TID "-" SID "-01\r\n", PROP_TRACECONTEXT, TID "-" SID "-01"},
		{"traceparent: 00-" TID "-" SID "-01\r\n", PROP_B3, "-"},
		{"traceparent: 00-" TID "-" SID "-01\r\ntraceparent: 00-" TID "-" SID "-01\r\n", PROP_TRACECONTEXT, "-"},
		{"traceparent: 00-" TID "-" SID "-01\r\n" MULTI XRAY, 31, TID "-" SID "-01"},
		{"traceparent: nonsense\r\n" MULTI XRAY, 31, T2 "-" S2 "-00?"},
		{"b3: " TID "-" SID "-1\r\n" MULTI, PROP_B3 | PROP_B3MULTI, TID "-" SID "-01"},
		{"b3: " TID "-" SID "-1\r\n" MULTI, PROP_B3MULTI, T2 "-" S2 "-00?"},
		{"b3: 0\r\n", PROP_B3, "-"},
		{MULTI "X-B3-Sampled: 1\r\n", PROP_B3MULTI, T2 "-" S2 "-01"},
		{MULTI "X-B3-Sampled: True\r\n", PROP_B3MULTI, T2 "-" S2 "-01"},
		{MULTI "X-B3-Sampled: 0\r\n", PROP_B3MULTI, T2 "-" S2 "-00"},
		{MULTI "X-B3-Sampled: false\r\n", PROP_B3MULTI, T2 "-" S2 "-00"},
		{MULTI "X-B3-Sampled: maybe\r\n", PROP_B3MULTI, T2 "-" S2 "-00?"},
		{MULTI "X-B3-Flags: 1\r\n", PROP_B3MULTI, T2 "-" S2 "-01"},
		{MULTI "X-B3-Flags: 1\r\nX-B3-Sampled: 0\r\n", PROP_B3MULTI, T2 "-" S2 "-01"},
		{MULTI "X-B3-Flags: 0\r\n", PROP_B3MULTI, T2 "-" S2 "-00?"},
		{"X-B3-TraceId: " S2 "\r\nX-B3-SpanId: " S2 "\r\n", PROP_B3MULTI, Z16 S2 "-" S2 "-00?"},
		{"X-B3-TraceId: " T2 "\r\n", PROP_B3MULTI, "-"},
		{"X-B3-SpanId: " S2 "\r\n", PROP_B3MULTI, "-"},
		{MULTI, PROP_XRAY, "-"},
		{XRAY, PROP_XRAY, XRAY_TOLD},
		{XRAY, PROP_TRACECONTEXT | PROP_BAGGAGE, "-"},
		{MULTI XRAY, 31, T2 "-" S2 "-00?"},
		{XRAY, 31, XRAY_TOLD},
		{"", 31, "-"},
		{XRAY, 0, "-"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct trace_ctx c;
		struct http1_head h = head_of(rows[i].in);
		unit_case("row %zu set %u", i, rows[i].set);
		memset(&c, 0xa5, sizeof c);
		bool ok = trace_extract(&h, rows[i].set, &c);
		EQ_STR(told(ok, &c), rows[i].want);
	}
	/* What there is without a context. */
	struct trace_ctx c;
	struct http1_head h = head_of("X-B3-Sampled: 0\r\n");
	OK(!trace_extract(&h, 31, &c) && c.sampled_known && c.flags == 0);
	h = head_of("X-Amzn-Trace-Id: Root=1-33333333-333333333333333333333333\r\n");
	OK(!trace_extract(&h, 31, &c) && !c.sampled_known);
	EQ_INT(c.trace_id[15], 0x33);
	EQ_INT(c.span_id[7], 0);
}

TEST(x_ray_asks)
{
	static const struct {
		const char *in;
		bool asks;
	} rows[] = {
		{"Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=?", true},
		{"Sampled=? ; Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8", true},
		{"Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1", false},
		{"Root=1-5759e988-bd862e3fe1be46a994272793", false},
		{"Root=1-5759e988-bd862e3fe1be46a994272793;Resampled=?", false},
		{"Root=1-5759e988-bd862e3fe1be46a99427279;Sampled=?", false},
		{"Sampled=?", false},
		{"", false},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		EQ_INT(amzn_trace_asks(at_end(rows[i].in)), rows[i].asks);
	struct trace_ctx c = {0};
	char out[50];
	amzn_trace_parse(at_end(rows[0].in), &c);
	EQ_INT(amzn_answer_format(&c, out, 49), 0);
	EQ_INT(amzn_answer_format(&c, out, 50), 50);
	OK(memcmp(out, "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0", 50) == 0);
	c.flags = TRACE_FLAG_SAMPLED;
	amzn_answer_format(&c, out, 50);
	OK(out[49] == '1');
}

TEST(x_ray_others)
{
#define ROOT_ONLY "Root=1-5759e988-bd862e3fe1be46a994272793"
	static char longest[300], most[300];
	static const struct {
		const char *in, *want;
	} rows[] = {
		{ROOT_ONLY ";Parent=53995c3f42cd8ad8;Sampled=1;Lineage=1:a87bd80c:0", ";Lineage=1:a87bd80c:0"},
		{"Lineage=1:a87bd80c:0;" ROOT_ONLY, ";Lineage=1:a87bd80c:0"},
		{ROOT_ONLY "; Lineage=1:a87bd80c:0 ;CalledFrom=app; k=v=w", ";Lineage=1:a87bd80c:0;CalledFrom=app;k=v=w"},
		{"Self=1-67891234-12456789abcdef012345678;" ROOT_ONLY ";Sampled=?", ""},
		{ROOT_ONLY ";Rooted=1;Sample=2;sampled=0", ";Rooted=1;Sample=2;sampled=0"},
		/* no part: without a value, a key, an equals sign; with what could end the line or the list */
		{ROOT_ONLY ";Lineage=;=1;Lineage;;", ""},
		{ROOT_ONLY ";Lineage=a\tb;A=1,B=2;C=\x01;D=\xc3\xa9;E=e e;F=1", ";F=1"},
		/* a header that is no header of X-Ray's */
		{"Lineage=1:a87bd80c:0", ""},
		{"Root=1-0;Lineage=1:a87bd80c:0", ""},
		{ROOT_ONLY ";Sampled=2;Lineage=1:a87bd80c:0", ""},
		{"", ""},
		/* whole parts, as many as fit */
		{longest, most},
	};
	strcpy(longest, ROOT_ONLY ";A=1;L=");
	memset(longest + strlen(longest), 'x', 200);
	strcat(longest, ";B=2");
	strcpy(most, ";A=1;B=2");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char out[101] = {0};
		unit_case("row %zu", i);
		size_t n = amzn_trace_others(at_end(rows[i].in), out, 100);
		EQ_INT(n, strlen(rows[i].want));
		EQ_STR(out, rows[i].want);
	}
	/* To the last byte, and not one more. */
	char out[12];
	EQ_INT(amzn_trace_others(at_end(ROOT_ONLY ";Key=value"), out, 10), 10);
	EQ_INT(amzn_trace_others(at_end(ROOT_ONLY ";Key=value"), out, 9), 0);
}

TEST(x_ray)
{
#define ROOT "Root=1-5759e988-bd862e3fe1be46a994272793"
#define RID "5759e988bd862e3fe1be46a994272793"
	static const struct {
		const char *in, *want;
	} rows[] = {
		{ROOT ";Parent=" SID ";Sampled=1", RID "-" SID "-01"},
		{ROOT ";Parent=" SID ";Sampled=0", RID "-" SID "-00"},
		{ROOT ";Parent=" SID ";Sampled=?", RID "-" SID "-00?"},
		{ROOT ";Parent=" SID, RID "-" SID "-00?"},
		{" Sampled=1 ; Parent=" SID ";Lineage=a:b ;" ROOT, RID "-" SID "-01"},
		{"Self=1-67891234-12456789abcdef012345678;" ROOT ";Parent=" SID, RID "-" SID "-00?"},
		{ROOT, "-"},
		{ROOT ";Parent=" Z16, "-"},
		{ROOT ";Parent=b7ad6b", "-"},
		{ROOT ";Parent=" SID ";Sampled=2", "-"},
		{ROOT ";Parent=" SID ";Sampled=", "-"},
		{"root=1-5759e988-bd862e3fe1be46a994272793;Parent=" SID, "-"},
		{"Root=2-5759e988-bd862e3fe1be46a994272793;Parent=" SID, "-"},
		{"Root=1-5759e98-8bd862e3fe1be46a994272793;Parent=" SID, "-"},
		{"Root=1-00000000-000000000000000000000000;Parent=" SID, "-"},
		{"Root=1-5759e988-bd862e3fe1be46a99427279;Parent=" SID, "-"},
		{"Parent=" SID, "-"},
		{"Root=", "-"},
		{";;;", "-"},
		{"", "-"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct trace_ctx c;
		unit_case("%s", rows[i].in);
		memset(&c, 0xa5, sizeof c);
		bool ok = amzn_trace_parse(at_end(rows[i].in), &c);
		EQ_STR(told(ok, &c), rows[i].want);
	}
	struct trace_ctx c;
	char out[80];
	OK(amzn_trace_parse(at_end(ROOT ";Parent=" SID ";Sampled=1"), &c));
	EQ_INT(amzn_trace_format(&c, out, 73), 0);
	EQ_INT(amzn_trace_format(&c, out, 74), 74);
	EQ_MEM(out, 74, ROOT ";Parent=" SID ";Sampled=1", 74);
}

typedef size_t joiner(const struct slice *fields, unsigned n, char *out, size_t cap);

/* `in`: fields divided by '|'. The output buffer ends at an unreadable page too. */
static void check_join(joiner *join, const char *in, size_t cap, const char *want)
{
	struct unit_guarded src = unit_at_end(in, strlen(in)), dst = unit_at_end(NULL, cap);
	struct slice f[4];
	unsigned n = 0;
	const char *p = src.p, *e = p + strlen(in);
	for (;;) {
		const char *bar = memchr(p, '|', (size_t)(e - p)), *end = bar ? bar : e;
		f[n++] = (struct slice){p, (uint32_t)(end - p)};
		if (!bar)
			break;
		p = bar + 1;
	}
	unit_case("cap %zu in %.200s", cap, in);
	size_t got = join(f, n, dst.p, cap);
	OK(got <= cap);
	EQ_MEM(dst.p, got, want, strlen(want));
	unit_unguard(src);
	unit_unguard(dst);
}

TEST(tracestate)
{
	check_join(tracestate_join, "a=1", 512, "a=1");
	check_join(tracestate_join, "a=1,b=2|c=3", 512, "a=1,b=2,c=3");
	check_join(tracestate_join, " a=1 ,\t, b=2 ,|,|c=3", 512, "a=1,b=2,c=3");
	check_join(tracestate_join, "a=1\r\n ,b=2", 512, "a=1,b=2"); /* folded */
	check_join(tracestate_join, "a=1,b=2|a=3", 512, "a=1,b=2");  /* the leftmost is the latest */
	check_join(tracestate_join, "ab=1,a=2", 512, "ab=1,a=2");
	check_join(tracestate_join, "t@s=1,0x=2,a_-*/9=z y", 512, "t@s=1,0x=2,a_-*/9=z y");
	check_join(tracestate_join, "A=1,=2,b,c=,d=e=f,@x=1,_x=1,-x=1,g=h\ti,j=\x7f,k=\x01,l=\xc3\xa4,ok=1", 512, "ok=1");
	check_join(tracestate_join, "", 512, "");
	check_join(tracestate_join, "bad", 512, "");
	check_join(tracestate_join, "a=1,b=2,c=3", 11, "a=1,b=2,c=3");
	check_join(tracestate_join, "a=1,b=2,c=3", 10, "a=1,b=2");
	check_join(tracestate_join, "a=1,b=2,c=3", 2, "");
	check_join(tracestate_join, "a=1", 0, "");
	check_join(tracestate_join, "ot=th:8;rv:0123456789abcd,vendor=x", 512, "ot=th:8;rv:0123456789abcd,vendor=x");

	char big[2048] = "a=1,long=", want[2048];
	memset(big + 9, 'x', 150);
	strcpy(big + 159, ",b=2");
	check_join(tracestate_join, big, 160, "a=1,b=2"); /* long members go first, even from the middle */
	check_join(tracestate_join, big, 163, big);
	char huge[600] = "k=";
	memset(huge + 2, 'x', 256);
	check_join(tracestate_join, huge, 600, huge);
	strcat(huge, "x");
	check_join(tracestate_join, huge, 600, "");
	memset(huge, 'k', 256);
	strcpy(huge + 256, "=v");
	check_join(tracestate_join, huge, 600, huge);
	memset(huge, 'k', 257);
	strcpy(huge + 257, "=v");
	check_join(tracestate_join, huge, 600, "");

	*big = *want = 0;
	for (int i = 0; i < 40; i++)
		sprintf(big + strlen(big), "%sk%d=v", i ? "," : "", i);
	for (int i = 0; i < 32; i++)
		sprintf(want + strlen(want), "%sk%d=v", i ? "," : "", i);
	check_join(tracestate_join, big, 2048, want);
}

TEST(baggage)
{
	check_join(baggage_join, "a=1", 8192, "a=1");
	check_join(baggage_join, "a=1;p=2;q , b = %20x|c=", 8192, "a=1;p=2;q,b = %20x,c=");
	check_join(baggage_join, "a,=1,b\x01=2,c=\x01,d=\xc3\xa4,e=\",f=\\,g h=1,,ok=1", 8192, "ok=1");
	check_join(baggage_join, "a=1\r\n x", 8192, "");
	check_join(baggage_join, "", 8192, "");
	check_join(baggage_join, "a=1,b=2", 7, "a=1,b=2");
	check_join(baggage_join, "a=1,b=2", 6, "a=1");
	check_join(baggage_join, "a=1,b=2", 2, "");
	check_join(baggage_join, "a=1", 0, "");
	char big[2048] = "", want[2048] = "";
	for (int i = 0; i < 70; i++)
		sprintf(big + strlen(big), "%sk%d=v", i ? "," : "", i);
	for (int i = 0; i < 64; i++)
		sprintf(want + strlen(want), "%sk%d=v", i ? "," : "", i);
	check_join(baggage_join, big, 2048, want);
}
