/* Retry-After: delta-seconds, or a date in one of the three forms of RFC 9110, 5.6.7. */
#include "exporters/http.h"
#include <string.h>

#define SECOND UINT64_C(1000000000)
#define LONGEST (86400 * SECOND)

static const char *skip(const char *p, const char *set)
{
	return p + strspn(p, set);
}

static const char *number(const char *p, unsigned *out)
{
	unsigned n = 0, digits = 0;
	while (p[digits] >= '0' && p[digits] <= '9' && digits < 5)
		n = n * 10 + (unsigned)(p[digits++] - '0');
	*out = n;
	return digits ? p + digits : NULL;
}

static const char *month(const char *p, unsigned *out)
{
	static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	for (unsigned i = 0; i < 12; i++)
		if (strncmp(p, names + 3 * i, 3) == 0) {
			*out = i + 1;
			return p + 3;
		}
	return NULL;
}

static const char *clock_time(const char *p, unsigned *seconds)
{
	unsigned h, m, s;
	if (!(p = number(p, &h)) || *p++ != ':' || !(p = number(p, &m)) || *p++ != ':' || !(p = number(p, &s)) || h > 23 ||
	    m > 59 || s > 60)
		return NULL;
	*seconds = h * 3600 + m * 60 + s;
	return p;
}

/* Seconds since 1970; the civil calendar's days counted from a March, so that a leap day is the last of its year. */
static int64_t epoch(unsigned y, unsigned m, unsigned d, unsigned seconds)
{
	int64_t year = (int64_t)y - (m <= 2), era = year / 400, of_era = year - era * 400;
	int64_t of_year = (153 * ((int64_t)m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	int64_t day = era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
	return day * 86400 + seconds;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"; -1: none of them */
static int64_t date(const char *p)
{
	unsigned y, m, d, seconds;
	while ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z'))
		p++;
	p = skip(p, ", ");
	if (*p >= '0' && *p <= '9') {
		if (!(p = number(p, &d)) || !(p = month(skip(p, " -"), &m)) || !(p = number(skip(p, " -"), &y)) ||
		    !(p = clock_time(skip(p, " "), &seconds)))
			return -1;
		p = skip(p, " ");
		if (strncmp(p, "GMT", 3) != 0)
			return -1;
		p += 3;
	} else if (!(p = month(p, &m)) || !(p = number(skip(p, " "), &d)) || !(p = clock_time(skip(p, " "), &seconds)) ||
	           !(p = number(skip(p, " "), &y))) {
		return -1;
	}
	if (*skip(p, " \t") || d < 1 || d > 31)
		return -1;
	if (y < 100)
		y += y < 70 ? 2000 : 1900;
	return y < 1970 || y > 9999 ? -1 : epoch(y, m, d, seconds);
}

uint64_t http_retry_after(const char *value, uint64_t now_ns)
{
	if (!value)
		return 0;
	value = skip(value, " \t");
	const char *end = value + strspn(value, "0123456789");
	if (end != value) {
		uint64_t n = 0;
		if (*skip(end, " \t\r\n"))
			return 0;
		for (const char *p = value; p < end && n < 86400; p++)
			n = n * 10 + (uint64_t)(*p - '0');
		return n * SECOND < LONGEST ? n * SECOND : LONGEST;
	}
	int64_t at = date(value);
	if (at < 0 || (uint64_t)at <= now_ns / SECOND)
		return 0;
	uint64_t left = (uint64_t)at - now_ns / SECOND;
	return left < 86400 ? left * SECOND - now_ns % SECOND : LONGEST;
}
