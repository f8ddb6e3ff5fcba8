/* What is read back from the state directory: spooled items, their names, the store's names and titles, the limits. */
#include "exporters/crash_inbox.h"
#include "exporters/rollbar/rollbar.h"
#include "exporters/utf8.h"
#include "fuzz.h"

static void item(const char *p, size_t n)
{
	struct item_id id;
	struct buf b = {0}, f = {0};
	if (!rollbar_item_read(p, n, &id))
		return;
	HOLDS(uuid_ok(id.uuid, strlen(id.uuid)));
	buf_add(&b, p, n);
	buf_add(&f, p, n);
	struct item_id again;
	if (rollbar_shrink(&b, n / 2)) {
		HOLDS(b.n <= n / 2 && utf8_valid(b.p, b.n));
		HOLDS(rollbar_item_read(b.p, b.n, &again) && strcmp(again.uuid, id.uuid) == 0);
	}
	HOLDS(rollbar_failsafe(&f) && f.n < 32768 && rollbar_item_read(f.p, f.n, &again) && strcmp(again.uuid, id.uuid) == 0);
	buf_free(&b);
	buf_free(&f);
}

static void names(const char *name)
{
	struct spool_name s;
	struct local_entry e;
	char base[INBOX_NAME];
	bool taken;
	if (spool_name_read(name, &s)) {
		char again[LOCAL_NAME];
		spool_name_write(&s, again);
		HOLDS(strcmp(again, name) == 0 && uuid_ok(s.uuid, 36));
	}
	if (local_entry_name(name, &e))
		HOLDS(strlen(e.name) + 4 == strlen(name) && uuid_ok(e.uuid, 36) && !strchr(e.program, '/'));
	if (inbox_name_read(name, base, &taken))
		HOLDS(strncmp(base, name, strlen(base)) == 0);
}

static void limits(const char *p, size_t n)
{
	struct buf b = {0};
	uint32_t suppressed;
	buf_add(&b, p, n);
	bool first = limits_admit(&b, "abc", 1780000000, &suppressed);
	for (int i = 0; i < LIMIT_PER_HOUR; i++)
		limits_admit(&b, "abc", 1780000000, &suppressed);
	HOLDS(b.n < 256 * 128 && !limits_admit(&b, "abc", 1780000000, &suppressed));
	(void)first;
	buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct local_entry e;
	if (size > 1 << 15)
		return 0;
	char *in = exact(data, size);
	item(in, size);
	limits(in, size);
	local_entry_title(in, size, &e);
	HOLDS(utf8_valid(e.title, strlen(e.title)));
	char *text = malloc(size + 1);
	HOLDS(text);
	memcpy(text, in, size);
	text[size] = 0;
	if (size < LOCAL_NAME)
		names(text);
	free(text);
	free(in);
	return 0;
}
