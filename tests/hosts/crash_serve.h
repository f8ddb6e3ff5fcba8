/* A request of a program's own, so that it is one that exports. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
#define ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static int listener(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int l = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(l, (struct sockaddr *)&at, sizeof at) != 0 || listen(l, 8) != 0)
		_exit(97);
	return l;
}

/* One request of our own; both ends stay open. exports: stdin ends when its spans have arrived. */
static void serve(int l, int exports)
{
	struct sockaddr_in at;
	socklen_t n = sizeof at;
	char buf[256];
	int c = socket(AF_INET, SOCK_STREAM, 0);
	getsockname(l, (struct sockaddr *)&at, &n);
	if (connect(c, (struct sockaddr *)&at, n) != 0 || send(c, REQUEST, sizeof REQUEST - 1, 0) < 0)
		_exit(96);
	int s = accept(l, NULL, NULL);
	if (recv(s, buf, sizeof buf, 0) <= 0 || send(s, ANSWER, sizeof ANSWER - 1, 0) < 0 || recv(c, buf, sizeof buf, 0) <= 0)
		_exit(95);
	while (exports && read(0, buf, sizeof buf) > 0)
		;
}
