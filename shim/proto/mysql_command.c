/* What a client of MySQL's protocol says: its login and its commands. */
#include "proto/mysql_packet.h"
#include "proto/scan.h"

enum {
	COM_QUIT = 1,
	COM_INIT_DB,
	COM_QUERY,
	COM_FIELD_LIST,
	COM_CREATE_DB,
	COM_DROP_DB,
	COM_REFRESH,
	COM_SHUTDOWN,
	COM_STATISTICS,
	COM_PROCESS_INFO,
	COM_PROCESS_KILL = 12,
	COM_DEBUG,
	COM_PING,
	COM_CHANGE_USER = 17,
	COM_STMT_PREPARE = 22,
	COM_STMT_EXECUTE,
	COM_STMT_SEND_LONG_DATA,
	COM_STMT_CLOSE,
	COM_STMT_RESET,
	COM_SET_OPTION,
	COM_STMT_FETCH,
	COM_RESET_CONNECTION = 31,
	COM_STMT_BULK_EXECUTE = 250,
};

uint32_t mysql_want_client(const struct mysql *s, unsigned char first)
{
	if (s->phase == PHASE_LOGIN)
		return MYSQL_TEXT;
	if (s->phase != PHASE_COMMANDS)
		return 1;
	switch (first) {
	case COM_QUERY:
		return s->caps & CAP_QUERY_ATTRIBUTES ? MYSQL_TEXT : 1 + DB_TEXT_MAX;
	case COM_STMT_PREPARE:
		return 1 + DB_TEXT_MAX;
	case COM_CHANGE_USER:
		return MYSQL_TEXT;
	case COM_INIT_DB:
		return 1 + sizeof s->db;
	default:
		return 16;
	}
}

/* user, proof, database: the same in the answer to the greeting and in COM_CHANGE_USER. */
static void user_and_database(struct mysql *s, struct reader *r, uint64_t caps, bool db, struct db_event *e)
{
	struct slice user = read_zero(r), proof;
	bool known = !r->bad;
	if (caps & CAP_AUTH_LENENC)
		proof = read_string(r);
	else if (caps & CAP_SECURE_CONNECTION)
		proof = read_bytes(r, read_int(r, 1));
	else
		proof = read_zero(r);
	struct slice name = db ? read_zero(r) : (struct slice){proof.p, 0};
	e->what = DB_SESSION;
	if (known)
		e->user = user;
	if (!r->bad)
		e->database = name;
	/* Proofs stay in no buffer of ours, not even until the next call. */
	if (proof.n && proof.p >= s->text && proof.p < s->text + sizeof s->text)
		memset(s->text + (proof.p - s->text), 0, proof.n);
}

static bool login(struct mysql *s, struct slice m, struct db_event *e)
{
	struct reader r = reader_of(m);
	uint64_t caps = read_int(&r, 4);
	read_int(&r, 4 + 1); /* longest packet, character set */
	read_bytes(&r, 19);
	uint64_t more = read_int(&r, 4);
	if (r.bad || !(caps & CAP_PROTOCOL_41) || caps & CAP_SSL) /* m is 32 bytes long then: TLS comes next */
		return false;
	if (!(caps & CAP_MYSQL))
		caps |= more << 32;
	s->caps &= caps;
	user_and_database(s, &r, s->caps, caps & CAP_CONNECT_WITH_DB, e);
	s->phase = PHASE_AUTH;
	return mysql_push(s, ANSWER_LOGIN);
}

/* What a bound value of this type takes, in the binary protocol: 9 = its length stands before it. 0: unknown. */
static unsigned value_size(unsigned type)
{
	static const unsigned char size[17] = {9, 1, 2, 4, 4, 8, 0, 9, 8, 4, 9, 9, 9, 2, 0, 9, 9};
	return type < sizeof size ? size[type] : type >= 0xf5 ? 9
	                                                      : 0;
}

/*
 * The attributes that stand before a query. Their values are passed over like rows are: false where that cannot be done
 * with the bytes at hand.
 */
static bool skip_attributes(struct reader *r)
{
	unsigned char types[64];
	uint64_t n = read_lenenc(r);
	read_lenenc(r); /* how many sets: one */
	if (n == 0)
		return !r->bad;
	struct slice nulls = read_bytes(r, (n + 7) / 8);
	if (n > sizeof types || read_int(r, 1) != 1)
		return false;
	for (uint64_t i = 0; i < n; i++) {
		types[i] = (unsigned char)read_int(r, 1);
		read_int(r, 1); /* unsigned? */
		read_string(r); /* name */
	}
	for (uint64_t i = 0; i < n && !r->bad; i++) {
		unsigned size = value_size(types[i]);
		if (nulls.p[i / 8] >> i % 8 & 1 || types[i] == 6)
			continue;
		if (size == 0)
			return false;
		if (size == 9)
			read_string(r);
		else
			read_bytes(r, size);
	}
	return !r->bad;
}

static bool blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct slice word(struct slice *t)
{
	while (t->n && blank(*t->p))
		t->p++, t->n--;
	struct slice w = {t->p, 0};
	if (t->n && *t->p == '`') {
		const char *q = memchr(t->p + 1, '`', t->n - 1);
		w.n = q ? (uint32_t)(q - t->p) + 1 : t->n;
	} else {
		while (w.n < t->n && w.p[w.n] != ';' && !blank(w.p[w.n]))
			w.n++;
	}
	t->p += w.n;
	t->n -= w.n;
	return w;
}

