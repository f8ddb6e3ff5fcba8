/*
 * Both directions of a MySQL connection: pieces of a direction byte, a length of two bytes, and that many bytes. What is
 * told points into the piece or the state, an answer always belongs to a command, and every call gets on.
 */
#include "fuzz.h"
#include "proto/mysql.h"

static struct mysql s;
static int64_t commands;

static void inside(struct slice v, const char *p, size_t n)
{
	const char *state = (const char *)&s;
	HOLDS(!v.p || (v.p >= p && v.p + v.n <= p + n) || (v.p >= state && v.p + v.n <= state + sizeof s));
}

static bool piece(bool server, const char *p, size_t n)
{
	struct db_event e;
	size_t used = 0, idle = 0;
	do {
		size_t k = (server ? mysql_server : mysql_client)(&s, p + used, n - used, &e);
		HOLDS(k <= n - used);
		idle = k ? 0 : idle + 1;
		HOLDS(idle <= 2);
		HOLDS(e.what != DB_NOTHING || used + k == n);
		const struct slice all[] = {e.text, e.status, e.user, e.database, e.version};
		for (size_t i = 0; i < sizeof all / sizeof *all; i++)
			inside(all[i], p, n);
		HOLDS(e.text.n <= DB_TEXT_MAX);
		commands += e.what == DB_COMMAND;
		commands -= e.what == DB_ANSWER;
		HOLDS(commands >= 0 && commands <= MYSQL_RING);
		HOLDS((e.what != DB_PREPARED && e.what != DB_FORGET) || (e.key != 0 && e.key != DB_KEY_NEXT));
		if (e.what == DB_OVER)
			return false;
		used += k;
	} while (used < n || e.what != DB_NOTHING);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	memset(&s, 0, sizeof s);
	commands = 0;
	mysql_begins((const char *)data, size);
	for (bool good = true; good && size >= 3;) {
		size_t n = data[1] | (size_t)data[2] << 8;
		bool server = data[0] & 1;
		data += 3;
		size -= 3;
		n = n < size ? n : size;
		char *p = exact(data, n);
		good = piece(server, p, n);
		free(p);
		data += n;
		size -= n;
		mysql_between(&s);
	}
	return 0;
}
