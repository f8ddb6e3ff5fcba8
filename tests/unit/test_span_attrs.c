/* Each field of a record under its name in the semantic conventions. tests/e2e has the rules as a whole. */
#include "proto/db.h"
#include "span_sample.h"

static struct span_attrs made;

static const char *get(const char *key)
{
	return attr_text(made.attrs, made.n, key);
}

static void make(const struct sample *s)
{
	OK(span_attrs_make(&made, &s->view, &no_limits));
	for (uint32_t i = 0; i < made.n; i++) {
		OK(attr_named(made.attrs, i, made.attrs[i].key) == NULL); /* none twice */
		OK(made.attrs[i].type == ATTR_INT || made.attrs[i].str_len > 0);
	}
	EQ_INT(strlen(made.name), made.name_len);
	EQ_INT(strlen(made.trace_state), made.trace_state_len);
}

TEST(server)
{
	struct sample s = sample_new(SPAN_SERVER);
	SET(&s, REC_USER_AGENT, "tester/1");
	s.rec->bits = REC_RESP_BODY;
	s.rec->resp_size = 5;
	make(&s);
	EQ_STR(made.name, "GET");
	EQ_INT(made.kind, 2);
	EQ_INT(made.status, 0);
	EQ_INT(made.flags, 0x103);
	EQ_INT(made.has_parent, 0);
	EQ_STR(made.trace_state, "");
	EQ_STR(get("http.request.method"), "GET");
	EQ_STR(get("url.path"), "/a/b");
	EQ_STR(get("url.query"), "c=d");
	EQ_STR(get("url.scheme"), "http");
	EQ_STR(get("server.address"), "shop.test");
	EQ_STR(get("server.port"), "8080");
	EQ_STR(get("client.address"), "192.0.2.9");
	EQ_STR(get("network.peer.address"), "192.0.2.9");
	EQ_STR(get("network.peer.port"), "40000");
	EQ_STR(get("network.protocol.version"), "1.1");
	EQ_STR(get("user_agent.original"), "tester/1");
	EQ_STR(get("http.response.status_code"), "200");
	EQ_STR(get("http.response.body.size"), "5");
	EQ_STR(get("http.request.body.size"), NULL);
	EQ_STR(get("error.type"), NULL);
	EQ_STR(get("http.route"), NULL);
	EQ_STR(get("remora.parent"), NULL);
}

static struct sample query(const char *text)
{
	struct sample s = sample_new(SPAN_DB);
	rec_set(&s.view, REC_TARGET, (struct slice){NULL, 0});
	rec_set(&s.view, REC_HOST, (struct slice){NULL, 0});
	s.rec->method = DB_POSTGRESQL;
	s.rec->minor = REC_DB_TEXT;
	s.rec->status = 0;
	s.rec->req_size = 1;
	s.rec->peer.port = 5432;
	SET(&s, REC_DB, "shop\nanna\n15.3\n");
	sample_set(&s, REC_QUERY, text, strlen(text));
	return s;
}

TEST(database)
{
	struct sample s = query("SELECT a FROM users WHERE id = ?");
	make(&s);
	EQ_STR(made.name, "SELECT users");
	EQ_INT(made.kind, 3);
	EQ_INT(made.status, 0);
	EQ_STR(get("db.system.name"), "postgresql");
	EQ_STR(get("db.namespace"), "shop");
	EQ_STR(get("db.query.text"), "SELECT a FROM users WHERE id = ?");
	EQ_STR(get("db.query.summary"), "SELECT users");
	EQ_STR(get("db.operation.batch.size"), NULL);
	EQ_STR(get("db.response.status_code"), NULL);
	EQ_STR(get("server.address"), "192.0.2.9");
	EQ_STR(get("server.port"), NULL); /* the usual one */
	EQ_STR(get("network.peer.port"), "5432");
	EQ_STR(get("http.request.method"), NULL);
	EQ_STR(get("error.type"), NULL);
}

TEST(database_batch_on_a_unix_socket)
{
	struct sample s = query("INSERT INTO t VALUES (?)");
	s.rec->method = DB_MARIADB;
	s.rec->req_size = 40;
	s.rec->peer = (struct rec_addr){0};
	SET(&s, REC_PEER_NAME, "/run/mysqld/mysqld.sock");
	make(&s);
	EQ_STR(made.name, "BATCH INSERT t");
	EQ_STR(get("db.system.name"), "mariadb");
	EQ_STR(get("db.operation.batch.size"), "40");
	EQ_STR(get("server.address"), "/run/mysqld/mysqld.sock");
	EQ_STR(get("server.port"), NULL);
	EQ_STR(get("network.peer.address"), NULL);
}

