#include "exporters/cloudwatch/emf.h"
#include "exporters/cloudwatch/line_text.h"
#include <stdio.h>
#include <string.h>

static struct emf_service *service_of(struct emf *e, const char *name)
{
	for (unsigned i = 0; i < e->n; i++)
		if (strncmp(e->of[i].name, name, sizeof e->of[i].name - 1) == 0)
			return &e->of[i];
	if (e->n == EMF_SERVICES - 1)
		name = "other";
	struct emf_service *s = &e->of[e->n < EMF_SERVICES ? e->n++ : EMF_SERVICES - 1];
	if (!s->requests)
		snprintf(s->name, sizeof s->name, "%s", name);
	return s;
}

void emf_add(struct emf *e, const char *service, uint64_t latency_ns, bool fault, uint64_t now)
{
	struct emf_service *s = service_of(e, service);
	double ms = (double)(latency_ns / 1000) / 1000;
	uint64_t at = s->requests++;
	s->faults += fault;
	if (!e->due_ns)
		e->due_ns = now + EMF_EVERY_NS;
	if (at >= EMF_SAMPLES) { /* each has the same chance to stay */
		e->random = e->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		at = (e->random >> 33) % s->requests;
	}
	if (at < EMF_SAMPLES)
		s->ms[at] = ms;
}

static void number(struct buf *b, const char *form, double v)
{
	char text[64];
	int n = snprintf(text, sizeof text, form, v);
	for (char *p = text; *p; p++) /* the host's locale may have a comma */
		if (*p == ',')
			*p = '.';
	buf_add(b, text, (size_t)n);
}

static void add(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

bool emf_take(struct emf *e, uint64_t time_ms, struct buf *b)
{
	if (!e->n) {
		e->due_ns = 0;
		return false;
	}
	struct emf_service *s = &e->of[--e->n];
	add(b, "{\"_aws\":{\"Timestamp\":");
	number(b, "%.0f", (double)time_ms);
	add(b, ",\"CloudWatchMetrics\":[{\"Namespace\":\"remora\",\"Dimensions\":[[\"service\"]],\"Metrics\":["
	       "{\"Name\":\"requests\",\"Unit\":\"Count\"},{\"Name\":\"faults\",\"Unit\":\"Count\"},"
	       "{\"Name\":\"latency\",\"Unit\":\"Milliseconds\"}]}]},\"service\":\"");
	json_escape(b, s->name, strlen(s->name));
	add(b, "\",\"requests\":");
	number(b, "%.0f", (double)s->requests);
	add(b, ",\"faults\":");
	number(b, "%.0f", (double)s->faults);
	add(b, ",\"latency\":[");
	for (uint64_t i = 0; i < s->requests && i < EMF_SAMPLES; i++) {
		if (i)
			add(b, ",");
		number(b, "%.3f", s->ms[i]);
	}
	add(b, "]}");
	*s = (struct emf_service){0};
	return true;
}
