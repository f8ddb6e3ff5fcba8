/* Connections under their numbers: dup, fork, reuse, two threads at once, connects. */
#include "conn_sample.h"
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#define GET(t) "GET " t " HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK2 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

TEST(numbers)
{
	static const int fds[] = {0, 4095, 4096, 100000, (int)(FD_LEAF * FD_LEAVES - 1)};
	static const int beyond[] = {-1, (int)(FD_LEAF * FD_LEAVES), INT32_MAX, INT32_MIN};
	sample_begin();
	for (int i = 0; i < 5; i++) {
		on_accept(fds[i], NULL, 0);
		rxs(fds[i], GET("/a"));
		txs(fds[i], OK2);
		EQ_STR(sample_told(), "/a 200 resp=2");
		on_close(fds[i]);
		EQ_INT(fd_peek(fds[i]), FD_UNKNOWN);
	}
	for (int i = 0; i < 4; i++) {
		OK(!watched(beyond[i]));
		on_accept(beyond[i], NULL, 0);
		rxs(beyond[i], GET("/a"));
		on_dup(beyond[i], 5);
		on_replaced(5, beyond[i], on_replace(beyond[i]), true);
		on_socket(beyond[i], AF_INET, SOCK_STREAM);
		on_close(beyond[i]);
		on_shutdown(beyond[i], SHUT_WR);
	}
	on_close(5);
	sample_clean();
}

TEST(what_is_followed)
{
	int fd[2], file = open("/dev/null", O_RDWR), udp = socket(AF_INET, SOCK_DGRAM, 0), seq[2], pipes[2];
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in a = {.sin_family = AF_INET};
	sample_begin();
	sample_pair(fd);
	OK(pipe(pipes) == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET, 0, seq) == 0);
	OK(bind(listener, (struct sockaddr *)&a, sizeof a) == 0 && listen(listener, 1) == 0);
	const int not [] = {file, udp, seq[0], pipes[0], listener};
	for (int i = 0; i < 5; i++) {
		rxs(not [i], GET("/a"));
		OK(is_opaque(not [i]));
	}
	rxs(12345, GET("/a")); /* not open: may come to be any way */
	EQ_INT(fd_peek(12345), FD_UNKNOWN);
	rxs(fd[0], GET("/a"));
	OK(fd_conn(fd_peek(fd[0])));
	on_socket(7, AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC);
	EQ_INT(fd_peek(7), FD_UNKNOWN);
	on_socket(7, AF_INET, SOCK_DGRAM);
	OK(is_opaque(7));
	on_socket(7, AF_NETLINK, SOCK_STREAM);
	OK(is_opaque(7));
	on_listen(fd[1]);
	OK(is_opaque(fd[1]));
	on_close(fd[0]);
	sample_clean();
}

