/* OTEL_TRACES_SAMPLER=xray: central rules and quotas, kept in the arena. exporter thread. */
#ifndef REMORA_XRAY_SAMPLING_H
#define REMORA_XRAY_SAMPLING_H

#include "exporters/settings.h"

struct http;
struct xray_sampling;
/* `keys`: for X-Ray itself, where no daemon is. NULL: not wanted, or no memory. */
struct credentials;
struct xray_sampling *xray_sampling_new(const struct settings *set, struct http *h, struct credentials *keys);
void xray_sampling_delete(struct xray_sampling *s);
void xray_sampling_turn(struct xray_sampling *s, uint64_t now, bool ending);
uint64_t xray_sampling_due(struct xray_sampling *s); /* CLOCK_MONOTONIC; 0 = not before something happens */

#endif