TEST(database_errors)
{
	struct sample s = query("SELECT ?");
	s.rec->peer.port = 6543;
	SET(&s, REC_DB_STATUS, "42P01");
	make(&s);
	EQ_INT(made.status, 2);
	EQ_STR(get("db.response.status_code"), "42P01");
	EQ_STR(get("error.type"), "42P01");
	EQ_STR(get("server.port"), "6543");
	s = query("SELECT ?");
	s.rec->error = ERR_PEER_CLOSED;
	make(&s);
	EQ_INT(made.status, 2);
	EQ_STR(get("error.type"), "peer_closed");
	EQ_STR(get("db.response.status_code"), NULL);
	s = query("");
	s.rec->minor = REC_DB_LOGIN;
	SET(&s, REC_DB_STATUS, "28P01");
	make(&s);
	EQ_STR(made.name, "connect");
	EQ_STR(get("db.query.text"), NULL);
}

TEST(database_of_an_unknown_kind)
{
	struct sample s = query("");
	s.rec->method = 77;
	rec_set(&s.view, REC_DB, (struct slice){NULL, 0});
	make(&s);
	EQ_STR(made.name, "other_sql");
	EQ_STR(get("db.namespace"), NULL);
}

TEST(server_with_all_there_is)
{
	struct sample s = sample_new(SPAN_SERVER);
	SET(&s, REC_CLIENT_ADDR, "2001:db8::17");
	SET(&s, REC_ROUTE, "/a/{id}");
	SET(&s, REC_TRACESTATE, "a=1,b=2");
	SET(&s, REC_METHOD, "BREW");
	s.rec->method = HTTP1_OTHER;
	s.rec->minor = 0;
	s.rec->status = 0;
	s.rec->error = ERR_CLIENT_CLOSED;
	s.rec->bits = REC_HTTPS | REC_AMBIGUOUS | REC_PARENT_REMOTE | REC_REQ_BODY | REC_RESP_BODY;
	s.rec->req_size = 1;
	s.rec->resp_size = UINT64_MAX;
	s.rec->parent_id[7] = 1;
	make(&s);
	EQ_STR(made.name, "HTTP /a/{id}");
	EQ_INT(made.flags, 0x303);
	EQ_INT(made.has_parent, 1);
	EQ_INT(made.status, 2);
	EQ_STR(made.trace_state, "a=1,b=2");
	EQ_STR(get("http.request.method"), "_OTHER");
	EQ_STR(get("http.request.method_original"), "BREW");
	EQ_STR(get("http.route"), "/a/{id}");
	EQ_STR(get("url.scheme"), "https");
	EQ_STR(get("client.address"), "2001:db8::17");
	EQ_STR(get("network.peer.address"), "192.0.2.9");
	EQ_STR(get("network.protocol.version"), "1.0");
	EQ_STR(get("http.request.body.size"), "1");
	EQ_STR(get("http.response.body.size"), "9223372036854775807");
	EQ_STR(get("error.type"), rec_error_name(ERR_CLIENT_CLOSED, 0));
	EQ_STR(get("remora.parent"), "ambiguous");
	EQ_STR(get("http.response.status_code"), NULL);
}