TEST(dup_shares)
{
	int fd[2];
	sample_begin();
	sample_pair(fd);
	on_accept(fd[0], NULL, 0);
	on_dup(fd[0], 200);
	on_replaced(200, 201, on_replace(201), true);
	rxs(200, GET("/a"));
	on_close(200);
	txs(201, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
	on_close(fd[0]);
	txs(201, "hi");
	EQ_STR(sample_told(), "/a 200 resp=2");
	EQ_INT(process.connections, 1);
	on_close(201);
	sample_clean();
	/* opaque through one, opaque through all */
	on_accept(fd[0], NULL, 0);
	on_dup(fd[0], 200);
	rxs(200, "nonsense\r\n");
	OK(is_opaque(200) && !is_opaque(fd[0]));
	rxs(fd[0], GET("/a"));
	OK(is_opaque(fd[0]));
	on_dup(fd[0], 202);
	OK(is_opaque(202));
	EQ_STR(sample_told(), "");
	on_dup(201, 202); /* an unknown one */
	EQ_INT(fd_peek(202), FD_UNKNOWN);
	sample_clean();
}

TEST(dup2_onto_a_connection)
{
	int fd[2], other[2];
	sample_begin();
	sample_pair(fd);
	sample_pair(other);
	on_accept(fd[0], NULL, 0);
	on_accept(other[0], NULL, 0);
	rxs(fd[0], GET("/lost"));
	rxs(other[0], GET("/kept"));
	/* It fails: as before. */
	uintptr_t old = on_replace(fd[0]);
	on_replaced(other[0], fd[0], old, false);
	EQ_STR(sample_told(), "");
	/* It works. */
	old = on_replace(fd[0]);
	on_replaced(other[0], fd[0], old, true);
	EQ_STR(sample_told(), "/lost 0 !closed");
	txs(fd[0], OK2);
	EQ_STR(sample_told(), "/kept 200 resp=2");
	/* It fails, but the number was seen by somebody meanwhile. */
	old = on_replace(fd[0]);
	rxs(fd[0], GET("/x"));
	on_replaced(other[0], fd[0], old, false);
	on_close(fd[0]);
	on_close(other[0]);
	sample_told();
	sample_clean();
}

TEST(close_range_and_closefrom)
{
	int fd[2];
	sample_begin();
	sample_pair(fd);
	for (int i = 4000; i < 4300; i += 10) {
		on_accept(i, NULL, 0);
		rxs(i, GET("/a"));
	}
	on_accept(70000, NULL, 0);
	on_close_range(4010, 4280);
	EQ_INT(process.connections, 3);
	OK(fd_conn(fd_peek(4000)) && fd_conn(fd_peek(4290)));
	on_close_range(4001, ~0u);
	EQ_INT(process.connections, 1);
	on_close_range(5, 4);
	on_close_range(~0u, ~0u);
	on_close_range(0, ~0u);
	sample_told();
	sample_clean();
}

TEST(replaced_unseen)
{
	int fd[2];
	struct sockaddr_in to = {.sin_family = AF_INET};
	sample_begin();
	sample_pair(fd);
	on_accept(fd[0], NULL, 0);
	rxs(fd[0], GET("/old"));
	on_accept(fd[0], NULL, 0);
	rxs(fd[0], GET("/new"));
	EQ_STR(sample_told(), "/old 0 !closed");
	on_socket(fd[0], AF_INET, SOCK_STREAM);
	EQ_STR(sample_told(), "/new 0 !closed");
	rxs(fd[0], GET("/third"));
	OK(on_connect(fd[0], (struct sockaddr *)&to, sizeof to));
	on_connected(fd[0], 0, 0);
	EQ_STR(sample_told(), "/third 0 !closed");
	txs(fd[0], GET("/fourth"));
	rxs(fd[0], OK2);
	EQ_STR(sample_told(), "/fourth 200 resp=2");
	/* An fd in a message. */
	txs(fd[0], GET("/fifth"));
	char space[CMSG_SPACE(2 * sizeof(int))] __attribute__((aligned(8))) = {0};
	struct msghdr m = {.msg_control = space, .msg_controllen = sizeof space};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	int sent[2] = {fd[0], -1};
	*h = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof sent)};
	memcpy(CMSG_DATA(h), sent, sizeof sent);
	on_control(&m);
	EQ_STR(sample_told(), "/fifth 0 !closed");
	EQ_INT(fd_peek(fd[0]), FD_UNKNOWN);
	rxs(fd[0], GET("/sixth"));
	txs(fd[0], OK2);
	EQ_STR(sample_told(), "/sixth 200 resp=2");
	on_close(fd[0]);
	sample_clean();
}

/* ---- fork ---- */

static void in_child(void (*f)(int *), int *fd)
{
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		process_forked();
		span_forked();
		f(fd);
		_exit(0);
	}
	int st;
	OK(waitpid(pid, &st, 0) == pid);
	EQ_INT(st, 0);
}

static void child_serves(int *fd)
{
	rxs(fd[0], GET("/child"));
	txs(fd[0], OK2);
	OK(!is_opaque(fd[0]));
	on_close(fd[0]);
	EQ_INT(process.open_spans, 0);
}

