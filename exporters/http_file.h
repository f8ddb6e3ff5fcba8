/* PEM files kept in memory, by path. exporter thread. */
#ifndef REMORA_HTTP_FILE_H
#define REMORA_HTTP_FILE_H

#include "exporters/abi.h"
#include "exporters/buf.h"

struct http_files;
struct http_ca; /* http_ca.h */

struct http_files *http_files_new(const struct export_host *host);
void http_files_delete(struct http_files *f);
/* The file's bytes, borrowed until delete; read at the first call that succeeds. NULL: unreadable, errno. */
const struct buf *http_files_get(struct http_files *f, const char *path);
/* The same for a file of certificate authorities; path NULL: the machine's. errno EINVAL: no certificate in it. */
struct http_ca *http_files_ca(struct http_files *f, const char *path);

#endif
