/*
 * X-Ray: addresses, and documents of records with any strings (divided by 0xfe bytes). A document is JSON, fits a
 * datagram, and its name and URL are what X-Ray takes.
 */
#include "base/glob.h"
#include "build/deps/include/cjson/cJSON.h"
#include "exporters/xray/xray.h"
#include "exporters/xray/xray_rules_json.h"
#include "fuzz_record.h"

static void address(const char *p, size_t n)
{
	struct xray_address udp, tcp;
	char *s = malloc(n + 1);
	memcpy(s, p, n);
	s[n] = 0;
	if (xray_address_parse(s, &udp, &tcp))
		HOLDS(udp.port && tcp.port && *udp.host && *tcp.host);
	struct slice all = {s, (uint32_t)n};
	glob_fits(slice_of(s), all, true);
	HOLDS(glob_fits(SLICE("*"), all, true));
	free(s);
}

/* Rules end up in memory that host threads read: whatever comes in, they are bounded and in order. */
static void rules(const char *p, size_t n)
{
	static struct xray_rule_set s;
	struct xray_target t[4];
	uint64_t modified;
	const char *why;
	char *next;
	HOLDS(xray_targets(t, 4, p, n, &modified) <= 4);
	s = (struct xray_rule_set){0};
	if (!xray_rules_central(&s, p, n, &next, &why))
		HOLDS(why && !next);
	free(next);
	for (int local = 0; local < 2; local++) {
		HOLDS(s.n <= XRAY_RULES);
		for (uint32_t i = 0; i < s.n; i++) {
			const struct xray_rule *r = &s.rule[i];
			HOLDS(strlen(r->name) < sizeof r->name && strlen(r->path) < sizeof r->path && r->rate <= XRAY_RATE_ONE);
			HOLDS(i == 0 || s.priority[i - 1] <= s.priority[i]);
		}
		if (!local && !xray_rules_local(&s, p, n, &why))
			HOLDS(why);
	}
}

static const char *text(const cJSON *j, const char *key)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(j, key));
}

static void document(const struct buf *b, uint8_t kind)
{
	HOLDS(b->n <= XRAY_DOC_MAX && utf8_valid(b->p, b->n));
	cJSON *j = cJSON_ParseWithLength(b->p, b->n);
	HOLDS(j && cJSON_IsObject(j));
	const char *name = text(j, "name"), *url;
	char clean[XRAY_NAME_MOST * 4 + 1];
	HOLDS(name && *name && utf8_prefix(name, strlen(name), XRAY_NAME_MOST) == strlen(name));
	HOLDS(xray_name_clean((struct slice){name, (uint32_t)strlen(name)}, clean) && strcmp(clean, name) == 0);
	HOLDS(strlen(text(j, "id")) == 16 && strlen(text(j, "trace_id")) == 35);
	url = text(cJSON_GetObjectItem(cJSON_GetObjectItem(j, "http"), "request"), "url");
	HOLDS(!url || utf8_prefix(url, strlen(url), 250) == strlen(url));
	HOLDS(!cJSON_GetObjectItem(j, "sql") == (kind != SPAN_DB || !cJSON_GetObjectItem(j, "type")));
	HOLDS(kind != SPAN_DB || !cJSON_GetObjectItem(j, "http"));
	cJSON_Delete(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_record f;
	static struct span_attrs a;
	const size_t head = FUZZ_RECORD_HEAD + 1;
	if (size < head || size > 1 << 17)
		return 0;
	address((const char *)data + head, size - head);
	char *json = exact(data + head, size - head);
	rules(json, size - head);
	free(json);
	fuzz_record_make(&f, data, data + head, data + size);
	if (data[8] & 1)
		memset(((struct span_rec *)f.slot)->parent_id, 2, 8);
	struct settings s = {.attr_count_limit = UINT32_MAX, .attr_length_limit = UINT32_MAX};
	s.xray = (struct xray_settings){.dynamic = data[8] & 2 ? "*a*" : NULL, .annotations = data[8] & 4 ? "http.*,url.*,aws*,db.*" : NULL};
	struct attr own[] = {{.key = "service.name", .key_len = 12, .str = "n", .str_len = 1}};
	struct resource res = {.n = 1, .attrs = own, .service_name = "n"};
	struct span_raised raised[] = {{.type = "t", .message = "m\"\x01"}, {.type = "u", .message = "", .skipped = data[8]}};
	struct span_event event = {.stacktrace = "", .raised = raised, .n_raised = data[8] & 32 ? 2 : 1};
	struct buf b = {0};
	if (span_attrs_make(&a, &f.view, &s)) {
		struct xray_span x = {.view = &f.view, .attrs = &a, .resource = &res, .event = data[8] & 8 ? &event : NULL, .settings = &s, .in_progress = data[8] & 16};
		if (xray_local_root(&b, &x))
			document(&b, f.view.rec->kind);
		b.n = 0;
		if (xray_doc(&b, &x))
			document(&b, f.view.rec->kind);
		else
			HOLDS(b.n == 0);
		span_attrs_free(&a);
	}
	buf_free(&b);
	fuzz_record_free(&f);
	return 0;
}
