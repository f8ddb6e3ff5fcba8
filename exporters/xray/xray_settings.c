/* X-Ray's variables: AWS_XRAY_* as its SDKs read them, REMORA_XRAY_*. */
#include "exporters/abi.h"
#include "exporters/log.h"
#include "exporters/utf8.h"
#include "exporters/xray/xray.h"
#include <stdio.h>
#include <strings.h>

#define MS UINT64_C(1000000)

/* "host:port", "[v6]:port". */
static bool host_port(const char *p, const char *e, struct xray_address *out)
{
	const char *colon = p < e ? memrchr(p, ':', (size_t)(e - p)) : NULL;
	uint32_t port = 0;
	if (!colon || colon + 1 == e || e - colon > 6)
		return false;
	for (const char *d = colon + 1; d < e; d++) {
		if (*d < '0' || *d > '9')
			return false;
		port = port * 10 + (uint32_t)(*d - '0');
	}
	bool v6 = *p == '[';
	if (v6 && (colon - p < 4 || colon[-1] != ']'))
		return false;
	p += v6;
	size_t n = (size_t)(colon - p) - v6;
	if (n == 0 || n >= sizeof out->host || port == 0 || port > 65535)
		return false;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)p[i] <= 0x20 || p[i] == 0x7f || p[i] == '/' || p[i] == '@' || (p[i] == ':' && !v6))
			return false;
	memcpy(out->host, p, n);
	out->host[n] = 0;
	out->port = (uint16_t)port;
	return true;
}

bool xray_address_parse(const char *s, struct xray_address *udp, struct xray_address *tcp)
{
	unsigned words = 0;
	*udp = *tcp = (struct xray_address){{0}, 0};
	while (*s) {
		const char *e = s + strcspn(s, " \t");
		if (e > s) {
			bool is_udp = strncasecmp(s, "udp:", 4) == 0, is_tcp = strncasecmp(s, "tcp:", 4) == 0;
			struct xray_address a;
			if (++words > 2 || !host_port(is_udp || is_tcp ? s + 4 : s, e, &a))
				return false;
			if (!is_udp && !is_tcp && words > 1)
				return false;
			if ((is_udp && udp->port) || (is_tcp && tcp->port))
				return false;
			if (!is_tcp)
				*udp = a;
			if (!is_udp)
				*tcp = a;
			if (!is_udp && !is_tcp)
				words = 2;
		}
		s = e + strspn(e, " \t");
	}
	if (!words)
		return false;
	/* Only one of the two named: the other is where it usually is. */
	struct xray_address usual = {"127.0.0.1", 2000};
	if (!udp->port)
		*udp = usual;
	if (!tcp->port)
		*tcp = usual;
	return true;
}

static uint64_t milliseconds(const struct settings *s, const char *name)
{
	const char *v = settings_get(s->host, name);
	uint64_t n = 0;
	if (v && !settings_number(v, INT32_MAX, &n))
		log_once(log_bit(name), "%s=%.40s is not a whole number of milliseconds; ignored", name, v);
	return n * MS;
}

/* A well-formed value, or NULL. */
static const char *text(const struct settings *s, const char *name)
{
	const char *v = settings_get(s->host, name);
	if (!v || utf8_valid(v, strlen(v)))
		return v;
	log_once(log_bit(name), "%s is not UTF-8; ignored", name);
	return NULL;
}

/* REMORA_XRAY_PROTOCOL: segment documents to the daemon, or OTLP to X-Ray itself. */
static bool is_direct(const struct settings *s)
{
	static const char var[] = "REMORA_XRAY_PROTOCOL";
	const char *v = settings_get(s->host, var);
	int k = v ? settings_choice(v, strlen(v), "daemon|otlp") : 0;
	if (k < 0)
		log_once(log_bit(var), "%s=%.40s is not daemon or otlp; using daemon", var, v);
	return k == 1;
}

bool settings_xray_wanted(const struct settings *s)
{
	return settings_get(s->host, "AWS_XRAY_DAEMON_ADDRESS") || is_direct(s);
}

void settings_xray(struct settings *s, bool listed)
{
	static const char var[] = "AWS_XRAY_DAEMON_ADDRESS";
	struct xray_settings *x = &s->xray;
	const char *address = settings_get(s->host, var);
	struct xray_address udp, tcp;
	*x = (struct xray_settings){.dynamic = text(s, "REMORA_XRAY_DYNAMIC_NAMING"), .address = address ? address : "127.0.0.1:2000"};
	if (!listed && !settings_xray_wanted(s))
		return;
	x->own = !settings_get(s->host, "OTEL_TRACES_SAMPLER");
	x->direct = is_direct(s);
	if (x->direct)
		return;
	x->on = xray_address_parse(x->address, &udp, &tcp);
	if (!x->on) {
		log_once(log_bit(var), "%s=%.200s is not host:port, or tcp:host:port udp:host:port; nothing is sent to X-Ray",
		         var, address);
		return;
	}
	x->name = text(s, "AWS_XRAY_TRACING_NAME");
	x->annotations = text(s, "REMORA_XRAY_ANNOTATIONS");
	x->execution_env = text(s, "AWS_EXECUTION_ENV");
	x->log_group = text(s, "REMORA_CLOUDWATCH_LOG_GROUP");
	x->in_progress_ns = milliseconds(s, "REMORA_XRAY_IN_PROGRESS_MS");
}

/* "endpoint=http://localhost:2000,polling_interval=300", as ADOT has it. */
void settings_xray_sampler(struct settings *s, const char *arg)
{
	static const char var[] = "OTEL_TRACES_SAMPLER_ARG";
	struct xray_settings *x = &s->xray;
	const char *address = settings_get(s->host, "AWS_XRAY_DAEMON_ADDRESS");
	struct xray_address udp, tcp = {"127.0.0.1", 2000};
	struct xray_address usual = tcp;
	if (address && !xray_address_parse(address, &udp, &tcp))
		tcp = usual;
	bool v6 = strchr(tcp.host, ':') != NULL;
	x->sampler = true;
	x->sampler_usual = !address;
	x->polling_ns = 300 * 1000 * MS;
	snprintf(x->endpoint, sizeof x->endpoint, "http://%s%s%s:%u", v6 ? "[" : "", tcp.host, v6 ? "]" : "", tcp.port);
	for (const char *p = arg; p && *p;) {
		size_t n = strcspn(p, ",");
		uint64_t seconds;
		char value[300];
		const char *eq = memchr(p, '=', n);
		size_t len = eq ? n - (size_t)(eq + 1 - p) : sizeof value;
		bool fit = len < sizeof value;
		if (fit) {
			memcpy(value, eq + 1, len);
			value[len] = 0;
			if (strncmp(p, "endpoint=", 9) == 0 && settings_url_ok(value)) {
				snprintf(x->endpoint, sizeof x->endpoint, "%s", value);
				x->sampler_usual = false;
			} else if (strncmp(p, "polling_interval=", 17) == 0 && settings_number(value, 86400, &seconds) && seconds)
				x->polling_ns = seconds * 1000 * MS;
			else
				fit = false;
		}
		if (!fit)
			log_once(log_bit(var), "%s: %.*s is not endpoint=URL or polling_interval=SECONDS; ignored", var, n < 80 ? (int)n : 80, p);
		p += n + (p[n] != 0);
	}
	size_t n = strlen(x->endpoint);
	while (n && x->endpoint[n - 1] == '/')
		x->endpoint[--n] = 0;
}
