/*
 * Which variables say where records go and which are made: processes that differ in these do not share an arena, nor
 * send each other's records and crash files. Pure, any context.
 */
#ifndef REMORA_ENV_HASH_H
#define REMORA_ENV_HASH_H

#include <stddef.h>
#include <stdint.h>

/* 0 for a variable that does not matter. The sum over all is the hash, for the order of an environment says nothing. */
static inline uint64_t env_hash(const char *variable)
{
	static const char *const shared[] = {
		"OTEL_EXPORTER_",
		"OTEL_TRACES_EXPORTER=",
		"OTEL_TRACES_SAMPLER",
		"HONEYCOMB_",
		"AWS_",
		"REMORA_XRAY_",
		"REMORA_CLOUDWATCH_",
		"ROLLBAR_ACCESS_TOKEN",
		"ROLLBAR_ENDPOINT=",
		"ROLLBAR_ENVIRONMENT=",
		"ROLLBAR_BRANCH=",
		"REMORA_ROLLBAR_",
		"REMORA_ERRORS=",
	};
	for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++) {
		const char *p = variable, *s = shared[i];
		while (*s && *p == *s)
			p++, s++;
		if (*s)
			continue;
		uint64_t h = 0xcbf29ce484222325u;
		for (p = variable; *p; p++)
			h = (h ^ (unsigned char)*p) * 0x100000001b3u;
		return (h ^ 0xff) * 0x100000001b3u;
	}
	return 0;
}

#endif