static void child_of_a_request(int *fd)
{
	txs(fd[0], OK2); /* nothing that we saw the beginning of */
	OK(is_opaque(fd[0]));
	on_close(fd[1]);
	EQ_INT(process.open_spans, 0);
}

static void child_closes(int *fd)
{
	on_close_range(0, ~0u);
	EQ_INT(process.open_spans, 0);
	(void)fd;
}

static void child_under_a_lock(int *fd)
{
	rxs(fd[0], GET("/a"));
	OK(is_opaque(fd[0]));
	OK(counted(COUNT_OPAQUE_UNSEEN) > 0);
	int more[2];
	sample_pair(more);
	on_accept(more[0], NULL, 0);
	rxs(more[0], GET("/more"));
	txs(more[0], OK2);
	on_close(more[0]);
}

TEST(fork_adopts)
{
	int fd[2];
	sample_begin();
	sample_pair(fd);
	on_accept(fd[0], NULL, 0); /* mini_httpd: the child serves */
	on_accept(fd[1], NULL, 0);
	in_child(child_serves, fd);
	EQ_STR(sample_told(), "/child 200 resp=2");
	rxs(fd[0], GET("/parent"));
	in_child(child_of_a_request, fd);
	in_child(child_closes, fd);
	EQ_STR(sample_told(), "");
	txs(fd[0], OK2);
	EQ_STR(sample_told(), "/parent 200 resp=2");
	/* Another thread was inside when it forked. */
	rxs(fd[0], GET("/a"));
	struct conn *c = conn_lock(fd[0]);
	OK(c);
	in_child(child_under_a_lock, fd);
	conn_unlock(c, fd[0]);
	txs(fd[0], OK2);
	EQ_STR(sample_told(), "/more 200 resp=2; /a 200 resp=2");
	on_close(fd[0]);
	on_close(fd[1]);
	sample_own_slots *= 3; /* two children had something to tell */
	sample_clean();
}

/* A connect under way is the parent's, whatever a child closes. */
TEST(fork_while_connecting)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(0x0a000001)};
	sample_begin();
	int fd[2] = {socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), -1};
	OK(on_connect(fd[0], (struct sockaddr *)&to, sizeof to));
	on_connected(fd[0], -1, EINPROGRESS);
	in_child(child_closes, fd);
	EQ_STR(sample_told(), "");
	on_so_error(fd[0], ECONNREFUSED);
	EQ_STR(sample_told(), " 0 !ECONNREFUSED");
	on_close(fd[0]);
	sample_clean();
}

/* ---- connects ---- */

static const struct {
	const char *what;
	int r, err, so_error;
	bool bytes, close;
	const char *want;
} connects[] = {
	{"at once", 0, 0, 0, false, false, ""},
	{"refused", -1, ECONNREFUSED, 0, false, false, " 0 !ECONNREFUSED"},
	{"no route", -1, EHOSTUNREACH, 0, false, false, " 0 !EHOSTUNREACH"},
	{"later refused", -1, EINPROGRESS, ECONNREFUSED, false, false, " 0 !ECONNREFUSED"},
	{"later well", -1, EINPROGRESS, 0, true, false, ""},
	{"twice", -1, EALREADY, 0, true, false, ""},
	{"is there", -1, EISCONN, 0, true, false, ""},
	{"interrupted", -1, EINTR, 0, true, false, ""},
	{"not a socket any more", -1, EBADF, 0, false, false, ""},
};

