/* Inside rollbar_item*.c: writing JSON, and what a report does not say in one place. */
#ifndef REMORA_ROLLBAR_PUT_H
#define REMORA_ROLLBAR_PUT_H

#include "exporters/rollbar/rollbar.h"
#include <cjson/cJSON.h>

#define PUT_TEXT_MOST (64 * 1024) /* of any string */

/* Well-formed UTF-8 of at most so many characters, to be freed; NULL: no memory. */
char *item_clean(const char *s, size_t n, size_t chars);
/* Empty ones are left out. */
void item_put(cJSON *o, const char *key, const char *s);
void item_most(cJSON *o, const char *key, const char *s, size_t chars);
void item_slice(cJSON *o, const char *key, struct slice s);
void item_number(cJSON *o, const char *key, double v);
void item_address(cJSON *o, const char *key, uint64_t v);
/* False: all zeros. */
bool item_hex(const uint8_t *id, size_t n, char *out);

const char *path_base(const char *path);
/* Of the process' description; NULL. */
const char *report_described(const struct report *r, const char *name);
int32_t report_pid(const struct report *r);

/* rollbar_request.c */
void rollbar_put_request(cJSON *data, const struct item_facts *f);
void rollbar_put_telemetry(cJSON *data, const struct report *r, const struct item_facts *f);
/* rollbar_process.c */
struct resource *rollbar_resource(const struct report *r, const struct item_facts *f); /* free() */
const char *rollbar_attr(const struct resource *res, const char *key);
void rollbar_put_server(cJSON *data, const struct report *r, const struct item_facts *f, const struct resource *res,
                        const char *version);
void rollbar_put_custom(cJSON *data, const struct report *r, const struct item_facts *f, const struct resource *res);

#endif
