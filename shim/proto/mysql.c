/*
 * MySQL and MariaDB: first bytes and packets. What the client says is read in mysql_command.c, what the server says in
 * mysql_answer.c.
 */
#include "proto/mysql_packet.h"
#include "proto/scan.h"

#define PACKET_MAX 0xffffff /* a packet of this length goes on in the next one */

/* ---------------------------------------------------------------- first bytes */

static bool printable(unsigned char c)
{
	return c >= 0x20 && c < 0x7f;
}

static uint32_t length_of(const unsigned char *u)
{
	return u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16;
}

bool mysql_may_begin(const char *p, size_t n)
{
	const unsigned char *u = (const unsigned char *)p;
	if (n >= 3 && (length_of(u) < 10 || length_of(u) > 1024))
		return false;
	return (n < 2 || u[1] <= 4) && (n < 3 || u[2] == 0) && (n < 4 || u[3] == 0) && (n < 5 || u[4] == 10 || u[4] == 0xff);
}

bool mysql_begins(const char *p, size_t n)
{
	const unsigned char *u = (const unsigned char *)p;
	if (n < 8 || !mysql_may_begin(p, n))
		return false;
	size_t end = 4 + (size_t)length_of(u);
	if (n < end)
		end = n;
	if (u[4] == 0xff) { /* too many connections, host blocked or unknown, shutdown, no thread */
		unsigned number = u[5] | (unsigned)u[6] << 8;
		return printable(u[7]) && (number == 1040 || number == 1129 || number == 1130 || number == 1053 || number == 1135);
	}
	if (length_of(u) < 32 || !is_digit(p[5]))
		return false;
	size_t i = 5;
	while (i < end && printable(u[i]))
		i++;
	/* The version ends, or all that is here is version. */
	return i < end ? u[i] == 0 && memchr(p + 5, '.', i - 5) : i == n && i < 5 + 128;
}

/* ---------------------------------------------------------------- packets */

static bool head_done(struct mysql_way *w)
{
	uint32_t len = length_of(w->head);
	if (w->inside && w->head[3] != (uint8_t)(w->seq + 1))
		return false;
	if (!w->inside) {
		w->len = len;
		w->got = w->want = 0;
		w->looked = false;
		w->inside = true;
	}
	w->seq = w->head[3];
	w->left = len;
	w->more = len == PACKET_MAX;
	return true;
}

static void packet_done(struct mysql_way *w)
{
	w->have = 0;
	w->inside = w->more;
}

static uint32_t least(size_t a, uint32_t b)
{
	return a < b ? (uint32_t)a : b;
}

/* Some payload is there. True: *view is all that is wanted. */
static bool gather(struct mysql_way *w, char *buf, const char *p, size_t n, size_t *used, struct slice *view)
{
	uint32_t whole = least(w->want, w->got + w->left), need = whole - w->got;
	uint32_t take = least(n - *used, need);
	bool straight = w->got == 0 && take == need;
	*view = straight ? (struct slice){p + *used, need} : (struct slice){buf, whole};
	if (!straight && take) {
		memcpy(buf + w->got, p + *used, take);
		w->got += take;
	}
	*used += take;
	w->left -= take;
	return take == need;
}

enum look mysql_look(struct mysql *s, bool client, const char *p, size_t n, size_t *used, struct slice *view)
{
	struct mysql_way *w = client ? &s->client : &s->server;
	for (;;) {
		if (w->have < 4) {
			while (w->have < 4 && *used < n)
				w->head[w->have++] = (unsigned char)p[(*used)++];
			if (w->have < 4)
				return LOOK_NOT;
			if (!head_done(w))
				return LOOK_BAD;
			if (w->left == 0 && !w->looked) {
				*view = (struct slice){p, 0};
				w->looked = true;
				packet_done(w);
				return LOOK_HERE;
			}
		}
		if (w->looked) {
			uint32_t skip = least(n - *used, w->left);
			*used += skip;
			w->left -= skip;
			if (w->left)
				return LOOK_NOT;
			packet_done(w);
			continue;
		}
		if (*used == n)
			return LOOK_NOT;
		if (w->want == 0) {
			unsigned char first = (unsigned char)p[*used];
			w->want = client ? mysql_want_client(s, first) : mysql_want_server(s, first);
		}
		if (!gather(w, client ? s->text : s->answer, p, n, used, view))
			return LOOK_NOT;
		w->looked = true;
		s->dirty = w->got;
		if (w->left == 0)
			packet_done(w);
		return LOOK_HERE;
	}
}

/* A message that is still being collected is left alone: dirty is only set when one was looked at. */
void mysql_wipe(struct mysql *s)
{
	if (s->dirty == 0)
		return;
	if (s->client.looked)
		memset(s->text, 0, s->dirty);
	if (s->server.looked)
		memset(s->answer, 0, least(s->dirty, MYSQL_ANSWER));
	s->dirty = 0;
}

size_t mysql_over(struct mysql *s, size_t n, struct db_event *e)
{
	*s = (struct mysql){.over = true};
	*e = (struct db_event){.what = DB_OVER};
	return n;
}

bool mysql_push(struct mysql *s, enum answer a)
{
	if (s->open == MYSQL_RING)
		return false;
	s->ring[(s->first + s->open++) % MYSQL_RING] = (uint8_t)a;
	return true;
}

size_t mysql_client(struct mysql *s, const char *p, size_t n, struct db_event *e)
{
	size_t used = 0;
	struct slice m;
	*e = (struct db_event){.what = DB_NOTHING};
	while (!s->over) {
		mysql_wipe(s);
		enum look l = mysql_look(s, true, p, n, &used, &m);
		if (l == LOOK_NOT)
			return used;
		if (l == LOOK_BAD || !mysql_said(s, m, e))
			break;
		if (e->what != DB_NOTHING)
			return used;
	}
	return mysql_over(s, n, e);
}

bool mysql_between(const struct mysql *s)
{
	return s->client.have == 0 && !s->client.inside && s->phase == PHASE_COMMANDS;
}
