/*
 * The chain as a machine: each step either has keys at once, or begins a request whose answer goes on. A source that
 * was good is asked again before its keys expire; if that fails, the old ones serve until they do.
 */
#include "exporters/aws/credentials_priv.h"
#include "base/clock.h"
#include "exporters/aws/endpoint.h"
#include <sys/mman.h>

#define EARLY_S (15 * 60)            /* before they expire they are asked for again */
#define RETRY_NS (30 * SECOND)       /* after a failure, while there are keys or the chain found none */
#define AGAIN_NS (60 * SECOND)       /* between two refusals that make us look anew */
#define FILE_AGAIN_NS (300 * SECOND) /* files may be rewritten by whoever keeps them fresh */
#define CONTAINER_TRIES 3

static _Atomic unsigned told; /* bits of messages, once in a process */

bool credentials_tell(unsigned bit)
{
	return !(atomic_fetch_or(&told, 1u << bit) & 1u << bit);
}

bool credentials_true(const char *v)
{
	return v && strcasecmp(v, "true") == 0;
}

void credentials_wipe(struct buf *b)
{
	if (b->p)
		explicit_bzero(b->p, b->cap);
	buf_free(b);
}

struct credentials *credentials_new(const struct settings *s, struct http *h)
{
	struct credentials *c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	c->settings = s;
	c->http = h;
	c->step = STEP_END;
	c->due_ns = 1;
	c->store = mmap(NULL, 2 * sizeof *c->store, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (c->store == MAP_FAILED) {
		free(c);
		return NULL;
	}
	madvise(c->store, 2 * sizeof *c->store, MADV_DONTDUMP);
	const char *region = credentials_env(c, "AWS_REGION");
	if (!region)
		region = credentials_env(c, "AWS_DEFAULT_REGION");
	if (region && aws_word_ok(region, strlen(region), sizeof c->region - 1) && !strpbrk(region, "/:@?#"))
		strcpy(c->region, region);
	else if (region && credentials_tell(0))
		log_warn("AWS_REGION=%.40s is no region; ignored", region);
	return c;
}

static void request_free(struct credentials *c)
{
	if (c->request.body.p)
		explicit_bzero(c->request.body.p, c->request.body.cap);
	buf_free(&c->request.body);
	c->request = (struct request){0};
}

void credentials_delete(struct credentials *c)
{
	if (!c)
		return;
	if (c->call)
		http_cancel(c->http, c->call);
	request_free(c);
	credentials_wipe(&c->header);
	sigv4_free(&c->lines);
	credentials_roles_free(c);
	explicit_bzero(c->store, 2 * sizeof *c->store);
	munmap(c->store, 2 * sizeof *c->store);
	free(c);
}

/* ---- outcomes ---- */

static void put_into(struct store *s, const struct aws_found *f)
{
	snprintf(s->id, sizeof s->id, "%s", f->id);
	snprintf(s->secret, sizeof s->secret, "%s", f->secret);
	snprintf(s->token, sizeof s->token, "%s", f->token ? f->token : "");
}

void credentials_take(struct credentials *c, struct aws_found *f, enum step source)
{
	if (c->n_roles && source == STEP_ROLE)
		aws_profile_free(&c->roles[--c->n_roles]);
	if (c->n_roles) {
		put_into(&c->store[STORE_BASE], f);
		aws_found_free(f);
		credentials_assume(c);
		return;
	}
	credentials_roles_free(c);
	c->changes += strcmp(c->store->id, f->id) != 0;
	put_into(c->store, f);
	c->expires_s = f->expires_s;
	c->have = true;
	c->renewing = false;
	c->source = source;
	c->searched = true;
	c->step = STEP_END;
	c->tries = 0;
	c->due_ns = source == STEP_FILES ? mono_ns() + FILE_AGAIN_NS : 0;
	if (f->expires_s) {
		uint64_t now_s = real_ns() / SECOND, at = f->expires_s > EARLY_S ? f->expires_s - EARLY_S : 0;
		uint64_t left = f->expires_s > now_s ? f->expires_s - now_s : 0;
		uint64_t in = at > now_s ? at - now_s : left / 2;
		c->due_ns = mono_ns() + (in ? in : 1) * SECOND;
	}
	aws_found_free(f);
	static const char *const names[] = {"the environment", "an assumed role", "web identity", "the shared files", "the container", "", "", "",
	                                    "instance metadata"};
	log_debug("aws: credentials of %s%s", names[source], c->expires_s ? ", which expire" : "");
}

void credentials_fail(struct credentials *c, const char *what, const char *why)
{
	uint64_t now = mono_ns();
	if (credentials_tell(1 + (unsigned)c->step))
		log_warn("aws: no credentials from %s: %s", what, why);
	credentials_roles_free(c);
	c->step = STEP_END;
	c->searched = true;
	c->renewing = false;
	c->due_ns = now + RETRY_NS;
}

void credentials_none(struct credentials *c)
{
	credentials_roles_free(c);
	c->step = STEP_END;
	c->searched = true;
	c->renewing = false;
	c->due_ns = mono_ns() + RETRY_NS;
	if (!c->have && credentials_tell(20))
		log_warn("aws: no credentials found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the "
		         "container or instance a role");
}

/* ---- requests ---- */

static void answered(void *ctx, const struct answer *a);

void credentials_send(struct credentials *c, const char *method, uint64_t timeout_s, bool direct, enum step step)
{
	c->step = step;
	c->request.url = c->url;
	c->request.method = method;
	c->request.direct = direct;
	c->request.ca_file = direct ? NULL : credentials_env(c, "AWS_CA_BUNDLE");
	c->request.headers = c->headers;
	c->request.timeout_ns = timeout_s * SECOND;
	c->call = http_post(c->http, &c->request, answered, c);
	if (!c->call)
		credentials_fail(c, "the network", "no memory");
}

static void answered(void *ctx, const struct answer *a)
{
	struct credentials *c = ctx;
	enum step step = c->step;
	struct aws_found f;
	const char *why = NULL;
	char text[80];
	c->call = NULL;
	request_free(c);
	if (step != STEP_ROLE && step != STEP_WEB && step != STEP_CONTAINER) {
		credentials_imds_answer(c, step, a);
		return;
	}
	if (!a->status) {
		why = a->error ? a->error : "no answer";
	} else if (a->status != 200) {
		snprintf(text, sizeof text, "status %d", a->status);
		why = text;
	} else {
		why = step == STEP_CONTAINER ? aws_json_read(&f, a->body, a->body_len) : aws_xml_read(&f, a->body, a->body_len);
	}
	if (!why) {
		credentials_take(c, &f, step);
	} else if (step == STEP_ROLE) {
		credentials_role_refused(c, a, why);
	} else if (step == STEP_CONTAINER && ++c->tries < CONTAINER_TRIES) {
		log_debug("aws: the container's credentials: %s; again in a second", why);
		credentials_roles_free(c);
		c->step = STEP_END;
		c->searched = true; /* a flush does not wait for that */
		c->renewing = false;
		c->due_ns = mono_ns() + SECOND;
	} else {
		c->tries = 0;
		credentials_fail(c, step == STEP_WEB ? "web identity" : "the container", why);
	}
}

/* ---- outside ---- */

static void search(struct credentials *c, enum step from)
{
	static bool (*const steps[])(struct credentials *) = {credentials_by_env, credentials_by_role, credentials_by_web, credentials_by_files,
	                                                      credentials_by_container, credentials_by_imds};
	credentials_region_of_files(c);
	for (unsigned i = from; i <= STEP_IMDS; i++)
		if (steps[i](c))
			return;
	credentials_none(c);
}

void credentials_turn(struct credentials *c, uint64_t now)
{
	if (c->call || !c->due_ns || now < c->due_ns)
		return;
	c->due_ns = 0;
	if (c->have && c->expires_s && c->expires_s <= real_ns() / SECOND)
		c->have = false;
	/* Files are read again for new keys; that they are just being written is no reason to be somebody else. */
	if (c->have && c->source == STEP_FILES && !c->anew) {
		if (!credentials_by_files(c))
			c->due_ns = now + RETRY_NS;
		return;
	}
	c->anew = false;
	search(c, STEP_ENV);
	/* Keys without a region: the instance may know it. */
	bool nowhere = c->have && !*c->region && !c->call && c->source != STEP_IMDS_KEYS;
	if (nowhere && !credentials_true(credentials_env(c, "AWS_EC2_METADATA_DISABLED")) && credentials_tell(27))
		credentials_by_imds(c);
}

uint64_t credentials_due(const struct credentials *c)
{
	return c->call ? 0 : c->due_ns;
}

bool credentials_keys(const struct credentials *c, struct aws_keys *out)
{
	if (!c->have || (c->expires_s && c->expires_s <= real_ns() / SECOND))
		return false;
	*out = (struct aws_keys){c->store->id, c->store->secret, c->store->token};
	return true;
}

const char *credentials_region(const struct credentials *c)
{
	return *c->region ? c->region : NULL;
}

bool credentials_hopeless(const struct credentials *c)
{
	return !c->call && c->searched && (c->due_ns == 0 || c->due_ns > mono_ns());
}

bool credentials_refused(struct credentials *c, uint64_t now)
{
	if (c->call)
		return true;
	if (c->refused_ns && now - c->refused_ns < AGAIN_NS)
		return false;
	c->refused_ns = now;
	c->anew = c->renewing = true;
	c->due_ns = 1;
	return true;
}

bool credentials_renewing(const struct credentials *c)
{
	return c->renewing;
}

unsigned credentials_changes(const struct credentials *c)
{
	return c->changes;
}

unsigned credentials_variants(const struct credentials *c)
{
	bool fips = credentials_true(credentials_env(c, "AWS_USE_FIPS_ENDPOINT"));
	bool dual = credentials_true(credentials_env(c, "AWS_USE_DUALSTACK_ENDPOINT"));
	return (fips ? AWS_FIPS : 0) | (dual ? AWS_DUALSTACK : 0);
}

void credentials_mask(const struct credentials *c, char *p, size_t n)
{
	const char *const secrets[] = {c->store->secret, c->store->token, c->store[STORE_BASE].secret, c->store[STORE_BASE].token};
	for (int i = 0; i < 4; i++) {
		size_t k = strlen(secrets[i]);
		for (char *at = p, *end = p + n; k >= 8 && (at = memmem(at, (size_t)(end - at), secrets[i], k)); at += k)
			memset(at, '*', k);
	}
}
