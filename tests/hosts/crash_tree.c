/* flags: -w */
/*
 * Many processes of one tree crash at once, while others begin to serve: crash_tree CRASHING SERVING PARENT, where PARENT
 * is plain, serve (it exports) or crash (it exports, and crashes with them).
 */
#define _GNU_SOURCE
#include "crash_serve.h"
#include <sys/wait.h>

#define KEEP __attribute__((noinline, noclone))

static int *volatile null;

KEEP static void fault(void)
{
	*null = 1;
	__asm__ volatile("" ::
	                     : "memory");
}

int main(int argc, char **argv)
{
	int crashing = atoi(argv[1]), serving = atoi(argv[2]), l = listener(), go[2], ready[2], status;
	unsigned died = 0, lived = 0, other = 0;
	char c;
	alarm(60);
	if (pipe(go) != 0 || pipe(ready) != 0)
		return 99;
	for (int i = 0; i < crashing + serving; i++) {
		if (fork() != 0)
			continue;
		close(go[1]);
		if (write(ready[1], "x", 1) != 1 || read(go[0], &c, 1) != 0)
			_exit(98);
		if (i < crashing)
			fault();
		serve(listener(), 0);
		_exit(0);
	}
	for (int i = 0; i < crashing + serving; i++)
		if (read(ready[0], &c, 1) != 1)
			return 97;
	if (strcmp(argv[3], "plain") != 0)
		serve(l, 1);
	close(go[1]);
	if (strcmp(argv[3], "crash") == 0)
		fault();
	while (wait(&status) > 0) {
		if (WIFSIGNALED(status) && WTERMSIG(status) == 11)
			died++;
		else if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			lived++;
		else
			other++;
	}
	printf("died %u lived %u other %u\n", died, lived, other);
	return 0;
}
