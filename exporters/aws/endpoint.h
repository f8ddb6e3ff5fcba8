/* Where a service of AWS is: host names as the SDKs' endpoint rules have them. Pure. */
#ifndef REMORA_AWS_ENDPOINT_H
#define REMORA_AWS_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>

#define AWS_FIPS 1u      /* AWS_USE_FIPS_ENDPOINT */
#define AWS_DUALSTACK 2u /* AWS_USE_DUALSTACK_ENDPOINT */
#define AWS_HOST 160
#define AWS_REGION 65

/* "logs", "xray" or "sts" in a region, without a scheme. */
void aws_host(char out[static AWS_HOST], const char *service, const char *region, unsigned variants);
/* Is it one of the service's names? Then its region. */
bool aws_host_region(const char *host, size_t n, const char *service, char region[static AWS_REGION]);
/* What can be part of a host name as a region. */
bool aws_region_ok(const char *region);

#endif
