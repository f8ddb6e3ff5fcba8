/* flags: -static */
/* A static program: the preload does not reach it, and nothing else changes. */
#include "host.h"

int main(int argc, char **argv)
{
	alarm(20);
	for (int i = 0; i < 20; i++)
		exchange_new("/static");
	printf("static %d %s\n", argc, argc > 1 ? argv[1] : "");
	return 17;
}
