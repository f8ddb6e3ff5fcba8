/* Databases on connections: what passes, and the records that come of it. Their protocols in full: test_postgres.c, test_mysql.c. */
#include "conn_sample.h"
#include "conn/names.h"
#include "proto/db.h"
#include <netdb.h>

#define M(s) (s), sizeof(s) - 1

static const char startup[] = "\0\0\0\x21\0\3\0\0"
							  "user\0anna\0database\0shop\0"; /* the last NUL is the literal's */
static const char welcome[] = "R\0\0\0\x08\0\0\0\0"
							  "S\0\0\0\x18server_version\00015.3\0"
							  "Z\0\0\0\5I";
#define READY "Z\0\0\0\5I"
#define DONE "C\0\0\0\x0dSELECT 1\0"
#define ERROR_42P01 "E\0\0\0\x19SERROR\0C42P01\0Mno t\0\0"

static char *put32(char *to, size_t n)
{
	for (int i = 3; i >= 0; i--)
		*to++ = (char)(n >> (8 * i));
	return to;
}

/* A message of a type and a text with its NUL. */
static void send_text(int fd, char type, const char *text)
{
	static char m[8192];
	size_t n = strlen(text) + 1;
	m[0] = type;
	memcpy(put32(m + 1, n + 4), text, n);
	tx(fd, m, n + 5);
}

static void begin(int fd[2])
{
	sample_pair(fd);
	sample_connected(fd[0]);
	tx(fd[0], startup, sizeof startup);
	rx(fd[0], M(welcome));
}

static void end(int fd[2])
{
	sample_close(fd[0]);
	close(fd[1]);
}

/* "what text [status] !error xN; ..." */
static const char *told(void)
{
	static char out[16384], scratch[REC_VAR_MAX];
	char *o = out;
	uint32_t slot;
	*o = 0;
	while (arena_drain(process.arena, &slot, 1, true, true) == 1) {
		struct rec_view v;
		OK(rec_view(process.arena, slot, scratch, &v));
		const struct span_rec *r = v.rec;
		const struct slice q = rec_str(&v, REC_QUERY), s = rec_str(&v, REC_DB_STATUS);
		EQ_INT(r->kind, SPAN_DB);
		o += sprintf(o, "%s%d %.*s", o > out ? "; " : "", r->minor, (int)q.n, q.n ? q.p : "");
		if (s.n)
			o += sprintf(o, " [%.*s]", (int)s.n, s.p);
		if (r->error)
			o += sprintf(o, " !%s", rec_error_name(r->error, r->err_no));
		if (r->req_size != 1)
			o += sprintf(o, " x%d", (int)r->req_size);
		if (r->bits & REC_CUT)
			o += sprintf(o, " cut");
		arena_free(process.arena, &slot, 1);
	}
	return out;
}

TEST(query)
{
	int fd[2];
	uint32_t slot;
	char scratch[REC_VAR_MAX];
	struct rec_view v;
	sample_begin();
	begin(fd);
	send_text(fd[0], 'Q', "select a from t where p = 'secret'");
	rx(fd[0], M(DONE));
	EQ_STR(told(), "");
	rx(fd[0], M(READY));
	EQ_INT(arena_drain(process.arena, &slot, 1, true, true), 1);
	OK(rec_view(process.arena, slot, scratch, &v));
	OK(slice_eq(rec_str(&v, REC_QUERY), SLICE("select a from t where p = ?")));
	OK(slice_eq(rec_str(&v, REC_DB), SLICE("shop\nanna\n15.3\n")));
	EQ_INT(v.rec->method, DB_POSTGRESQL);
	arena_free(process.arena, &slot, 1);
	end(fd);
	sample_clean();
}

TEST(errors)
{
	int fd[2];
	sample_begin();
	begin(fd);
	send_text(fd[0], 'Q', "select 1 from nix");
	rx(fd[0], M(ERROR_42P01 READY));
	EQ_STR(told(), "0 select ? from nix [42P01]");
	send_text(fd[0], 'Q', "select 2");
	on_rx(fd[0], NULL, 100, 0, 0, 0);
	EQ_STR(told(), "0 select ? !peer_closed");
	end(fd);
	begin(fd);
	send_text(fd[0], 'Q', "select 3");
	end(fd);
	EQ_STR(told(), "0 select ? !closed");
	sample_clean();
}

TEST(login_refused)
{
	int fd[2];
	sample_begin();
	sample_pair(fd);
	sample_connected(fd[0]);
	tx(fd[0], startup, sizeof startup);
	rx(fd[0], M(ERROR_42P01));
	EQ_STR(told(), "3  [42P01]");
	end(fd);
	sample_clean();
}

/* Parse, Bind, Execute, Sync; then the statement's name alone. */
TEST(prepared)
{
	static const char parse[] = "P\0\0\0\x1ds1\0select $1, 'secret'\0\0\0";
	static const char run[] = "B\0\0\0\x0e\0s1\0\0\0\0\0\0\0"
							  "E\0\0\0\x09\0\0\0\0\0"
							  "S\0\0\0\4";
	static const char answer[] = "2\0\0\0\4" DONE READY;
	int fd[2];
	sample_begin();
	begin(fd);
	tx(fd[0], M(parse));
	tx(fd[0], M(run));
	rx(fd[0], M("1\0\0\0\4"));
	rx(fd[0], M(answer));
	EQ_STR(told(), "0 select $1, ?");
	tx(fd[0], M(run));
	rx(fd[0], M(answer));
	EQ_STR(told(), "1 select $1, ?");
	end(fd);
	sample_clean();
}

