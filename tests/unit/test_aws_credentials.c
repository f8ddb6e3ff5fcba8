/* Shared files and what credential services answer. */
#include "exporters/aws/credentials.h"
#include "unit.h"

static const char file[] = "; comment\n[default]\naws_access_key_id = AKID\naws_secret_access_key=SE/CRET+=\nregion = us-east-1\n"
						   "[ profile dev ]\r\naws_access_key_id=DEV\r\naws_secret_access_key = dev\r\naws_session_token = t\r\n"
						   "[profile \"two words\"]\nregion=eu-west-1\n[sso]\nsso_session = x\ns3 =\n  aws_access_key_id = nested\n";

static struct aws_profile profile(const char *text, const char *name, bool config)
{
	struct aws_profile p = {0};
	struct unit_guarded g = unit_at_end(text, strlen(text));
	aws_profile_read(&p, g.p, strlen(text), name, config);
	unit_unguard(g);
	return p;
}

TEST(profiles)
{
	struct aws_profile p = profile(file, "default", true);
	EQ_STR(p.keys.id, "AKID");
	EQ_STR(p.keys.secret, "SE/CRET+=");
	EQ_STR(p.region, "us-east-1");
	OK(!p.keys.token && p.there && !p.unsupported && !p.bad_line);
	aws_profile_free(&p);
	p = profile(file, "dev", true);
	EQ_STR(p.keys.id, "DEV");
	EQ_STR(p.keys.token, "t");
	aws_profile_free(&p);
	p = profile(file, "two words", true);
	EQ_STR(p.region, "eu-west-1");
	aws_profile_free(&p);
	p = profile(file, "dev", false); /* no "profile" in that kind of file */
	OK(!p.there && !p.keys.id);
	aws_profile_free(&p);
	p = profile(file, "sso", false);
	EQ_STR(p.unsupported, "sso_session");
	OK(!p.keys.id);
	aws_profile_free(&p);
}

TEST(roles)
{
	static const char text[] = "[profile a]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = two words \nrole_session_name=s\n"
							   "external_id = a:b\nduration_seconds = 900\nmfa_serial = m\n[profile b]\nrole_arn=with blank\n"
							   "credential_source = EcsContainer\nweb_identity_token_file = /a b\n";
	struct aws_profile p = profile(text, "a", true);
	EQ_STR(p.role_arn, "arn:aws:iam::1:role/x");
	EQ_STR(p.source_profile, "two words");
	EQ_STR(p.session, "s");
	EQ_STR(p.external_id, "a:b");
	EQ_STR(p.duration, "900");
	OK(p.mfa && !p.source && !p.unsupported);
	aws_profile_free(&p);
	p = profile(text, "b", true);
	OK(!p.role_arn && !p.mfa && !p.source_profile);
	EQ_STR(p.source, "EcsContainer");
	EQ_STR(p.token_file, "/a b");
	aws_profile_free(&p);
}

TEST(what_is_set_stays)
{
	struct aws_profile p = profile("[default]\nregion=a\naws_access_key_id=b\n", "default", false);
	static const char more[] = "[default]\nregion=c\naws_access_key_id=d\naws_secret_access_key=e\n";
	aws_profile_read(&p, more, sizeof more - 1, "default", true);
	EQ_STR(p.region, "a");
	EQ_STR(p.keys.id, "b");
	EQ_STR(p.keys.secret, "e");
	aws_profile_free(&p);
}

TEST(bad_lines)
{
	static const struct {
		const char *text;
		unsigned line;
	} rows[] = {{"", 0}, {"\n\n[a]\nx\n", 4}, {"x=1\n", 1}, {"[a\n", 1}, {"[a]\n# c\n;d\n = \n", 0}, {"[a]\nk = v = w\n", 0}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("%s", rows[i].text);
		struct aws_profile p = profile(rows[i].text, "a", false);
		EQ_INT(p.bad_line, rows[i].line);
		aws_profile_free(&p);
	}
	struct aws_profile p = profile("[a]\naws_access_key_id = with blank\naws_secret_access_key=\xff\n", "a", false);
	OK(!p.keys.id && !p.keys.secret);
	aws_profile_free(&p);
}

TEST(times)
{
	static const struct {
		const char *text;
		uint64_t want;
	} rows[] = {
		{"2026-01-02T03:04:05Z", 1767323045},
		{"2026-01-02T03:04:05.123Z", 1767323045},
		{"1970-01-01T00:00:01Z", 1},
		{"2026-01-02T03:04:05", 0},
		{"2026-13-02T03:04:05Z", 0},
		{"2026-01-02 03:04:05Z", 0},
		{"", 0},
		{"9999-12-31T23:59:60Z", 253402300800},
		{"0000-00-00T00:00:00Z", 0},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit_case("%s", rows[i].text);
		EQ_INT(aws_time_read(rows[i].text, strlen(rows[i].text)), rows[i].want);
	}
}

TEST(json_answers)
{
	static const char good[] = "{\"Code\":\"Success\",\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\",\"Token\":\"T\","
							   "\"Expiration\":\"2026-01-02T03:04:05Z\"}";
	static const char *const bad[] = {"", "x", "[]", "{}", "{\"AccessKeyId\":\"A\"}", "{\"AccessKeyId\":1,\"SecretAccessKey\":\"S\"}",
	                                  "{\"Code\":\"No\",\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\"}",
	                                  "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\",\"Expiration\":\"x\"}",
	                                  "{\"AccessKeyId\":\"A\\r\",\"SecretAccessKey\":\"S\"}"};
	struct aws_found f;
	OK(!aws_json_read(&f, good, sizeof good - 1));
	EQ_STR(f.id, "A");
	EQ_STR(f.secret, "S");
	EQ_STR(f.token, "T");
	EQ_INT(f.expires_s, 1767323045);
	aws_found_free(&f);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		unit_case("%s", bad[i]);
		OK(aws_json_read(&f, bad[i], strlen(bad[i])));
		OK(!f.id && !f.secret && !f.token);
	}
}

TEST(xml_answers)
{
	static const char good[] = "<R xmlns=\"x\"><Credentials>\n <AccessKeyId> A </AccessKeyId><SecretAccessKey>S</SecretAccessKey>"
							   "<SessionToken>T=</SessionToken><Expiration>2026-01-02T03:04:05Z</Expiration></Credentials></R>";
	static const char *const bad[] = {"", "<Credentials>", "<Credentials></Credentials>",
	                                  "<Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>S</SecretAccessKey></Credentials>",
	                                  "<Credentials><Expiration>x</Expiration></Credentials>"};
	struct aws_found f;
	OK(!aws_xml_read(&f, good, sizeof good - 1));
	EQ_STR(f.id, "A");
	EQ_STR(f.token, "T=");
	EQ_INT(f.expires_s, 1767323045);
	aws_found_free(&f);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		unit_case("%s", bad[i]);
		OK(aws_xml_read(&f, bad[i], strlen(bad[i])));
		OK(!f.id && !f.secret && !f.token);
	}
}
