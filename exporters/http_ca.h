/*
 * Certificate authorities in memory, by name. A bundle has 150 of them, a connection needs one: parsed as a whole, as
 * libcurl would do for each connection, they take 2.3 MB. Here they lie as DER, and OpenSSL asks for what it needs.
 * exporter thread.
 */
#ifndef REMORA_HTTP_CA_H
#define REMORA_HTTP_CA_H

#include "exporters/buf.h"

struct http_ca;

/* From a PEM file's text. NULL: no certificate in it, or no memory. */
struct http_ca *http_ca_new(const struct buf *pem);
void http_ca_delete(struct http_ca *ca);
/* Let connections of this SSL_CTX look there; ca outlives them. */
bool http_ca_use(struct http_ca *ca, void *ssl_ctx);

#endif
