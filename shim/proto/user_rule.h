/*
 * REMORA_USER: where a request says who makes it. Pure, any context.
 *
 *	header:X-User-Id   cookie:uid   query:user   path:/api/activities/@{}   baggage:enduser.id
 *
 * A list of them, divided by commas; the first that gives a value counts. {} stands for the rest of a path segment, a
 * name in it is for the reader.
 */
#ifndef REMORA_USER_RULE_H
#define REMORA_USER_RULE_H

#include "proto/http1.h"

#define USER_RULES 4
#define USER_MOST 255 /* bytes of a value; longer ones are none */

struct user_rules {
	unsigned n;
	struct user_rule {
		uint8_t from;              /* enum user_from */
		struct slice what, behind; /* a name; of a path: before and behind {} */
	} rule[USER_RULES];
};

/* They borrow from text. False: *bad is no rule, or names what is secret, and was left out. */
bool user_rules_parse(struct user_rules *r, const char *text, struct slice *bad);
/* Of a whole head; p NULL = none. Borrows from the head, as it stands there. */
struct slice user_rules_find(const struct user_rules *r, const struct http1_head *h);

#endif
