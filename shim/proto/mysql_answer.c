/* What a server of MySQL's protocol says: the greeting, and the answers to what lies in the ring. */
#include "proto/mysql_packet.h"

enum state { /* of the oldest command's answer */
	         STATE_FIRST,
	         STATE_COLUMNS,     /* `defs` definitions to come */
	         STATE_COLUMNS_END, /* an EOF behind them */
	         STATE_ROWS,
	         STATE_PREPARED, /* `defs` packets to come, which tell nothing */
};

enum { STATUS_MORE_RESULTS = 8,
	   STATUS_CURSOR = 0x40,
	   STATUS_SESSION = 0x4000 };

static enum answer oldest(const struct mysql *s)
{
	return (enum answer)s->ring[s->first];
}

static bool in_rows(const struct mysql *s)
{
	return s->open && (s->state == STATE_ROWS || (s->state == STATE_FIRST && oldest(s) == ANSWER_ROWS));
}

/* How much of a message tells all that we want to know of it. Rows and errors' texts are never kept. */
uint32_t mysql_want_server(const struct mysql *s, unsigned char first)
{
	if (first == 0xff)
		return 3;
	if (s->phase == PHASE_GREETING)
		return MYSQL_ANSWER;
	if (in_rows(s))
		return first == 0xfe ? MYSQL_ANSWER : 1;
	if (first == 0 && s->state == STATE_FIRST)
		return MYSQL_ANSWER;
	return 16;
}

static bool greeting(struct mysql *s, struct slice m, struct db_event *e)
{
	struct reader r = reader_of(m);
	if (read_int(&r, 1) != 10)
		return false;
	struct slice v = read_zero(&r);
	read_bytes(&r, 4 + 8 + 1); /* thread, first part of the challenge, 0 */
	uint64_t caps = read_int(&r, 2);
	read_bytes(&r, 1 + 2);
	caps |= read_int(&r, 2) << 16;
	read_bytes(&r, 1 + 6);
	uint64_t more = read_int(&r, 4);
	if (r.bad || !(caps & CAP_PROTOCOL_41))
		return false;
	s->caps = caps & CAP_MYSQL ? caps : caps | more << 32;
	s->phase = PHASE_LOGIN;
	e->what = DB_SESSION;
	e->system = memmem(v.p, v.n, "MariaDB", 7) ? DB_MARIADB : DB_MYSQL;
	/* MariaDB 10 and later say so for the sake of old replicas. */
	if (e->system == DB_MARIADB && v.n > 6 && memcmp(v.p, "5.5.5-", 6) == 0)
		v = (struct slice){v.p + 6, v.n - 6};
	e->version = v;
	return true;
}

static struct slice decimal(struct mysql *s, unsigned v)
{
	char *end = s->status + sizeof s->status, *p = end;
	do
		*--p = (char)('0' + v % 10);
	while (v /= 10);
	return (struct slice){p, (uint32_t)(end - p)};
}

/* The oldest command has its answer; `error`: its number, or 0. */
static void answered(struct mysql *s, unsigned error, struct db_event *e)
{
	enum answer a = oldest(s);
	s->first = (uint16_t)((s->first + 1) % MYSQL_RING);
	s->open--;
	s->state = STATE_FIRST;
	s->db_told = false;
	if (a == ANSWER_USE || a == ANSWER_DB)
		s->db_n = 0;
	if (a == ANSWER_PREPARE)
		s->preparing = false;
	if (a == ANSWER_LOGIN)
		s->phase = PHASE_COMMANDS;
	if (a == ANSWER_QUERY || a == ANSWER_USE)
		e->what = DB_ANSWER;
	else if (error && (a == ANSWER_LOGIN || a == ANSWER_PREPARE))
		e->what = DB_REFUSED;
	if (a == ANSWER_PREPARE)
		e->key = DB_KEY_NEXT;
	if (error)
		e->status = decimal(s, error);
}

/* The database that an OK packet says the session has now; NULL: it says nothing of that. */
static struct slice schema_of(const struct mysql *s, struct reader r, unsigned status)
{
	struct slice none = {NULL, 0};
	read_int(&r, 2); /* warnings */
	if (!(s->caps & CAP_SESSION_TRACK) || !(status & STATUS_SESSION))
		return none;
	read_string(&r);
	struct slice all = read_string(&r);
	if (r.bad)
		return none;
	for (r = reader_of(all); r.p < r.e && !r.bad;) {
		uint64_t type = read_int(&r, 1);
		struct reader data = reader_of(read_string(&r));
		struct slice name = read_string(&data);
		if (type == 1 && !r.bad && !data.bad)
			return name;
	}
	return none;
}

