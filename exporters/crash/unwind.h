/*
 * Frames from what the handler saved: registers, stack bytes, and the unwinding tables of the modules' files.
 * exporter thread, or the remora command. The only user of libunwind (remote accessors only: it never looks at the
 * process it runs in). Bounded: UNWIND_FRAMES frames, UNWIND_STEPS steps, the modules' deadline.
 */
#ifndef REMORA_CRASH_UNWIND_H
#define REMORA_CRASH_UNWIND_H

#include "exporters/crash/modules.h"

#define UNWIND_FRAMES 256
#define UNWIND_WALK (UNWIND_FRAMES - 8) /* the rest is for tail.c */
#define UNWIND_FAR 32                   /* of them for the outermost ones, where there are more */
#define UNWIND_STEPS 8192
#define UNWIND_SCAN 16 /* candidates of a stack scan */

struct unwind_frame {
	uint64_t ip, sp;
	bool exact;   /* ip is where the thread was; else a return address, and its call lies before it */
	bool signal;  /* the kernel's trampoline: <signal handler called> */
	bool tail;    /* put in by tail.c: it was left by a jump */
	bool scanned; /* found by looking over the stack: a guess */
};

enum unwind_end {
	UNWIND_DONE,    /* to the thread's beginning */
	UNWIND_PARTIAL, /* more was not saved, or nothing tells how to go on */
	UNWIND_CORRUPT, /* the stack does not hold what the tables say */
};

struct unwind {
	size_t n;
	struct unwind_frame frame[UNWIND_FRAMES]; /* innermost first */
	size_t gap;                               /* frames from this index on are the outermost ones, and some before them are left out; 0: none */
	size_t left_out;                          /* how many, if the gap was walked over; else 0 */
	enum unwind_end end;
};

/* regs: as enum crash_reg. fetch: the thread ended because it could not fetch an instruction at RIP. */
void unwind_thread(struct modules *m, int32_t tid, const uint64_t regs[CR_REGS], bool fetch, struct unwind *out);

/* cfi.c: is there an FDE for ip, and where. DEBUG_FRAME_BASE: address that stands for the module's .debug_frame. */
#define DEBUG_FRAME_BASE 0xdf00000000000000u
#define DEBUG_FRAME_SHIFT 32

struct fde_entry {
	uint64_t start, end, fde;
	bool debug_frame;
};

/* Reads one entry, and moves on to the next; start 0, end 0: it was a CIE. Negative: no more. */
typedef int fde_parse(void *arg, uint64_t *fde, uint64_t base, bool debug_frame, uint64_t *start, uint64_t *end);

/* Addresses of the process. False: none. */
bool cfi_find(struct modules *m, uint64_t ip, fde_parse *parse, void *arg, struct fde_entry *out);
bool cfi_debug_frame(struct modules *m, uint64_t addr, void *to, size_t n);

#endif
