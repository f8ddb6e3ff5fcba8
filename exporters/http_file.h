/* PEM files kept in memory, by path. exporter thread. */
#ifndef REMORA_HTTP_FILE_H
#define REMORA_HTTP_FILE_H

#include "exporters/abi.h"
#include "exporters/buf.h"

struct http_files;

struct http_files *http_files_new(const struct export_host *host);
void http_files_delete(struct http_files *f);
/* The file's bytes, borrowed until delete; read at the first call that succeeds. NULL: unreadable, errno. */
const struct buf *http_files_get(struct http_files *f, const char *path);
/* The machine's certificate authorities. NULL: none found. */
const struct buf *http_files_authorities(struct http_files *f);

#endif