enum ended { ENDED_NOT, /* another result follows */
	         ENDED,
	         ENDED_DB, /* and *e tells the database: the same packet once more for the rest */
	         ENDED_BAD };

/* OK, or what ends rows: have all results of the command come? */
static enum ended ended(struct mysql *s, struct slice m, struct db_event *e)
{
	struct reader r = reader_of(m);
	unsigned status;
	struct slice db = {NULL, 0};
	if (read_int(&r, 1) == 0xfe && m.n < 7) {
		read_int(&r, 2); /* warnings */
		status = (unsigned)read_int(&r, 2);
	} else {
		read_lenenc(&r); /* rows, id */
		read_lenenc(&r);
		status = (unsigned)read_int(&r, 2);
		db = schema_of(s, r, status);
	}
	if (r.bad)
		return ENDED_BAD;
	enum answer a = oldest(s);
	if (!db.p && s->db_n && (a == ANSWER_USE || a == ANSWER_DB))
		db = (struct slice){s->db, s->db_n};
	if (db.p && !s->db_told) {
		s->db_told = true;
		*e = (struct db_event){.what = DB_SESSION, .database = db};
		return ENDED_DB;
	}
	s->db_told = false;
	s->state = STATE_FIRST;
	return status & STATUS_MORE_RESULTS && (a == ANSWER_QUERY || a == ANSWER_USE || a == ANSWER_RESULT) ? ENDED_NOT : ENDED;
}

/* What follows a count of columns. */
static void columns(struct mysql *s, uint32_t n)
{
	s->defs = n;
	s->state = n ? STATE_COLUMNS : s->caps & CAP_DEPRECATE_EOF ? STATE_ROWS
	                                                           : STATE_COLUMNS_END;
}

static bool result(struct mysql *s, struct slice m)
{
	if ((unsigned char)*m.p == 0xfb) { /* LOAD DATA LOCAL: now the client speaks */
		if (s->open > 1 || s->client.inside || s->phase != PHASE_COMMANDS)
			return false;
		s->phase = PHASE_FILE;
		return true;
	}
	struct reader r = reader_of(m);
	uint64_t n = read_lenenc(&r);
	if (n == 0 || n > UINT16_MAX || r.bad)
		return false;
	/* MariaDB: does the client have the definitions from an earlier time? */
	bool known = s->caps & CAP_CACHE_METADATA && r.p < r.e && read_int(&r, 1) == 0;
	columns(s, known ? 0 : (uint32_t)n);
	return r.p == r.e;
}

static bool prepared(struct mysql *s, struct slice m, struct db_event *e)
{
	struct reader r = reader_of(m);
	read_int(&r, 1);
	uint32_t id = (uint32_t)read_int(&r, 4), columns = (uint32_t)read_int(&r, 2), params = (uint32_t)read_int(&r, 2);
	uint32_t eof = s->caps & CAP_DEPRECATE_EOF ? 0 : 1;
	bool told = oldest(s) == ANSWER_PREPARE;
	if (r.bad)
		return false;
	s->last_id = id;
	if (told) {
		s->preparing = false;
		s->ring[s->first] = ANSWER_PREPARE_UNTOLD; /* it has a key now */
	}
	s->defs = (params ? params + eof : 0) + (columns ? columns + eof : 0);
	if (s->defs)
		s->state = STATE_PREPARED;
	else
		answered(s, 0, e);
	if (told)
		*e = (struct db_event){.what = DB_PREPARED, .key = mysql_key(id)};
	return true;
}

