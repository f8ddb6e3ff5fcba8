/* A crash record that another process offers by a descriptor: what it may be, and what it may not. */
#include "base/sys.h"
#include "exporters/crash_inbox.h"
#include "crash/record.h"
#include "unit.h"
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t offer_of(int fd)
{
	return (uint64_t)(uint32_t)getpid() << 32 | ((uint32_t)fd + 1);
}

static int memory(size_t n)
{
	static const struct crash_head h = {.magic = CRASH_MAGIC};
	int fd = (int)syscall(SYS_memfd_create, "unit", 0);
	OK(fd >= 0 && ftruncate(fd, (off_t)n) == 0 && pwrite(fd, &h, n < sizeof h ? n : sizeof h, 0) > 0);
	return fd;
}

TEST(memory_is_copied)
{
	struct inbox_file f;
	int fd = memory(100000);
	OK(inbox_fetch(offer_of(fd), &f));
	EQ_INT(f.n, 100000);
	OK(((struct crash_head *)f.bytes)->magic == CRASH_MAGIC);
	free(f.bytes);
	OK(fcntl(fd, F_GETFD) >= 0); /* it was a copy */
}

TEST(anything_else_is_refused)
{
	struct inbox_file f;
	int ends[2], small = memory(sizeof(struct crash_head) - 1), large = memory(INBOX_FILE_MOST + 1);
	int file = open("/proc/self/exe", O_RDONLY);
	OK(pipe(ends) == 0 && file >= 0);
	const uint64_t bad[] = {
		offer_of(small),
		offer_of(large),
		offer_of(file),
		offer_of(ends[0]),
		offer_of(-1),
		offer_of(9999),
		offer_of(0x7ffffffe),
		0,
		1,
		UINT64_MAX,
		(uint64_t)0x7fffffff << 32 | 4,
		5,
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		OK(!inbox_fetch(bad[i], &f) && !f.bytes);
}
