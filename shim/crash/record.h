/*
 * The crash file: what the handler saves before anything else is tried. One file per crash in the arena's directory
 * (process.dir, private, on tmpfs): <pid>-<start>-<n>.crash, 0600. Written with write(2) by the crashing thread, so a
 * full tmpfs is an error code and an unreadable stack page is EFAULT, never a second fault. (design.md puts the record
 * into the arena; a file of its own needs no half megabyte reserved in every arena and no store that could fault.)
 *
 * Layout: struct crash_head, then sections until the end of the file, each a struct crash_section and `size` bytes,
 * padded to 8. `done` is written last: without it the file is a partial record (still worth reading).
 * Readers treat every byte as hostile: crash_file_* in exporters/crash check all sizes (fuzzed).
 * Host byte order; x86-64.
 */
#ifndef REMORA_CRASH_RECORD_H
#define REMORA_CRASH_RECORD_H

#include <stdint.h>

#define CRASH_MAGIC 0x31687361726372u /* "rcrash1" */
#define CRASH_LAYOUT 1
#define CRASH_SUFFIX ".crash"
#define CRASH_TAKEN ".taken"          /* instead, once somebody has it in hand */
#define CRASH_STACK (256 * 1024)      /* bytes above SP (with the red zone below) of the crashed thread */
#define CRASH_FAR (32 * 1024)         /* of the far end of a longer stack */
#define CRASH_OTHER_STACK (64 * 1024) /* of each other thread, if there is time */
#define CRASH_THREADS_MAX 256

enum crash_reg { /* order of regs[] */
	             CR_RAX,
	             CR_RDX,
	             CR_RCX,
	             CR_RBX,
	             CR_RSI,
	             CR_RDI,
	             CR_RBP,
	             CR_RSP, /* as DWARF numbers them */
	             CR_R8,
	             CR_R9,
	             CR_R10,
	             CR_R11,
	             CR_R12,
	             CR_R13,
	             CR_R14,
	             CR_R15,
	             CR_RIP,
	             CR_RFLAGS,
	             CR_REGS,
};

struct crash_head {
	uint64_t magic;
	uint32_t layout, done; /* done: 1 when complete */
	uint8_t uuid[16];      /* version 4; the item's id on every try */
	int32_t pid, tid, ppid;
	uint32_t uid;
	uint64_t start;   /* clock ticks after boot, of the process */
	uint64_t time_ns; /* CLOCK_REALTIME of the crash */
	uint64_t up_ns;   /* since the constructor */
	int32_t signo, si_code, si_errno;
	int32_t si_pid; /* SI_USER, SI_TKILL, SI_QUEUE: the sender */
	uint32_t si_uid;
	uint32_t flags; /* enum crash_flag */
	uint64_t si_addr;
	uint64_t trapno, err, cr2;
	uint64_t regs[CR_REGS];
	uint64_t stack_lo, stack_hi;      /* of the crashed thread's stack mapping, 0 unknown */
	uint8_t trace_id[16], span_id[8]; /* the thread's open request, zero: none */
	uint8_t parent_id[8];
	uint32_t trace_flags;
	uint32_t slot;        /* its record in the arena, UINT32_MAX none */
	uint64_t config_hash; /* of the arena: only a process with the same one sends it */
	char comm[16];        /* of the crashed thread */
	uint8_t instance[16]; /* service.instance.id of the process */
	int32_t end_signo;    /* what the process dies of: abort() in a handler of SIGSEGV, and signo is SIGSEGV */
	uint8_t reserved[60];
};

enum crash_flag {
	CRASH_ON_ALTSTACK = 1,    /* handler ran on an alternate stack */
	CRASH_STACK_OVERFLOW = 2, /* the address lies in or near the guard of the thread's stack */
	CRASH_NESTED = 4,         /* a fault while capturing: what follows is what there was */
	CRASH_IN_FORK_CHILD = 8,
	CRASH_IN_VFORK_CHILD = 16,
	CRASH_NO_TIME = 32, /* other threads were not all reached */
};

enum crash_section_type {
	CRASH_SEC_STACK = 1, /* addr: of its first byte; of the thread `tid` */
	CRASH_SEC_MAPS,      /* text of /proc/self/maps */
	CRASH_SEC_THREAD,    /* struct crash_thread of another thread; its CRASH_SEC_STACK follows */
	CRASH_SEC_PROCESS,   /* the description that process_index gives (NAME=VALUE, each with its NUL) */
	CRASH_SEC_ABORT_MSG, /* glibc's __abort_msg */
	CRASH_SEC_BUILD_IDS, /* struct crash_build_id ... */
	CRASH_SEC_CODE,      /* bytes around RIP; addr of the first */
	CRASH_SEC_CWD,
	CRASH_SEC_SIGINFO,     /* siginfo_t as the kernel gave it */
	CRASH_SEC_CXX,         /* type name and what() of an uncaught C++ exception, each with its NUL */
	CRASH_SEC_UNLOADED,    /* struct crash_unloaded ... */
	CRASH_SEC_WORDS,       /* what was written to stderr last: struct crash_words and n bytes, padded to 8, each */
	CRASH_SEC_RECENT = 32, /* struct timeline_ring (exporters/timeline.h): what the process did lately */
};

struct crash_section {
	uint32_t type;
	int32_t tid;
	uint64_t addr;
	uint64_t size; /* of what follows, without padding */
};

struct crash_thread {
	int32_t tid;
	uint32_t flags; /* 1: registers are known */
	uint64_t regs[CR_REGS];
	char comm[16];
};

struct crash_words {
	int32_t tid;
	uint32_t n;
	uint64_t time_ns; /* CLOCK_REALTIME of the first write in it */
};

struct crash_build_id {
	uint64_t base; /* address of the module's first mapping */
	uint8_t size, id[20], pad[3];
};

struct crash_unloaded { /* a library that dlclose was called for; what is still mapped was not unloaded */
	uint64_t lo, hi;    /* hi 0: not whole */
	struct crash_build_id id;
	char path[256];
};

#endif
