/* Secrets stay out of URLs and command lines. */
#include "proto/redact.h"
#include "unit.h"

/* Writes at an unreadable page, and with every smaller buffer gives the beginning of the same. */
static void check_text(size_t (*redact)(struct slice, char *, size_t), const char *in, const char *want)
{
	struct unit_guarded src = unit_at_end(in, strlen(in)), dst = unit_at_end(NULL, 4096);
	struct slice s = {src.p, (uint32_t)strlen(in)};
	unit_case("%s", in);
	size_t n = redact(s, dst.p, 4096);
	EQ_MEM(dst.p, n, want, strlen(want));
	for (size_t cap = 0; cap <= n; cap++) {
		EQ_INT(redact(s, dst.p + 4096 - cap, cap), cap);
		EQ_MEM(dst.p + 4096 - cap, cap, want, cap);
	}
	unit_unguard(src);
	unit_unguard(dst);
}

#define R "REDACTED"

TEST(urls)
{
	static const char *const rows[][2] = {
		{"http://h.example/a?b=c#d", "http://h.example/a?b=c#d"},
		{"/a/b?c=d&e", "/a/b?c=d&e"},
		{"*", "*"},
		{"h.example:443", "h.example:443"},
		{"", ""},
		{"https://u:p@h.example/a", "https://" R ":" R "@h.example/a"},
		{"https://u@h.example", "https://" R ":" R "@h.example"},
		{"https://u:p@x@h.example/a@b", "https://" R ":" R "@h.example/a@b"},
		{"https://u:p;w@h/?q=1", "https://" R ":" R "@h/?q=1"},
		{"https://h/a@b?c=d@e", "https://h/a@b?c=d@e"},
		{"//u:p@h/a", "//" R ":" R "@h/a"},
		{"ftp://u:p@h", "ftp://" R ":" R "@h"},
		{"/?next=http://u:p@h/", "/?next=http://" R ":" R "@h/"},
		{"/?AWSAccessKeyId=A&Signature=B&x=1", "/?AWSAccessKeyId=" R "&Signature=" R "&x=1"},
		{"/?sig=a%20b&X-Goog-Signature=b", "/?sig=" R "&X-Goog-Signature=" R},
		{"/?X-Amz-Signature=a&X-Amz-Credential=b&X-Amz-Security-Token=c&X-Amz-Date=d",
	     "/?X-Amz-Signature=" R "&X-Amz-Credential=" R "&X-Amz-Security-Token=" R "&X-Amz-Date=d"},
		{"/?token=a&access_token=b&accessToken=c&ID-TOKEN=d", "/?token=" R "&access_token=" R "&accessToken=" R "&ID-TOKEN=" R},
		{"/?api_key=a&apikey=b&key=c&password=d&passwd=e&pwd=f", "/?api_key=" R "&apikey=" R "&key=" R "&password=" R "&passwd=" R "&pwd=" R},
		{"/?client_secret=a&auth=b&session=c&sessionid=d&jwt=e&code=f", "/?client_secret=" R "&auth=" R "&session=" R "&sessionid=" R "&jwt=" R "&code=" R},
		{"/?user[password]=a&user.secret=b&password[]=c", "/?user[password]=" R "&user.secret=" R "&password[]=" R},
		{"/?pass%77ord=a&p%61ss=b", "/?pass%77ord=" R "&p%61ss=" R},
		{"/?a=1;token=b;c&d=2", "/?a=1;token=" R "&d=2"},
		{"/?token=a=b==&c=1", "/?token=" R "&c=1"},
		{"/?token=", "/?token=" R},
		{"/?token", "/?token"},
		{"/?a=?token=x", "/?a=?token=" R},
		{"/cb#access_token=a&state=b", "/cb#access_token=" R "&state=b"},
		{"/?code=a#token=b", "/?code=" R "#token=" R},
		{"/a;jsessionid=A1/b;v=2?x=y", "/a;jsessionid=" R "/b;v=2?x=y"},
		{"/a;jsessionid=A1?token=b", "/a;jsessionid=" R "?token=" R},
		{"/?sort_key=a&monkey=b&zipcode=c&author=d&sessions=e", "/?sort_key=a&monkey=b&zipcode=c&author=d&sessions=e"},
		{"/token=a/key=b", "/token=a/key=b"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		check_text(redact_url, rows[i][0], rows[i][1]);
}

TEST(queries)
{
	check_text(redact_query, "a=b&token=c", "a=b&token=" R);
	check_text(redact_query, "token=c/d?e&f=g", "token=" R "&f=g");
	check_text(redact_query, "", "");
	check_text(redact_query, "&&=&=x;", "&&=&=x;");
}

/* Arguments divided by '|'. */
static void check_args(const char *in, const char *want)
{
	static char text[4096], got[4096], one[1024];
	struct redact_args a = {0};
	snprintf(text, sizeof text, "%s", in);
	*got = 0;
	unit_case("%s", in);
	for (char *p = text; p;) {
		char *bar = strchr(p, '|');
		size_t len = bar ? (size_t)(bar - p) : strlen(p);
		struct unit_guarded g = unit_at_end(p, len);
		struct redact_args before = a;
		size_t n = redact_arg(&a, (struct slice){g.p, (uint32_t)len}, one, sizeof one);
		OK(n < sizeof one);
		sprintf(got + strlen(got), "%s%.*s", p == text ? "" : "|", (int)n, one);
		for (size_t cap = 0; cap < n; cap++) {
			struct redact_args again = before;
			struct unit_guarded d = unit_at_end(NULL, cap);
			EQ_INT(redact_arg(&again, (struct slice){g.p, (uint32_t)len}, d.p, cap), cap);
			EQ_MEM(d.p, cap, one, cap);
			unit_unguard(d);
		}
		unit_unguard(g);
		p = bar ? bar + 1 : NULL;
	}
	EQ_STR(got, want);
}

TEST(command_lines)
{
	static const char *const rows[][2] = {
		{"/usr/bin/python3|app.py|--port=80|-v", "/usr/bin/python3|app.py|--port=80|-v"},
		{"a|--password=x y|b", "a|--password=" R "|b"},
		{"a|--token|x|b", "a|--token|" R "|b"},
		{"a|-token|x|b", "a|-token|" R "|b"},
		{"a|--password|--verbose|b", "a|--password|--verbose|b"},
		{"a|--no-password|b", "a|--no-password|b"},
		{"a|--password-file|/f", "a|--password-file|/f"},
		{"a|--db-password|x|--api_key=y", "a|--db-password|" R "|--api_key=" R},
		{"a|FOO_KEY=x|AWS_SECRET_ACCESS_KEY=y|FOO=bar|DB_PASS=z z", "a|FOO_KEY=" R "|AWS_SECRET_ACCESS_KEY=" R "|FOO=bar|DB_PASS=" R},
		{"env|HONEYCOMB_API_KEY=x|OTEL_EXPORTER_OTLP_HEADERS=x-honeycomb-team=abc", "env|HONEYCOMB_API_KEY=" R "|OTEL_EXPORTER_OTLP_HEADERS=" R},
		{"java|-Dspring.datasource.password=x|-Xmx1g|-jar|a.jar", "java|-Dspring.datasource.password=" R "|-Xmx1g|-jar|a.jar"},
		{"mysql|-u|root|-psecret|-P3306|db", "mysql|-u|root|-p" R "|-P3306|db"},
		{"/usr/bin/mysqldump|-p|db", "/usr/bin/mysqldump|-p|db"},
		{"ls|-psecret", "ls|-psecret"},
		{"sshpass|-p|x|ssh", "sshpass|-p|" R "|ssh"},
		{"redis-cli|-a|x|ping", "redis-cli|-a|" R "|ping"},
		{"ldapsearch|-wx", "ldapsearch|-w" R},
		{"curl|-u|user:pass|http://h/", "curl|-u|" R ":" R "|http://h/"},
		{"curl|-uuser:pass|--user=a:b|--proxy-user|c:d", "curl|-u" R ":" R "|--user=" R ":" R "|--proxy-user|" R ":" R},
		{"docker|run|-u|1000:1000|-e|FOO_TOKEN=x|img", "docker|run|-u|1000:1000|-e|FOO_TOKEN=" R "|img"},
		{"sudo|-u|www-data|sh", "sudo|-u|www-data|sh"},
		{"curl|-H|Authorization: Bearer abc|-H|Accept: */*", "curl|-H|Authorization: " R "|-H|Accept: */*"},
		{"curl|-HAuthorization: Basic abc", "curl|-HAuthorization: " R},
		{"curl|--header=authorization:abc", "curl|--header=authorization:" R},
		{"curl|-H|X-Api-Key: abc|-H|Cookie: a=b; c=d|-b|s=1", "curl|-H|X-Api-Key: " R "|-H|Cookie: " R "|-b|" R},
		{"curl|http://u:p@h/?token=x&y=z", "curl|http://" R ":" R "@h/?token=" R "&y=z"},
		{"app|--db=postgres://u:p@h/db|redis://:p@h", "app|--db=postgres://" R ":" R "@h/db|redis://" R ":" R "@h"},
		{"curl|-d|user=a&password=b&c=d", "curl|-d|user=a&password=" R "&c=d"},
		{"curl|-d|{\"user\": \"a\", \"password\": \"b c\", \"x\": 1}", "curl|-d|{\"user\": \"a\", \"password\": " R ", \"x\": 1}"},
		{"sh|-c|TOKEN=abc cmd; curl -H 'Authorization: Bearer abc' http://u:p@h/ && FOO=1 x",
	     "sh|-c|TOKEN=" R},
		{"sh|-c|cmd; TOKEN=abc x && curl -H 'Authorization: Bearer abc' http://u:p@h/",
	     "sh|-c|cmd; TOKEN=" R " x && curl -H 'Authorization: " R "' http://" R ":" R "@h/"},
		{"app|Bearer abc", "app|Bearer " R},
		{"openssl|rsa|-passin|pass:abc", "openssl|rsa|-passin|pass:" R},
		{"a||--|-|--x=", "a||--|-|--x="},
		{"a|--password", "a|--password"},
		{"a|key", "a|key"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		check_args(rows[i][0], rows[i][1]);
}
