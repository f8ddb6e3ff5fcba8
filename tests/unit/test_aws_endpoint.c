/* Host names of AWS: some by hand, and those that botocore's rules give (REMORA_ENDPOINT_CASES). */
#include "exporters/aws/endpoint.h"
#include "unit.h"

TEST(hosts)
{
	static const struct {
		const char *service, *region, *host;
		unsigned variants;
	} rows[] = {
		{"logs", "ca-central-1", "logs.ca-central-1.amazonaws.com", 0},
		{"xray", "cn-north-1", "xray.cn-north-1.amazonaws.com.cn", 0},
		{"xray", "us-east-1", "xray-fips.us-east-1.amazonaws.com", AWS_FIPS},
		{"sts", "us-gov-west-1", "sts.us-gov-west-1.amazonaws.com", AWS_FIPS},
		{"logs", "eu-west-1", "logs.eu-west-1.api.aws", AWS_DUALSTACK},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char host[AWS_HOST], region[AWS_REGION];
		aws_host(host, rows[i].service, rows[i].region, rows[i].variants);
		EQ_STR(host, rows[i].host);
		OK(aws_host_region(host, strlen(host), rows[i].service, region));
		EQ_STR(region, rows[i].region);
	}
}

TEST(other_hosts)
{
	static const char *const rows[] = {"", ".", "xray", "xray.", "xray..amazonaws.com", "xray.a.amazonaws.com.", "xray.a_b.amazonaws.com",
	                                   "logs.eu-west-1.amazonaws.com", "xray.eu-west-1.amazonaws.co", "xray.eu-west-1.example.com",
	                                   "xray.cn-north-1.amazonaws.com", "u@xray.eu-west-1.amazonaws.com"};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char region[AWS_REGION];
		struct unit_guarded g = unit_at_end(rows[i], strlen(rows[i]));
		unit_case("%s", rows[i]);
		OK(!aws_host_region(g.p, strlen(rows[i]), "xray", region));
		unit_unguard(g);
	}
}

/* Lines "service region variants host". */
TEST(cases_of_the_sdk)
{
	const char *path = getenv("REMORA_ENDPOINT_CASES");
	FILE *f = path ? fopen(path, "r") : NULL;
	char service[33], region[AWS_REGION], want[AWS_HOST], host[AWS_HOST], of[AWS_REGION];
	unsigned variants, n = 0;
	OK(!path || f);
	while (f && fscanf(f, "%32s %64s %u %159s", service, region, &variants, want) == 4) {
		unit_case("%s %s %u", service, region, variants);
		aws_host(host, service, region, variants);
		EQ_STR(host, want);
		OK(aws_host_region(host, strlen(host), service, of));
		EQ_STR(of, region);
		n++;
	}
	if (f) {
		printf("# %u cases\n", n);
		fclose(f);
	}
}
