/* The original client behind proxies. */
#include "proto/tracecontext.h"
#include "unit.h"

TEST(forwarded_clients)
{
	static const struct {
		const char *fwd, *xff, *xfp;
		const char *address, *proto;
	} rows[] = {
		{"for=192.0.2.60;proto=https;by=203.0.113.43", 0, 0, "192.0.2.60", "https"},
		{"For=\"[2001:db8:cafe::17]:4711\"", 0, 0, "2001:db8:cafe::17", 0},
		{"for=192.0.2.43, for=\"[2001:db8:cafe::17]\"", 0, 0, "192.0.2.43", 0},
		{"for=\"192.0.2.43:47011\"", 0, 0, "192.0.2.43", 0},
		{"by=1.1.1.1 ; FOR = 192.0.2.43 ; Proto = HTTP", 0, 0, "192.0.2.43", "http"},
		{"proto=https, for=10.0.0.1", 0, 0, 0, "https"}, /* the second element is a proxy */
		{"host=\"a;b,c\\\"for=6.6.6.6\";for=1.2.3.4", 0, 0, "1.2.3.4", 0},
		{"for=unknown", 0, 0, 0, 0},
		{"for=_hidden;proto=gopher", 0, 0, 0, 0},
		{"for=\"1.2.3.4", 0, 0, "1.2.3.4", 0},
		{"for=\"1.2.3.4\\", 0, 0, 0, 0},
		{"for=", 0, 0, 0, 0},
		{"for", 0, 0, 0, 0},
		{"=;;=,", 0, 0, 0, 0},
		{"for=_x", "9.9.9.9", "https", "9.9.9.9", "https"},
		{"for=1.2.3.4;proto=http", "9.9.9.9", "https", "1.2.3.4", "http"},
		{0, "203.0.113.195, 70.41.3.18, 150.172.238.178", "https, http", "203.0.113.195", "https"},
		{0, "203.0.113.195:8080", 0, "203.0.113.195", 0},
		{0, "2001:db8::1", 0, "2001:db8::1", 0},
		{0, "[2001:db8::1]:80 , 1.1.1.1", 0, "2001:db8::1", 0},
		{0, "::ffff:1.2.3.4", "HTTPS", "::ffff:1.2.3.4", "https"},
		{0, "::", "ws", "::", 0},
		{0, "unknown, 1.2.3.4", 0, 0, 0},
		{0, "1.2.3", 0, 0, 0},
		{0, "1.2.3.4.5", 0, 0, 0},
		{0, "1.2.3.", 0, 0, 0},
		{0, "1234.1.1.1", 0, 0, 0},
		{0, "evil\"},{\"x", 0, 0, 0},
		{0, "[2001:db8::1", 0, 0, 0},
		{0, "[]", "", 0, 0},
		{0, ":", 0, 0, 0},
		{0, ",", ",", 0, 0},
		{0, 0, 0, 0, 0},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *in[3] = {rows[i].fwd, rows[i].xff, rows[i].xfp};
		struct http1_head h = {0};
		struct slice *to[3] = {&h.forwarded, &h.x_forwarded_for, &h.x_forwarded_proto}, address, proto;
		struct unit_guarded g[3];
		for (int k = 0; k < 3; k++) {
			g[k] = unit_at_end(in[k], in[k] ? strlen(in[k]) : 0);
			if (in[k])
				*to[k] = (struct slice){g[k].p, (uint32_t)strlen(in[k])};
		}
		unit_case("row %zu", i);
		client_of_forwarded(&h, &address, &proto);
		EQ_MEM(address.p, address.n, rows[i].address, rows[i].address ? strlen(rows[i].address) : 0);
		EQ_MEM(proto.p, proto.n, rows[i].proto, rows[i].proto ? strlen(rows[i].proto) : 0);
		for (int k = 0; k < 3; k++)
			unit_unguard(g[k]);
	}
}
