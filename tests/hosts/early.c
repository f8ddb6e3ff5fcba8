/* I/O before any constructor (preinit_array), in constructors of every priority, and in destructors. */
#include "host.h"

static void first(int argc, char **argv, char **envp)
{
	(void)argc, (void)argv, (void)envp;
	int fd = open("/dev/null", O_RDWR);
	CHECK(fd == 3 && write(fd, "GET / HTTP/1.1\r\n\r\n", 18) == 18 && close(fd) == 0);
	exchange_new("/preinit");
	dprintf(1, "preinit done\n");
}
__attribute__((section(".preinit_array"), used)) static void (*preinit)(int, char **, char **) = first;

__attribute__((constructor(101))) static void second(void)
{
	exchange_new("/ctor101");
}

__attribute__((destructor(101))) static void last(void)
{
	exchange_new("/dtor101");
	dprintf(1, "last done\n");
}

static void at_exit(void)
{
	exchange_new("/atexit");
	dprintf(1, "atexit done\n");
}

int main(void)
{
	alarm(20);
	atexit(at_exit);
	exchange_new("/main");
	dprintf(1, "main done\n");
	return 6;
}
