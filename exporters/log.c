/* Messages to the host's stderr. */
#include "exporters/log.h"
#include "base/sys.h"
#include "exporters/abi.h"
#include <stdarg.h>
#include <stdio.h>

/* Of the run of remora_export_main that set it last; a forked child sets its own before it logs. */
static const struct export_host *log_host;

void log_init(const struct export_host *host)
{
	log_host = host;
}

bool log_wants(enum log_level level)
{
	return (log_host ? log_host->log_level : LOG_WARN) >= level;
}

__attribute__((format(printf, 1, 0))) static void print(const char *fmt, va_list ap)
{
	static const char begin[] = "remora: ";
	char line[LOG_LINE];
	const size_t at = sizeof begin - 1;
	memcpy(line, begin, at);
	int n = vsnprintf(line + at, sizeof line - at, fmt, ap);
	if (n < 0)
		return;
	size_t end = at + (size_t)n;
	if (end > sizeof line - 2)
		end = sizeof line - 2;
	for (size_t i = at; i < end; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[end++] = '\n';
	if (log_host)
		log_host->stderr_write(line, end);
	else
		sys_write(2, line, end);
}

void log_print(enum log_level level, const char *fmt, ...)
{
	va_list ap;
	if (!log_wants(level))
		return;
	va_start(ap, fmt);
	print(fmt, ap);
	va_end(ap);
}

void log_once(uint32_t bit, const char *fmt, ...)
{
	va_list ap;
	if (!log_wants(LOG_WARN))
		return;
	if (log_host) {
		uint32_t mask = UINT32_C(1) << (bit & 31);
		if (atomic_fetch_or(&log_host->arena->warned, mask) & mask)
			return;
	}
	va_start(ap, fmt);
	print(fmt, ap);
	va_end(ap);
}

/* Bits 0..30 in this order: variables that share a line share a bit. Names behind OTEL_ unless another prefix. */
static const char *const known[] = {
	"EXPORTER_OTLP_ENDPOINT",
	"EXPORTER_OTLP_HEADERS",
	"EXPORTER_OTLP_PROTOCOL",
	"EXPORTER_OTLP_COMPRESSION",
	"EXPORTER_OTLP_TIMEOUT",
	"EXPORTER_OTLP_CERTIFICATE",
	"EXPORTER_OTLP_CLIENT_CERTIFICATE",
	"EXPORTER_OTLP_CLIENT_KEY",
	"EXPORTER_OTLP_TRACES_ENDPOINT",
	"EXPORTER_OTLP_TRACES_HEADERS",
	"EXPORTER_OTLP_TRACES_PROTOCOL",
	"EXPORTER_OTLP_TRACES_COMPRESSION",
	"EXPORTER_OTLP_TRACES_TIMEOUT",
	"EXPORTER_OTLP_TRACES_CERTIFICATE",
	"EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
	"EXPORTER_OTLP_TRACES_CLIENT_KEY",
	"TRACES_EXPORTER",
	"BSP_SCHEDULE_DELAY",
	"BSP_EXPORT_TIMEOUT",
	"BSP_MAX_QUEUE_SIZE",
	"BSP_MAX_EXPORT_BATCH_SIZE",
	"ATTRIBUTE_COUNT_LIMIT",
	"ATTRIBUTE_VALUE_LENGTH_LIMIT",
	"SPAN_ATTRIBUTE_COUNT_LIMIT",
	"SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
	"PROPAGATORS",
	"TRACES_SAMPLER",
	"TRACES_SAMPLER_ARG",
	"RESOURCE_ATTRIBUTES",
	"CONFIG_FILE",
	"HONEYCOMB",
};
#define KNOWN (sizeof known / sizeof *known)
_Static_assert(KNOWN == 31, "bit 31 is for all other names");

uint32_t log_bit(const char *variable)
{
	if (strncmp(variable, "OTEL_", 5) == 0)
		for (uint32_t i = 0; i < KNOWN; i++)
			if (strcmp(variable + 5, known[i]) == 0)
				return i;
	return strncmp(variable, "HONEYCOMB_", 10) == 0 ? KNOWN - 1 : 31;
}
