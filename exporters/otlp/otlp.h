/* OTLP encodings of a batch (opentelemetry-proto 1.x, trace). exporter thread. */
#ifndef REMORA_OTLP_H
#define REMORA_OTLP_H

#include "exporters/exporter.h"

/* Append an ExportTraceServiceRequest; spans are grouped by resource. False: out of memory. */
bool otlp_protobuf(struct buf *out, const struct batch *b);
bool otlp_json(struct buf *out, const struct batch *b);

/* Reads an ExportTraceServiceResponse or google.rpc.Status of either type; bytes are hostile. Pure (fuzzed). */
struct otlp_reply {
	uint64_t rejected;
	char message[200]; /* printable */
};
void otlp_reply_parse(bool json, bool success, const char *body, size_t n, struct otlp_reply *out);

#endif
