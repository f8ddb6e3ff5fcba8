#include "exporters/sql_summary.h"

/* The first word. */
size_t sql_summary(struct slice text, char *out, size_t cap)
{
	uint32_t n = 0;
	while (n < text.n && text.p[n] != ' ')
		n++;
	if (n > cap)
		return 0;
	memcpy(out, text.p, n);
	return n;
}
