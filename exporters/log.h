/*
 * Messages to the host's stderr, as far as REMORA_LOG admits: "remora: text\n". exporter thread.
 * Texts name the variable, file or destination at fault and what to do; never a header value or a key.
 */
#ifndef REMORA_EXPORT_LOG_H
#define REMORA_EXPORT_LOG_H

#include "base/log.h"
#include <stdbool.h>
#include <stdint.h>

#define LOG_LINE 1024 /* longer texts are cut; below PIPE_BUF, so that a line is whole or not there */

struct export_host;

void log_init(const struct export_host *host); /* NULL: to fd 2, at LOG_WARN (tests) */
bool log_wants(enum log_level level);
/* Control characters in the text become '?'. */
__attribute__((format(printf, 2, 3))) void log_print(enum log_level level, const char *fmt, ...);
#define log_error(...) log_print(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_print(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_print(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_print(LOG_DEBUG, __VA_ARGS__)
/* A warning that the whole process tree prints once: `bit` is below 32, see log_bit. */
__attribute__((format(printf, 2, 3))) void log_once(uint32_t bit, const char *fmt, ...);
/* The bit for a message about a variable: its own for OTEL_* that remora knows, one for HONEYCOMB_*, 31 for the rest. */
uint32_t log_bit(const char *variable);

#endif