TEST(connects_told)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(1), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	sample_begin();
	for (size_t i = 0; i < sizeof connects / sizeof *connects; i++) {
		unit_case("%s", connects[i].what);
		thread_self.good_ns = 0;
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		on_socket(fd, AF_INET, SOCK_STREAM);
		OK(on_connect(fd, (struct sockaddr *)&to, sizeof to));
		on_connected(fd, connects[i].r, connects[i].err);
		on_so_error(fd, connects[i].so_error);
		if (connects[i].bytes) {
			txs(fd, GET("/a"));
			rxs(fd, OK2);
			EQ_STR(sample_told(), "/a 200 resp=2");
		}
		EQ_STR(sample_told(), connects[i].want);
		on_close(fd);
		close(fd);
		sample_told();
		sample_clean();
	}
	/* Not ours to look at. */
	int udp = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr other = {.sa_family = AF_NETLINK};
	OK(!on_connect(udp, (struct sockaddr *)&to, sizeof to));
	OK(!on_connect(udp, NULL, 0));
	OK(!on_connect(udp, &other, sizeof other));
	OK(!on_connect(udp, &other, 1));
	on_connected(udp, -1, ECONNREFUSED);
	EQ_STR(sample_told(), "");
}

/* Given up while the SYN waits for an answer: refused by the kernel, or never answered. */
TEST(closed_while_connecting)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;
	sample_begin();
	int l = socket(AF_INET, SOCK_STREAM, 0);
	OK(bind(l, (struct sockaddr *)&a, sizeof a) == 0 && getsockname(l, (struct sockaddr *)&a, &n) == 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	on_socket(fd, AF_INET, SOCK_STREAM);
	OK(on_connect(fd, (struct sockaddr *)&a, sizeof a));
	int r = connect(fd, (struct sockaddr *)&a, sizeof a);
	on_connected(fd, r, EINPROGRESS); /* whatever it said */
	if (errno == EINPROGRESS) {
		usleep(20000);
		sample_close(fd);
		EQ_STR(sample_told(), " 0 !ECONNREFUSED");
	} else {
		sample_close(fd);
		sample_told();
	}
	/* A queue that is full answers nothing. */
	OK(listen(l, 0) == 0);
	int full[8];
	for (int i = 0; i < 8; i++) {
		full[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(full[i], (struct sockaddr *)&a, sizeof a);
	}
	usleep(20000);
	thread_self.held_ns = thread_self.good_ns = 0;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	on_socket(fd, AF_INET, SOCK_STREAM);
	OK(on_connect(fd, (struct sockaddr *)&a, sizeof a));
	connect(fd, (struct sockaddr *)&a, sizeof a);
	on_connected(fd, -1, EINPROGRESS);
	sample_close(fd);
	EQ_STR(sample_told(), " 0 !timeout");
	sample_clean();
}

/* ---- threads ---- */

static struct hammer {
	int fd[2];
	_Atomic unsigned turn;
	_Atomic bool stop;
} hammer;

static void *reader(void *arg)
{
	struct hammer *h = arg;
	for (unsigned i = 0; i < 20000; i++) {
		rxs(h->fd[0], GET("/a"));
		atomic_store(&h->turn, i + 1);
	}
	return NULL;
}

/* One thread reads, another answers: waitress. */
TEST(reader_and_writer)
{
	pthread_t t;
	sample_begin();
	sample_pair(hammer.fd);
	on_accept(hammer.fd[0], NULL, 0);
	OK(pthread_create(&t, NULL, reader, &hammer) == 0);
	static struct sample s[256];
	unsigned told = 0;
	for (unsigned i = 0; i < 20000 && !is_opaque(hammer.fd[0]); i++) {
		while (atomic_load(&hammer.turn) <= i && !is_opaque(hammer.fd[0]))
			cpu_relax();
		txs(hammer.fd[0], OK2);
		told += sample_take(s, 256);
	}
	pthread_join(t, NULL);
	told += sample_take(s, 256);
	/* The reader may run far ahead, or the lock be unavailable for too long: then all is given up, and counted. */
	if (is_opaque(hammer.fd[0]))
		OK(counted(COUNT_DROP_PIPELINE) + counted(COUNT_OPAQUE_BUSY) == 1);
	else
		EQ_INT(told, 20000);
	on_close(hammer.fd[0]);
	sample_clean();
}

static void *everything(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	static const char *const texts[] = {GET("/a"), OK2, "GET /", "x", "HTTP/1.1 200 OK\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n"};
	for (int i = 0; i < 30000; i++) {
		seed = seed * 1103515245 + 12345;
		unsigned what = seed >> 16;
		int a = 6000 + (int)(what >> 4) % 3, b = 6000 + (int)(what >> 6) % 3;
		const char *text = texts[(what >> 8) % 6];
		switch (what % 12) {
		case 0:
			on_accept(a, NULL, 0);
			break;
		case 1:
			on_close(a);
			break;
		case 2:
			if (a != b)
				on_dup(a, b);
			break;
		case 3:
			if (a != b)
				on_replaced(a, b, on_replace(b), what & 4096);
			break;
		case 4:
			on_rx(a, text, 100, 0, 0, 0);
			break;
		case 5:
		case 6: {
			struct tx t;
			struct iovec v = {(void *)(uintptr_t)text, strlen(text)};
			int err = EAGAIN;
			if (tx_is_client(a)) {
				inject_begin(&t, a, &v, 1, NULL, 0);
				inject_end(&t, a, what & 4096 ? -1 : 1, &err, 0);
			}
			break;
		}
		case 7:
		case 8:
			on_tx(a, text, (ssize_t)strlen(text), 0);
			break;
		default:
			rxs(a, text);
		}
	}
	return NULL;
}

TEST(threads_without_manners)
{
	pthread_t t[3];
	static struct sample s[64];
	sample_begin();
	config.propagators = PROP_TRACECONTEXT | PROP_BAGGAGE;
	for (uintptr_t i = 0; i < 3; i++)
		OK(pthread_create(&t[i], NULL, everything, (void *)(i + 1)) == 0);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	on_close_range(0, ~0u);
	on_accept(6000, NULL, 0); /* takes in what could not be ended at once */
	on_close(6000);
	while (sample_take(s, 64))
		;
	sample_clean();
}

/* Whoever is inside for too long costs the connection, not the time of the others, nor their memory. */
TEST(nobody_waits_for_ever)
{
	int fd[2];
	sample_begin();
	sample_pair(fd);
	on_accept(fd[0], NULL, 0);
	rxs(fd[0], GET("/a"));
	struct conn *c = conn_lock(fd[0]);
	c->lock ^= 1; /* another thread's */
	uint64_t begin = mono_ns();
	txs(fd[0], OK2);
	uint64_t first = mono_ns();
	for (int i = 0; i < 100; i++)
		txs(fd[0], OK2);
	uint64_t rest = mono_ns();
	OK(first - begin < 50000000 && rest - first < 100 * 50000000ull);
	OK(c->poison);
	on_close(fd[0]); /* its last entry; somebody is inside still */
	EQ_INT(process.connections, 1);
	conn_unlock(c, fd[0]);
	EQ_INT(counted(COUNT_OPAQUE_BUSY), 1);
	on_accept(fd[0], NULL, 0);
	EQ_INT(process.connections, 1);
	on_close(fd[0]);
	EQ_STR(sample_told(), "");
	sample_clean();
	/* A signal handler that closes what its own thread is busy with. */
	on_accept(fd[0], NULL, 0);
	rxs(fd[0], GET("/b"));
	c = conn_lock(fd[0]);
	on_close(fd[0]);
	conn_unlock(c, fd[0]);
	on_accept(fd[0], NULL, 0);
	on_close(fd[0]);
	EQ_STR(sample_told(), "/b 0 !closed");
	sample_clean();
}

TEST(told_once_at_exit)
{
	int fd[2];
	sample_begin();
	sample_pair(fd);
	on_accept(fd[0], NULL, 0);
	rxs(fd[0], GET("/a"));
	span_exit();
	txs(fd[0], OK2);
	on_close(fd[0]);
	EQ_STR(sample_told(), "/a 0 !process_exit");
	EQ_INT(sample_open_slots(), sample_own_slots);
}
