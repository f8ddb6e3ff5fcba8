/* An X509_LOOKUP over DER in memory. */
#include "exporters/http_ca.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	unsigned long hash; /* of the subject's name */
	size_t at, n;       /* in der */
};

struct http_ca {
	X509_LOOKUP_METHOD *method;
	struct buf der, entries;
};

static const struct entry *entries(const struct http_ca *ca, size_t *n)
{
	*n = ca->entries.n / sizeof(struct entry);
	return (const struct entry *)(const void *)ca->entries.p;
}

static X509 *parse(const struct http_ca *ca, const struct entry *e)
{
	const unsigned char *p = (const unsigned char *)ca->der.p + e->at;
	return d2i_X509_AUX(NULL, &p, (long)e->n);
}

static void add(struct http_ca *ca, const unsigned char *der, long n)
{
	struct entry e = {.at = ca->der.n, .n = (size_t)n};
	buf_add(&ca->der, der, e.n);
	X509 *x = ca->der.failed ? NULL : parse(ca, &e);
	if (!x) { /* bundles hold certificates that this OpenSSL does not understand: the others count */
		ca->der.n = e.at;
		return;
	}
	e.hash = X509_subject_name_hash(x);
	buf_add(&ca->entries, &e, sizeof e);
	X509_free(x);
}

/*
 * OpenSSL asks for who signed something. All of that name go into the connection's store, which keeps them; the result
 * is borrowed from there (X509_STORE_CTX_get_by_subject takes its own reference).
 */
static int by_subject(X509_LOOKUP *lookup, X509_LOOKUP_TYPE type, const X509_NAME *name, X509_OBJECT *out)
{
	const struct http_ca *ca = X509_LOOKUP_get_method_data(lookup);
	X509_STORE *store = X509_LOOKUP_get_store(lookup);
	int found = 0, ok = 0;
	unsigned long hash = type == X509_LU_X509 ? X509_NAME_hash_ex(name, NULL, NULL, &ok) : 0;
	size_t n;
	const struct entry *e = entries(ca, &n);
	for (size_t i = 0; ok && i < n; i++) {
		X509 *x = e[i].hash == hash ? parse(ca, &e[i]) : NULL;
		if (x && X509_NAME_cmp(X509_get_subject_name(x), name) == 0 && X509_STORE_add_cert(store, x) && !found) {
			found = X509_OBJECT_set1_X509(out, x);
			if (found)
				X509_free(x); /* the reference that `out` is not to have */
		}
		X509_free(x);
	}
	return found;
}

struct http_ca *http_ca_new(const struct buf *pem)
{
	struct http_ca *ca = calloc(1, sizeof *ca);
	BIO *in = BIO_new_mem_buf(pem->p, (int)pem->n);
	char *name, *header;
	unsigned char *der;
	long n;
	while (ca && in && PEM_read_bio(in, &name, &header, &der, &n)) {
		if (strcmp(name, PEM_STRING_X509) == 0 || strcmp(name, PEM_STRING_X509_OLD) == 0 ||
		    strcmp(name, PEM_STRING_X509_TRUSTED) == 0)
			add(ca, der, n);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_free(der);
	}
	BIO_free(in);
	ERR_clear_error();
	if (ca && ca->entries.n && !ca->entries.failed && (ca->method = X509_LOOKUP_meth_new("remora"))) {
		X509_LOOKUP_meth_set_get_by_subject(ca->method, by_subject);
		return ca;
	}
	http_ca_delete(ca);
	return NULL;
}

void http_ca_delete(struct http_ca *ca)
{
	if (!ca)
		return;
	X509_LOOKUP_meth_free(ca->method);
	buf_free(&ca->der);
	buf_free(&ca->entries);
	free(ca);
}

bool http_ca_use(struct http_ca *ca, void *ssl_ctx)
{
	X509_LOOKUP *l = X509_STORE_add_lookup(SSL_CTX_get_cert_store(ssl_ctx), ca->method);
	return l && X509_LOOKUP_set_method_data(l, ca);
}
