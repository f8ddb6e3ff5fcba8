#include "exporters/aws/endpoint.h"
#include <stdio.h>
#include <string.h>

static const struct partition {
	const char *region, *suffix, *dual; /* how its regions begin; the domain, and that of both IP versions */
} partitions[] = {
	{"cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"},
	{"eusc-", "amazonaws.eu", "api.amazonwebservices.eu"},
	{"us-iso-", "c2s.ic.gov", "api.aws.ic.gov"},
	{"us-isob-", "sc2s.sgov.gov", "api.aws.scloud"},
	{"eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"},
	{"us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"},
	{"", "amazonaws.com", "api.aws"},
};

static const struct partition *partition_of(const char *region)
{
	const struct partition *p = partitions;
	while (strncmp(region, p->region, strlen(p->region)) != 0)
		p++;
	return p;
}

bool aws_region_ok(const char *region)
{
	size_t n = strlen(region);
	return n && n < AWS_REGION &&
	       strspn(region, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == n;
}

void aws_host(char out[static AWS_HOST], const char *service, const char *region, unsigned variants)
{
	const struct partition *p = partition_of(region);
	bool fips = variants & AWS_FIPS, dual = variants & AWS_DUALSTACK;
	/* Of these two, GovCloud's usual hosts are the FIPS ones. */
	if (fips && !dual && strncmp(region, "us-gov-", 7) == 0 && strcmp(service, "xray") != 0)
		fips = false;
	snprintf(out, AWS_HOST, "%.32s%s.%.64s.%s", service, fips ? "-fips" : "", region, dual ? p->dual : p->suffix);
}

bool aws_host_region(const char *host, size_t n, const char *service, char region[static AWS_REGION])
{
	const char *dot = memchr(host, '.', n), *end = host + n;
	const char *next = dot ? memchr(dot + 1, '.', (size_t)(end - dot - 1)) : NULL;
	size_t len = next ? (size_t)(next - dot - 1) : 0;
	if (!len || len >= AWS_REGION)
		return false;
	memcpy(region, dot + 1, len);
	region[len] = 0;
	for (unsigned variants = 0; variants < 4 && aws_region_ok(region); variants++) {
		char name[AWS_HOST];
		aws_host(name, service, region, variants);
		if (strlen(name) == n && memcmp(name, host, n) == 0)
			return true;
	}
	return false;
}