TEST(long_text_is_cut)
{
	static char text[6000];
	int fd[2];
	sample_begin();
	memset(text, 'a', sizeof text - 1);
	memcpy(text, "select ", 7);
	for (size_t i = 20; i < sizeof text - 1; i += 20)
		text[i] = ' ';
	begin(fd);
	send_text(fd[0], 'Q', text);
	rx(fd[0], M(DONE READY));
	const char *got = told();
	OK(strlen(got) > 3900 && strlen(got) < 4200 && strcmp(got + strlen(got) - 4, " cut") == 0);
	end(fd);
	sample_clean();
}

/* TLS: nothing for us from here on. */
TEST(tls)
{
	int fd[2];
	sample_begin();
	uint64_t before = counted(COUNT_OPAQUE_DB);
	sample_pair(fd);
	sample_connected(fd[0]);
	tx(fd[0], M("\0\0\0\x08\x04\xd2\x16\x2f"));
	OK(!is_opaque(fd[0]));
	rx(fd[0], M("S"));
	OK(is_opaque(fd[0]));
	EQ_INT(counted(COUNT_OPAQUE_DB), before + 1);
	end(fd);
	EQ_STR(told(), "");
	sample_clean();
}

TEST(switched_off)
{
	int fd[2];
	sample_begin();
	config.no_databases = true;
	sample_pair(fd);
	sample_connected(fd[0]);
	tx(fd[0], startup, sizeof startup);
	OK(is_opaque(fd[0]));
	end(fd);
	sample_clean();
}

/* The name that the program had resolved, of the address that it went to. */
TEST(named_server)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, other = in;
	struct addrinfo second = {.ai_addr = (struct sockaddr *)&in, .ai_addrlen = sizeof in};
	struct addrinfo first = {.ai_addr = (struct sockaddr *)&other, .ai_addrlen = sizeof other, .ai_next = &second};
	char long_name[200], out[NAME_MOST], scratch[REC_VAR_MAX];
	struct rec_addr a;
	struct rec_view v;
	uint32_t slot;
	int fd[2];
	sample_begin();
	other.sin_addr.s_addr = htonl(0xc0000201);
	memset(long_name, 'x', sizeof long_name);
	long_name[sizeof long_name - 1] = 0;
	on_resolved("db.shop.internal", &first);
	on_resolved("127.0.0.1", &first); /* no name */
	on_resolved(long_name, &first);
	on_resolved(NULL, &first);
	sample_tcp(fd);
	conn_addr_set(&a, &other, sizeof other);
	EQ_INT(names_find(&a, out), 16);
	a.ip[0]++;
	EQ_INT(names_find(&a, out), 0);
	conn_set(fd[0], FD_UNKNOWN);
	socklen_t n = sizeof in;
	OK(getpeername(fd[0], (struct sockaddr *)&in, &n) == 0);
	OK(on_connect(fd[0], (struct sockaddr *)&in, n));
	on_connected(fd[0], 0, 0);
	tx(fd[0], startup, sizeof startup);
	rx(fd[0], M(welcome));
	send_text(fd[0], 'Q', "select 1");
	rx(fd[0], M(DONE READY));
	EQ_INT(arena_drain(process.arena, &slot, 1, true, true), 1);
	OK(rec_view(process.arena, slot, scratch, &v));
	OK(slice_eq(rec_str(&v, REC_PEER_NAME), SLICE("db.shop.internal")));
	arena_free(process.arena, &slot, 1);
	end(fd);
	sample_clean();
}

/* A server is not looked at, whoever connects to it. */
TEST(servers_stay_untouched)
{
	int fd[2];
	sample_begin();
	sample_pair(fd);
	on_accept(fd[0], NULL, 0);
	rx(fd[0], startup, sizeof startup);
	OK(is_opaque(fd[0]));
	end(fd);
	sample_clean();
}

/* What passes unseen ends it; requests in flight are forgotten, nothing leaks. */
TEST(unseen_bytes)
{
	int fd[2];
	sample_begin();
	begin(fd);
	send_text(fd[0], 'Q', "select 1");
	on_tx_unseen(fd[0], 100, 0);
	OK(is_opaque(fd[0]));
	end(fd);
	EQ_STR(told(), "");
	sample_clean();
}

/* More statements than are kept: the oldest goes, the newest are there. */
TEST(many_statements)
{
	int fd[2];
	char m[128];
	sample_begin();
	begin(fd);
	for (int i = 0; i < 600; i++) {
		int n = sprintf(m + 5, "s%03d%cselect %c%d%c", i, 0, '$', 1, 0) + 2;
		m[0] = 'P';
		put32(m + 1, (size_t)n + 4);
		m[5 + n - 2] = m[5 + n - 1] = 0;
		tx(fd[0], m, (size_t)n + 5);
		tx(fd[0], M("S\0\0\0\4"));
		rx(fd[0], M("1\0\0\0\4" READY));
	}
	static const char run[] = "B\0\0\0\x10\0s599\0\0\0\0\0\0\0"
							  "E\0\0\0\x09\0\0\0\0\0"
							  "B\0\0\0\x10\0s000\0\0\0\0\0\0\0"
							  "E\0\0\0\x09\0\0\0\0\0"
							  "S\0\0\0\4";
	tx(fd[0], M(run));
	rx(fd[0], M("2\0\0\0\4" DONE "2\0\0\0\4" DONE READY));
	EQ_STR(told(), "1 select $1; 1 ");
	end(fd);
	sample_clean();
}
