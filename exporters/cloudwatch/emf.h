/*
 * Metrics as log events (embedded metric format): requests, faults (5xx and what was cut off) and latency of a minute,
 * per service. Latency is a sample of 100, as many as the format takes. Pure. exporter thread.
 */
#ifndef REMORA_CLOUDWATCH_EMF_H
#define REMORA_CLOUDWATCH_EMF_H

#include "exporters/buf.h"

#define EMF_SERVICES 8
#define EMF_SAMPLES 100
#define EMF_EVERY_NS (60 * UINT64_C(1000000000))

struct emf {
	struct emf_service {
		char name[256];
		uint64_t requests, faults;
		double ms[EMF_SAMPLES];
	} of[EMF_SERVICES];
	unsigned n;
	uint64_t due_ns; /* CLOCK_MONOTONIC, 0 = nothing was seen */
	uint64_t random;
};

/* A request. Services beyond EMF_SERVICES are told as "other". */
void emf_add(struct emf *e, const char *service, uint64_t latency_ns, bool fault, uint64_t now);
/* The metrics of one service, as a JSON object; false: no (more) service. Taken out. */
bool emf_take(struct emf *e, uint64_t time_ms, struct buf *out);

#endif