static bool keep_db(struct mysql *s, struct slice name)
{
	if (s->db_n || name.n == 0 || name.n > sizeof s->db)
		return false;
	memcpy(s->db, name.p, name.n);
	s->db_n = (uint16_t)name.n;
	return true;
}

/* Is it USE, and nothing else? Its database is kept. */
static bool use(struct mysql *s, struct slice text)
{
	struct slice verb = word(&text), name = word(&text);
	while (text.n && (blank(*text.p) || *text.p == ';'))
		text.p++, text.n--;
	if (verb.n != 3 || !NAME_IS(verb.p, "use") || text.n)
		return false;
	if (name.n > 2 && *name.p == '`')
		name = (struct slice){name.p + 1, name.n - 2};
	return keep_db(s, name);
}

static bool query(struct mysql *s, struct reader *r, bool cut, struct db_event *e)
{
	e->what = DB_COMMAND;
	if (s->caps & CAP_QUERY_ATTRIBUTES && !skip_attributes(r))
		return mysql_push(s, ANSWER_QUERY);
	e->text = (struct slice){(const char *)r->p, (uint32_t)(r->e - r->p)};
	e->cut = cut || e->text.n > DB_TEXT_MAX;
	if (e->text.n > DB_TEXT_MAX)
		e->text.n = DB_TEXT_MAX;
	return mysql_push(s, !e->cut && use(s, e->text) ? ANSWER_USE : ANSWER_QUERY);
}

static bool prepare(struct mysql *s, struct reader *r, bool cut, struct db_event *e)
{
	if (s->preparing)
		return mysql_push(s, ANSWER_PREPARE_UNTOLD);
	s->preparing = true;
	e->what = DB_PREPARE;
	e->key = DB_KEY_NEXT;
	e->text = (struct slice){(const char *)r->p, (uint32_t)(r->e - r->p)};
	e->cut = cut;
	return mysql_push(s, ANSWER_PREPARE);
}

static bool execute(struct mysql *s, struct reader *r, struct db_event *e)
{
	uint32_t id = (uint32_t)read_int(r, 4);
	e->what = DB_COMMAND;
	e->prepared = true;
	e->key = mysql_key(id);
	if (id == UINT32_MAX) /* MariaDB: the one that was prepared last, whose answer may be on its way */
		e->key = s->preparing ? DB_KEY_NEXT : mysql_key(s->last_id);
	return !r->bad && mysql_push(s, ANSWER_QUERY);
}

/* False: we do not know what follows. */
static bool command(struct mysql *s, struct slice m, struct db_event *e)
{
	struct reader r = reader_of(m);
	unsigned what = (unsigned)read_int(&r, 1);
	bool cut = s->client.inside;
	if (r.bad || s->client.seq != 0)
		return false;
	switch (what) {
	case COM_QUIT:
		s->phase = PHASE_QUIT;
		return true;
	case COM_QUERY:
		return query(s, &r, cut, e);
	case COM_STMT_PREPARE:
		return prepare(s, &r, cut, e);
	case COM_STMT_EXECUTE:
	case COM_STMT_BULK_EXECUTE:
		return execute(s, &r, e);
	case COM_STMT_SEND_LONG_DATA:
		return true;
	case COM_STMT_CLOSE:
		e->what = DB_FORGET;
		e->key = mysql_key((uint32_t)read_int(&r, 4));
		return !r.bad;
	case COM_STMT_FETCH:
		return mysql_push(s, ANSWER_ROWS);
	case COM_INIT_DB:
		return mysql_push(s, !cut && keep_db(s, (struct slice){m.p + 1, m.n - 1}) ? ANSWER_DB : ANSWER_OK);
	case COM_CHANGE_USER:
		user_and_database(s, &r, s->caps & ~CAP_AUTH_LENENC, true, e);
		s->phase = PHASE_AUTH;
		return s->open == 0 && mysql_push(s, ANSWER_LOGIN);
	case COM_FIELD_LIST:
		return mysql_push(s, ANSWER_COLUMNS);
	case COM_STATISTICS:
		return mysql_push(s, ANSWER_STRING);
	case COM_PROCESS_INFO:
		return mysql_push(s, ANSWER_RESULT);
	case COM_CREATE_DB:
	case COM_DROP_DB:
	case COM_REFRESH:
	case COM_SHUTDOWN:
	case COM_PROCESS_KILL:
	case COM_DEBUG:
	case COM_PING:
	case COM_STMT_RESET:
	case COM_SET_OPTION:
	case COM_RESET_CONNECTION:
		return mysql_push(s, ANSWER_OK);
	default:
		return false;
	}
}

bool mysql_said(struct mysql *s, struct slice m, struct db_event *e)
{
	switch (s->phase) {
	case PHASE_GREETING:
		return false;
	case PHASE_LOGIN:
		return login(s, m, e);
	case PHASE_COMMANDS:
		return command(s, m, e);
	case PHASE_FILE:
		if (m.n == 0)
			s->phase = PHASE_COMMANDS;
		return true;
	default:
		return true;
	}
}
