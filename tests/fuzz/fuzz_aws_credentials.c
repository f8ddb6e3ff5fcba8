/* Shared files, and the answers of credential services. First byte: which. */
#include "exporters/aws/credentials.h"
#include "fuzz.h"

static void word(const char *s, size_t most)
{
	HOLDS(!s || aws_word_ok(s, strlen(s), most));
}

static void found(struct aws_found *f, const char *why)
{
	HOLDS(why ? !f->id && !f->secret && !f->token : f->id && f->secret);
	word(f->id, 128);
	word(f->secret, 512);
	word(f->token, 16384);
	aws_found_free(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct aws_profile p = {0};
	struct aws_found f;
	if (!size)
		return 0;
	size_t n = size - 1;
	char *text = exact(data + 1, n);
	switch (data[0] % 4) {
	case 0:
	case 1:
		aws_profile_read(&p, text, n, "dev", data[0] & 1);
		word(p.keys.id, 128);
		word(p.keys.secret, 512);
		word(p.region, 64);
		word(p.role_arn, 2048);
		word(p.session, 64);
		word(p.external_id, 1224);
		aws_profile_free(&p);
		break;
	case 2:
		found(&f, aws_json_read(&f, text, n));
		break;
	default:
		found(&f, aws_xml_read(&f, text, n));
		HOLDS(aws_time_read(text, n) < UINT64_C(1) << 40);
	}
	free(text);
	return 0;
}
