/* What OTLP/JSON says otherwise than proto3 JSON. tests/e2e/test_encoding.py compares it with the protobuf bytes. */
#include "exporters/otlp/otlp.h"
#include "span_sample.h"
#include "build/deps/include/cjson/cJSON.h" /* unit tests have no -isystem for it */

static struct buf out;

static cJSON *encode(const struct sample *s, const struct settings *settings)
{
	struct batch batch = {.views = &s->view, .n = 1, .settings = settings};
	out.n = 0;
	OK(otlp_json(&out, &batch));
	cJSON *j = cJSON_ParseWithLength(out.p, out.n);
	OK(j);
	return j;
}

static cJSON *first(cJSON *j, const char *list)
{
	return cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(j, list), 0);
}

static cJSON *the_span(cJSON *j)
{
	return first(first(first(j, "resourceSpans"), "scopeSpans"), "spans");
}

static const char *text(cJSON *j, const char *key)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(j, key));
}

static int number(cJSON *j, const char *key)
{
	cJSON *n = cJSON_GetObjectItemCaseSensitive(j, key);
	return cJSON_IsNumber(n) ? n->valueint : -1;
}

TEST(a_root)
{
	struct sample s = sample_new(SPAN_SERVER);
	cJSON *j = encode(&s, &no_limits), *span = the_span(j);
	EQ_STR(text(span, "traceId"), "5759e988bd862e3fe1be46a994272793");
	EQ_STR(text(span, "spanId"), "53995c3f42cd8ad8");
	OK(!cJSON_HasObjectItem(span, "parentSpanId"));
	OK(!cJSON_HasObjectItem(span, "traceState"));
	OK(!cJSON_HasObjectItem(span, "status"));
	OK(!cJSON_HasObjectItem(span, "droppedAttributesCount"));
	EQ_STR(text(span, "name"), "GET");
	EQ_INT(number(span, "kind"), 2);
	EQ_INT(number(span, "flags"), 0x103);
	EQ_STR(text(span, "startTimeUnixNano"), "1700000000000000000");
	EQ_STR(text(span, "endTimeUnixNano"), "1700000000010000000");
	OK(strstr(cJSON_PrintUnformatted(span), "{\"key\":\"http.response.status_code\",\"value\":{\"intValue\":\"200\"}}"));
	cJSON *resource = cJSON_GetObjectItem(first(j, "resourceSpans"), "resource");
	EQ_STR(cJSON_PrintUnformatted(resource),
	       "{\"attributes\":[{\"key\":\"service.name\",\"value\":{\"stringValue\":\"unknown_service\"}}]}");
	_exit(0); /* cJSON's copies are nobody's */
}

TEST(a_failed_child)
{
	struct sample s = sample_new(SPAN_CLIENT);
	struct settings few = {.attr_count_limit = 2, .attr_length_limit = UINT32_MAX};
	s.rec->status = 503;
	s.rec->bits = REC_PARENT_REMOTE;
	memset(s.rec->parent_id, 0xa0, 8);
	SET(&s, REC_TRACESTATE, "a=\"\\");
	cJSON *j = encode(&s, &few), *span = the_span(j);
	EQ_STR(text(span, "parentSpanId"), "a0a0a0a0a0a0a0a0");
	EQ_STR(text(span, "traceState"), "a=\"\\");
	EQ_INT(number(span, "flags"), 0x303);
	EQ_INT(number(cJSON_GetObjectItem(span, "status"), "code"), 2);
	EQ_INT(cJSON_GetArraySize(cJSON_GetObjectItem(span, "attributes")), 2);
	OK(number(span, "droppedAttributesCount") > 5);
	cJSON_Delete(j);
	buf_free(&out);
}

/* The room for the text is guessed; what must be escaped takes up to six times as much. */
TEST(escapes)
{
	static char ua[60000];
	struct sample s = sample_new(SPAN_SERVER);
	for (size_t n = 1; n < sizeof ua; n = n < 300 ? n + 1 : n * 3) {
		for (size_t i = 0; i < n; i++)
			ua[i] = (char)(i % 40 + 1);
		unit_case("%zu", n);
		sample_set(&s, REC_USER_AGENT, ua, n);
		cJSON *j = encode(&s, &no_limits), *kv = first(the_span(j), "attributes");
		while (kv && strcmp(text(kv, "key"), "user_agent.original") != 0)
			kv = kv->next;
		const char *got = text(cJSON_GetObjectItem(kv, "value"), "stringValue");
		EQ_MEM(got, strlen(got), ua, n);
		cJSON_Delete(j);
	}
	buf_free(&out);
}

TEST(groups)
{
	struct rec_view views[5];
	struct resources *r = resources_new(&no_limits);
	for (int i = 0; i < 5; i++) {
		struct sample s = sample_new(SPAN_SERVER);
		s.rec->pid = 100 + i % 2;
		if (i == 0)
			s.rec->kind = 0;
		if (i == 4)
			memset(s.rec->span_id, 0, 8);
		views[i] = s.view;
	}
	struct batch batch = {.views = views, .n = 5, .resources = r, .settings = &no_limits};
	OK(otlp_json(&out, &batch));
	cJSON *j = cJSON_ParseWithLength(out.p, out.n);
	EQ_INT(cJSON_GetArraySize(cJSON_GetObjectItem(j, "resourceSpans")), 2);
	cJSON_Delete(j);
	out.n = 0;
	batch.n = 1;
	OK(otlp_json(&out, &batch));
	EQ_INT(out.n, 0);
	buf_free(&out);
	out.failed = true;
	batch.n = 5;
	OK(!otlp_json(&out, &batch));
	resources_delete(r);
}