static enum ended first_of_answer(struct mysql *s, struct slice m, struct db_event *e)
{
	unsigned char c = (unsigned char)*m.p;
	bool good = true;
	switch (oldest(s)) {
	case ANSWER_LOGIN:
		if (c == 0 && s->caps & (CAP_COMPRESS | CAP_ZSTD | CAP_OPTIONAL_METADATA))
			return ENDED_BAD;
		return c == 0 ? ended(s, m, e) : ENDED_NOT;
	case ANSWER_OK:
	case ANSWER_DB:
		return c == 0 || c == 0xfe ? ended(s, m, e) : ENDED_BAD;
	case ANSWER_STRING:
		return ENDED;
	case ANSWER_COLUMNS:
		return c == 0xfe ? ENDED : ENDED_NOT;
	case ANSWER_PREPARE:
	case ANSWER_PREPARE_UNTOLD:
		good = c == 0 && prepared(s, m, e);
		break;
	default:
		if (c == 0)
			return ended(s, m, e);
		good = result(s, m);
	}
	return good ? ENDED_NOT : ENDED_BAD;
}

static enum ended row(struct mysql *s, struct slice m, struct db_event *e)
{
	/* A row may begin with this byte too, but then it is longer than any end of rows. */
	uint32_t longest = s->caps & CAP_DEPRECATE_EOF ? 0xffffff : 9;
	if ((unsigned char)*m.p != 0xfe || s->server.len >= longest)
		return ENDED_NOT;
	return ended(s, m, e);
}

static enum ended columns_end(struct mysql *s, struct slice m)
{
	if ((unsigned char)*m.p != 0xfe || s->server.len != 5 || m.n < 5)
		return ENDED_BAD;
	/* With a cursor the rows are fetched later. */
	if ((unsigned char)m.p[3] & STATUS_CURSOR)
		return ENDED;
	s->state = STATE_ROWS;
	return ENDED_NOT;
}

static enum ended packet(struct mysql *s, struct slice m, struct db_event *e)
{
	if (in_rows(s))
		return row(s, m, e);
	switch (s->state) {
	case STATE_COLUMNS:
		if (m.n < 4 || memcmp(m.p, "\003def", 4) != 0)
			return ENDED_BAD;
		columns(s, s->defs - 1);
		return ENDED_NOT;
	case STATE_COLUMNS_END:
		return columns_end(s, m);
	case STATE_PREPARED:
		if (*m.p != 3 && (unsigned char)*m.p != 0xfe)
			return ENDED_BAD;
		return --s->defs ? ENDED_NOT : ENDED;
	default:
		return first_of_answer(s, m, e);
	}
}

/* An ERR packet ends what it answers, all of its results. */
static bool error(struct mysql *s, struct slice m, struct db_event *e)
{
	if (m.n < 3)
		return false;
	unsigned number = (unsigned char)m.p[1] | (unsigned)(unsigned char)m.p[2] << 8;
	if (s->open && number == 0xffff) /* MariaDB tells how far it is */
		return true;
	if (s->open) {
		answered(s, number, e);
	} else if (s->phase == PHASE_GREETING) {
		e->what = DB_REFUSED;
		e->status = decimal(s, number);
		s->phase = PHASE_QUIT;
	}
	/* Else nobody asked: the server says why it closes the connection. */
	return true;
}

/* False: not understood. *again: the same message once more. */
static bool message(struct mysql *s, struct slice m, struct db_event *e, bool *again)
{
	if (s->phase == PHASE_QUIT && s->open == 0)
		return true;
	if (m.n == 0)
		return in_rows(s) || (s->open && oldest(s) == ANSWER_STRING);
	if ((unsigned char)*m.p == 0xff)
		return error(s, m, e);
	if (s->phase == PHASE_GREETING)
		return greeting(s, m, e);
	if (s->open == 0)
		return false;
	enum ended end = packet(s, m, e);
	if (end == ENDED)
		answered(s, 0, e);
	*again = end == ENDED_DB;
	return end != ENDED_BAD;
}

size_t mysql_server(struct mysql *s, const char *p, size_t n, struct db_event *e)
{
	size_t used = 0;
	struct slice m;
	*e = (struct db_event){.what = DB_NOTHING};
	while (!s->over) {
		mysql_wipe(s);
		struct mysql_way before = s->server;
		size_t start = used;
		bool again = false;
		enum look l = mysql_look(s, false, p, n, &used, &m);
		if (l == LOOK_NOT)
			return used;
		if (l == LOOK_BAD || !message(s, m, e, &again))
			break;
		if (again) {
			s->server = before;
			return start;
		}
		if (e->what != DB_NOTHING)
			return used;
	}
	return mysql_over(s, n, e);
}