TEST(where_the_server_is)
{
	static const struct {
		uint8_t method;
		const char *target, *host, *path, *query, *scheme, *address, *port;
	} rows[] = {
		{HTTP1_GET, "/", "h", "/", NULL, "http", "h", "8080"},
		{HTTP1_GET, "/?", "h:", "/", NULL, "http", "h", "8080"},
		{HTTP1_GET, "/?a?b", "h:1", "/", "a?b", "http", "h", "1"},
		{HTTP1_GET, "/", NULL, "/", NULL, "http", "127.0.0.1", "8080"},
		{HTTP1_GET, "/", "[2001:db8::1]", "/", NULL, "http", "2001:db8::1", "8080"},
		{HTTP1_GET, "/", "[2001:db8::1]:81", "/", NULL, "http", "2001:db8::1", "81"},
		{HTTP1_GET, "/", "[2001:db8::1", "/", NULL, "http", "[2001:db8::1", "8080"},
		{HTTP1_GET, "/", "2001:db8::1", "/", NULL, "http", "2001:db8::1", "8080"},
		{HTTP1_GET, "/", "h:x", "/", NULL, "http", "h", "8080"},
		{HTTP1_GET, "/", "h:65536", "/", NULL, "http", "h", "8080"},
		{HTTP1_GET, "/", "h:65535", "/", NULL, "http", "h", "65535"},
		{HTTP1_GET, "/", "u:p@h:1", "/", NULL, "http", "h", "1"},
		{HTTP1_GET, "/", ":1", "/", NULL, "http", "127.0.0.1", "8080"},
		{HTTP1_GET, "http://e.test/a?b", "h", "/a", "b", "http", "e.test", "8080"},
		{HTTP1_GET, "HTTPS://e.test:1?b", "h", "/", "b", "https", "e.test", "1"},
		{HTTP1_GET, "http://e.test", "h", "/", NULL, "http", "e.test", "8080"},
		{HTTP1_GET, "http://REDACTED:REDACTED@e.test/", "h", "/", NULL, "http", "e.test", "8080"},
		{HTTP1_GET, "ftp://e.test/x", "h", "/x", NULL, "ftp", "e.test", "8080"},
		{HTTP1_GET, "http:///x", "h:2", "/x", NULL, "http", "h", "2"},
		{HTTP1_GET, "/x?u=http://e.test/", "h", "/x", "u=http://e.test/", "http", "h", "8080"},
		{HTTP1_GET, "x?u=http://e.test/", "h", "x", "u=http://e.test/", "http", "h", "8080"},
		{HTTP1_OPTIONS, "*", "h", "*", NULL, "http", "h", "8080"},
		{HTTP1_CONNECT, "e.test:443", "h", "/", NULL, "http", "e.test", "443"},
		{HTTP1_CONNECT, "[::1]:443", "h", "/", NULL, "http", "::1", "443"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sample s = sample_new(SPAN_SERVER);
		unit_case("%s of %s", rows[i].target, rows[i].host ? rows[i].host : "nobody");
		s.rec->method = rows[i].method;
		sample_set(&s, REC_TARGET, rows[i].target, strlen(rows[i].target));
		sample_set(&s, REC_HOST, rows[i].host, rows[i].host ? strlen(rows[i].host) : 0);
		make(&s);
		EQ_STR(get("url.path"), rows[i].path);
		EQ_STR(get("url.query"), rows[i].query);
		EQ_STR(get("url.scheme"), rows[i].scheme);
		EQ_STR(get("server.address"), rows[i].address);
		EQ_STR(get("server.port"), rows[i].port);
	}
}

TEST(client)
{
	struct sample s = sample_new(SPAN_CLIENT);
	s.rec->peer = v4(0xc0000201, 8080);
	SET(&s, REC_USER_AGENT, "not told by clients");
	make(&s);
	EQ_STR(made.name, "GET");
	EQ_INT(made.kind, 3);
	EQ_STR(get("http.request.method"), "GET");
	EQ_STR(get("url.full"), "http://shop.test:8080/a/b?c=d");
	EQ_STR(get("server.address"), "shop.test");
	EQ_STR(get("server.port"), "8080");
	EQ_STR(get("network.peer.address"), "192.0.2.1");
	EQ_STR(get("network.peer.port"), "8080");
	EQ_STR(get("network.protocol.version"), "1.1");
	EQ_STR(get("http.response.status_code"), "200");
	EQ_STR(get("url.path"), NULL);
	EQ_STR(get("url.scheme"), NULL);
	EQ_STR(get("client.address"), NULL);
	EQ_STR(get("user_agent.original"), NULL);
}

TEST(where_the_client_goes)
{
	static const struct {
		uint8_t method, bits;
		uint16_t peer_port;
		const char *target, *host, *url, *address, *port;
	} rows[] = {
		{HTTP1_GET, 0, 80, "/x", "h", "http://h/x", "h", "80"},
		{HTTP1_GET, 0, 81, "/x", "h", "http://h/x", "h", "81"},
		{HTTP1_GET, REC_HTTPS, 443, "/x", "h", "https://h/x", "h", "443"},
		{HTTP1_GET, 0, 81, "/x", "h:82", "http://h:82/x", "h", "82"},
		{HTTP1_GET, 0, 81, "/x", "u:p@h:82", "http://h:82/x", "h", "82"},
		{HTTP1_GET, 0, 80, "/x", NULL, "http://192.0.2.9/x", "192.0.2.9", "80"},
		{HTTP1_GET, 0, 81, "/x", NULL, "http://192.0.2.9:81/x", "192.0.2.9", "81"},
		{HTTP1_GET, 0, 81, "/x", "[::1]:82", "http://[::1]:82/x", "::1", "82"},
		{HTTP1_GET, 0, 3128, "http://e.test/x", "e.test", "http://e.test/x", "e.test", "80"},
		{HTTP1_GET, 0, 3128, "https://e.test/x", "e.test", "https://e.test/x", "e.test", "443"},
		{HTTP1_GET, 0, 3128, "http://e.test:8/x", "other", "http://e.test:8/x", "e.test", "8"},
		{HTTP1_OPTIONS, 0, 80, "*", "h", "http://h", "h", "80"},
		{HTTP1_CONNECT, 0, 3128, "e.test:443", "e.test:443", "http://e.test:443", "e.test", "443"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sample s = sample_new(SPAN_CLIENT);
		unit_case("%s of %s", rows[i].target, rows[i].host ? rows[i].host : "nobody");
		s.rec->method = rows[i].method;
		s.rec->bits = rows[i].bits;
		s.rec->peer.port = rows[i].peer_port;
		sample_set(&s, REC_TARGET, rows[i].target, strlen(rows[i].target));
		sample_set(&s, REC_HOST, rows[i].host, rows[i].host ? strlen(rows[i].host) : 0);
		make(&s);
		EQ_STR(get("url.full"), rows[i].url);
		EQ_STR(get("server.address"), rows[i].address);
		EQ_STR(get("server.port"), rows[i].port);
	}
}

TEST(addresses)
{
	struct sample s = sample_new(SPAN_CLIENT);
	s.rec->peer = (struct rec_addr){.ip = {0x20, 1, 0xd, 0xb8, [15] = 1}, .port = 81, .family = 6};
	sample_set(&s, REC_HOST, NULL, 0);
	make(&s);
	EQ_STR(get("url.full"), "http://[2001:db8::1]:81/a/b?c=d");
	EQ_STR(get("network.peer.address"), "2001:db8::1");
	s.rec->peer.family = 0; /* a Unix socket */
	make(&s);
	EQ_STR(get("url.full"), NULL);
	EQ_STR(get("network.peer.port"), NULL);
	s = sample_new(SPAN_SERVER);
	s.rec->peer.family = s.rec->local.family = 0;
	s.rec->local.port = 0;
	make(&s);
	EQ_STR(get("client.address"), NULL);
	EQ_STR(get("server.address"), "shop.test");
	sample_set(&s, REC_HOST, NULL, 0);
	make(&s);
	EQ_STR(get("server.address"), NULL);
	EQ_STR(get("server.port"), NULL);
}

TEST(when_it_failed)
{
	static const struct {
		uint8_t kind;
		uint16_t status;
		uint8_t error;
		int status_code;
		const char *type;
	} rows[] = {
		{SPAN_SERVER, 200, 0, 0, NULL},
		{SPAN_SERVER, 404, 0, 0, NULL},
		{SPAN_SERVER, 499, 0, 0, NULL},
		{SPAN_SERVER, 500, 0, 2, "500"},
		{SPAN_SERVER, 999, 0, 2, "999"},
		{SPAN_CLIENT, 399, 0, 0, NULL},
		{SPAN_CLIENT, 400, 0, 2, "400"},
		{SPAN_CLIENT, 503, 0, 2, "503"},
		{SPAN_CLIENT, 101, 0, 0, NULL},
		{SPAN_SERVER, 200, ERR_ERRNO, 2, ""},
		{SPAN_CLIENT, 0, ERR_ERRNO, 2, ""},
		{SPAN_CLIENT, 500, ERR_ERRNO, 2, ""},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sample s = sample_new(rows[i].kind);
		unit_case("row %zu", i);
		s.rec->status = rows[i].status;
		s.rec->error = rows[i].error;
		s.rec->err_no = 104;
		make(&s);
		EQ_INT(made.status, rows[i].status_code);
		EQ_STR(get("error.type"), rows[i].error ? rec_error_name(ERR_ERRNO, 104) : rows[i].type);
	}
}

TEST(failed_connect)
{
	struct sample s = sample_new(SPAN_CONNECT);
	s.rec->status = 0;
	s.rec->error = ERR_ERRNO;
	s.rec->err_no = 111;
	make(&s);
	EQ_STR(made.name, "connect");
	EQ_INT(made.kind, 3);
	EQ_INT(made.status, 2);
	EQ_INT(made.n, 5);
	EQ_STR(get("server.address"), "192.0.2.9");
	EQ_STR(get("server.port"), "40000");
	EQ_STR(get("network.peer.address"), "192.0.2.9");
	EQ_STR(get("network.peer.port"), "40000");
	EQ_STR(get("error.type"), rec_error_name(ERR_ERRNO, 111));
}

TEST(any_bytes)
{
	struct sample s = sample_new(SPAN_SERVER);
	SET(&s, REC_TARGET, "/\xff?\xc3\xa9=\xe2\x82");
	SET(&s, REC_HOST, "h\xf0\x9f:1");
	SET(&s, REC_USER_AGENT, "a\0b\xe9");
	SET(&s, REC_ROUTE, "/\x80");
	SET(&s, REC_TRACESTATE, "a=\xff");
	make(&s);
	EQ_STR(made.name, "GET /\xef\xbf\xbd");
	EQ_STR(made.trace_state, "a=\xef\xbf\xbd");
	EQ_STR(get("url.path"), "/\xef\xbf\xbd");
	EQ_STR(get("url.query"), "\xc3\xa9=\xef\xbf\xbd");
	EQ_STR(get("server.address"), "h\xef\xbf\xbd");
	EQ_STR(get("user_agent.original"), "a\xef\xbf\275b\xef\xbf\xbd");
}

/* Fields that no honest process writes. */
TEST(hostile_record)
{
	struct sample s = sample_new(SPAN_SERVER);
	s.rec->method = 200;
	s.rec->error = 200;
	s.rec->err_no = -5;
	s.rec->minor = 77;
	s.rec->status = 65535;
	s.rec->bits = 255;
	s.rec->peer.family = 9;
	s.rec->end_ns = 1;
	make(&s);
	EQ_INT(made.end_ns, made.start_ns);
	EQ_STR(get("http.request.method"), "_OTHER");
	EQ_STR(get("network.protocol.version"), NULL);
	s.rec->kind = 0;
	OK(!span_attrs_make(&made, &s.view, &no_limits));
	s.rec->kind = SPAN_KINDS;
	OK(!span_attrs_make(&made, &s.view, &no_limits));
	s.rec->kind = SPAN_CLIENT;
	memset(s.rec->span_id, 0, 8);
	OK(!span_attrs_make(&made, &s.view, &no_limits));
	memset(s.rec->span_id, 1, 8);
	memset(s.rec->trace_id, 0, 16);
	OK(!span_attrs_make(&made, &s.view, &no_limits));
}

TEST(long_strings)
{
	static char big[REC_VAR_MAX];
	memset(big, 0xff, sizeof big);
	for (uint8_t kind = SPAN_SERVER; kind < SPAN_KINDS; kind++)
		for (int tag = 1; tag < REC_TAG_MAX; tag++)
			for (size_t n = 300; n <= sizeof big; n = n < 700 ? n + 1 : n * 4) {
				struct sample s = sample_new(kind);
				unit_case("kind %d tag %d length %zu", kind, tag, n);
				sample_set(&s, (enum rec_tag)tag, big, n);
				make(&s);
				if (tag == REC_USER_AGENT && kind == SPAN_SERVER)
					EQ_INT(attr_named(made.attrs, made.n, "user_agent.original")->str_len, 3 * n);
				span_attrs_free(&made);
			}
}

TEST(limits)
{
	struct sample s = sample_new(SPAN_SERVER);
	SET(&s, REC_USER_AGENT, "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9");
	make(&s);
	uint32_t all = made.n;
	for (uint32_t most = 0; most < all; most++) {
		struct settings limit = {.attr_count_limit = most, .attr_length_limit = UINT32_MAX};
		OK(span_attrs_make(&made, &s.view, &limit));
		EQ_INT(made.n, most);
		EQ_INT(made.dropped, all - most);
	}
	struct settings limit = {.attr_count_limit = 128, .attr_length_limit = 3};
	OK(span_attrs_make(&made, &s.view, &limit));
	EQ_INT(made.n, all);
	EQ_INT(made.dropped, 0);
	EQ_STR(get("user_agent.original"), "\xc3\xa9\xc3\xa9\xc3\xa9");
	EQ_STR(get("url.scheme"), "htt");
	EQ_STR(get("server.address"), "sho");
	EQ_STR(get("client.address"), "192");
	EQ_STR(get("http.response.status_code"), "200");
}
