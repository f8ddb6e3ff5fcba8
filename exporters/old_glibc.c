/* What we use and glibc 2.17 lacks. Ours in every build, so that the tests run what old systems run. */
#include <string.h>

void explicit_bzero(void *p, size_t n) /* 2.25 */
{
	void *(*volatile set)(void *, int, size_t) = memset; /* so that no compiler takes it away */
	set(p, 0, n);
}
