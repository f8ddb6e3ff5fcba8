/*
 * X-Ray's sampling rules as host threads see them: in the arena, so that all processes of a tree share one quota and one
 * count. The exporter writes them (exporters/xray/xray_sampling.c), requests are matched where their head is read.
 * The algorithm is that of the SDKs: first match by priority; a reservoir a second, from the central quota or, without a
 * valid one, one borrowed; beyond it a fixed rate.
 * Context: host, any thread and handler; no lock. Everything here is untrusted memory: lengths are bounded, nothing is
 * believed to end.
 */
#ifndef REMORA_XRAY_RULES_H
#define REMORA_XRAY_RULES_H

#include "base/slice.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XRAY_RULES 26 /* as many as an account may have, and the default one */
#define XRAY_RATE_ONE (UINT64_C(1) << 32)
#define XRAY_RATE_FALLBACK (XRAY_RATE_ONE / 20)

struct xray_rule {
	char name[36], service[68], type[68], host[68], method[12], path[132]; /* NUL-terminated; AWS's limits and a little */
	uint64_t rate;                                                         /* parts of XRAY_RATE_ONE */
	uint32_t reservoir;
	uint32_t pad;
	/* Central: what this client may take a second, until when (seconds); no quota = borrow one a second. */
	_Atomic uint32_t quota;
	_Atomic uint32_t central; /* 0: a local rule, its reservoir is its own */
	_Atomic uint64_t quota_until;
	_Atomic uint64_t taken;                       /* high 32: second, low 32: taken in it */
	_Atomic uint32_t requests, sampled, borrowed; /* since the last report */
};

/*
 * Lies in the first slots of the arena, which are never free (state SLOT_MORE, of no chain): so every 512 bytes begin with
 * the two words of a slot.
 */
struct xray_rules {
	uint32_t slot[2];
	_Atomic uint32_t current; /* 0: none; else table[current - 1] */
	_Atomic uint32_t n[2];
	uint32_t pad;
	_Atomic uint64_t good_until;                           /* seconds; later the rules count no more. 0 = for ever (local ones) */
	char client[32];                                       /* the exporter's: who asks for quotas, one for the tree */
	struct xray_rule fallback __attribute__((aligned(8))); /* while there are none: one a second and 5 % */
	struct xray_slot {
		uint32_t slot[2];
		struct xray_rule rule;
	} __attribute__((aligned(512))) table[2][XRAY_RULES];
};
#define XRAY_RULE_SLOTS (sizeof(struct xray_rules) / 512)
_Static_assert(offsetof(struct xray_rules, table) == 512 && sizeof(struct xray_slot) == 512, "slots are slots");

struct xray_request { /* of a request head; empty: not known, matches any pattern */
	struct slice service, type, host, method, path;
};

/* The first rule that matches, or the fallback. */
struct xray_rule *xray_rules_match(struct xray_rules *r, const struct xray_request *q, uint64_t now_s);
/* Takes the decision for a request that matched; `random` has 32 good bits. */
bool xray_rule_take(struct xray_rule *r, uint64_t now_s, uint32_t random);

#endif
