#include "proto/postgres.h"

bool postgres_begins(const char *p, size_t n)
{
	(void)p, (void)n;
	return false;
}

size_t postgres_client(struct postgres *s, const char *p, size_t n, struct db_event *e)
{
	(void)s, (void)p;
	*e = (struct db_event){.what = DB_OVER};
	return n;
}

size_t postgres_server(struct postgres *s, const char *p, size_t n, struct db_event *e)
{
	return postgres_client(s, p, n, e);
}

bool postgres_between(const struct postgres *s)
{
	(void)s;
	return true;
}
