/*
 * An arena in which somebody hostile has written. The input is laid over a good one, piece by piece {u16 where in
 * words, u8 length, bytes}, so that most of it stays plausible. Whatever it says, reading, draining, sweeping, producing
 * and giving back stay inside the mapping and end: as memory shared with other processes, and as a file found at the start.
 */
#include "fuzz.h"
#include "span/arena.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BYTES (64 * 1024)
#define NOBODY 4194304 /* beyond any pid */

static char dir[64], path[128];
static char image[BYTES], scratch[REC_VAR_MAX], blob[REC_VAR_MAX];
static struct arena *shared;

/* Every state there is. */
static void fill(struct arena *a)
{
	uint8_t instance[16] = {1};
	uint32_t out[3], p = arena_proc_add(a, NOBODY, 5, instance, "exe=/bin/x\0args=y", 18);
	for (int i = 0; i < 14; i++) {
		struct span_rec *r = arena_open(a, NOBODY + i % 2);
		HOLDS(r);
		r->proc = (uint16_t)(i % 3 ? p : ARENA_PROCS);
		r->kind = (uint8_t)(1 + i % 3);
		r->start_ns = 1;
		rec_put(a, r, REC_TARGET, SLICE("/x"));
		rec_put(a, r, REC_HOST, (struct slice){scratch, i % 4 == 3 ? 1200 : 10});
		if (i == 2)
			arena_discard(a, r);
		else if (i < 8)
			arena_commit(a, r);
		else if (i < 10)
			arena_hold(a, r);
	}
	HOLDS(arena_drain(a, out, 3, false, false) == 3);
}

/* The image, and the name of its file, come from a process that ends. */
static void start(void)
{
	snprintf(dir, sizeof dir, "/dev/shm/remora-fuzz-%d", getpid());
	runtime_dir(dir, NULL, dir, sizeof dir);
	HOLDS(dir[0]);
	char *from = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid = fork();
	if (pid == 0) {
		uint64_t since = proc_start_time(getpid());
		struct arena_ident me = {getpid(), since, getpid(), since, 7, BYTES, dir, false};
		bool box;
		struct arena *a = arena_attach(&me, &box);
		HOLDS(a && box && arena_size(a) == BYTES);
		fill(a);
		FILE *ls = popen("ls $FUZZ_DIR", "r");
		HOLDS(ls && fscanf(ls, "%100s", from) == 1);
		_exit(0);
	}
	HOLDS(waitpid(pid, NULL, 0) == pid);
	snprintf(path, sizeof path, "%s/%.60s", dir, from);
	int fd = open(path, O_RDONLY);
	HOLDS(fd >= 0 && read(fd, image, BYTES) == BYTES);
	close(fd);
	unlink(path);
	rmdir(dir);
	/* Twice as large, and the upper half out of bounds. */
	shared = arena_new_anonymous(2 * BYTES, 7);
	HOLDS(shared && mprotect((char *)shared + BYTES, BYTES, PROT_NONE) == 0);
	struct arena_local *l = (struct arena_local *)shared - 1;
	l->bytes = BYTES;
	l->max_slots = (BYTES - ARENA_HEADER) / SLOT_SIZE;
}

static void read_all(const struct arena *a, const uint32_t *out, uint32_t n)
{
	static union {
		struct span_rec rec;
		char slot[SLOT_SIZE];
	} copy;
	struct rec_view v;
	for (uint32_t i = 0; i < arena_slots(a) && i < 64; i++)
		if (rec_view_open(a, i, &copy.rec, &v))
			for (int t = 0; t < REC_TAG_MAX; t++)
				HOLDS(!rec_str(&v, t).n || (rec_str(&v, t).p >= copy.rec.var && rec_str(&v, t).p + rec_str(&v, t).n <= copy.slot + SLOT_SIZE));
	for (uint32_t i = 0; i < n; i++) {
		HOLDS(out[i] < arena_slots(a));
		if (!rec_view(a, out[i], scratch, &v))
			continue;
		for (int t = 0; t < REC_TAG_MAX; t++)
			for (uint32_t k = 0; k < rec_str(&v, t).n; k++)
				blob[0] = (char)(blob[0] + rec_str(&v, t).p[k]);
		if (v.proc)
			HOLDS(arena_proc_blob(a, v.proc, blob, sizeof blob) <= sizeof blob - 2);
	}
}

static void produce(struct arena *a, uint32_t round)
{
	struct span_rec *r = arena_open(a, 1);
	if (!r)
		return;
	HOLDS(arena_index(a, r) < arena_slots(a));
	r->kind = SPAN_CLIENT;
	rec_put(a, r, REC_TARGET, (struct slice){image, round * 37 % 3000});
	rec_put(a, r, REC_HOST, (struct slice){image, round * 11 % 300});
	if (round % 7 == 0)
		rec_append(a, r, (struct slice){image, round * 53 % 2000});
	if (round % 5 == 0)
		arena_discard(a, r);
	else if (round % 5 == 1)
		arena_hold(a, r);
	else
		arena_commit(a, r);
}

static void exercise(struct arena *a)
{
	static const uint8_t instance[16] = {9};
	uint32_t out[5], n = 1;
	bool takeover;
	HOLDS(arena_size(a) == BYTES && arena_slots(a) <= BYTES / SLOT_SIZE);
	arena_lease_alive(a);
	arena_lease_try(a, &takeover);
	for (uint32_t round = 0; round < 60; round++) {
		n = round % 2 ? arena_sweep(a, out, 5, round % 4 == 1) : arena_drain(a, out, 5, true, round % 8 == 0);
		HOLDS(n <= 5);
		read_all(a, out, n);
		if (round % 3)
			arena_free(a, out, n);
		produce(a, round);
	}
	arena_proc_add(a, getpid(), 3, instance, image, 2000);
	arena_unhold(a, 3, instance);
	arena_next_held(a);
	arena_sleep(a, true, 1, 1);
	arena_lease_release(a);
	/* With nobody producing any more it ends. */
	for (int i = 0; i < 2000 && n; i++) {
		n = arena_drain(a, out, 5, true, true);
		read_all(a, out, n);
		arena_free(a, out, n);
	}
	HOLDS(n == 0);
}

static void lay(char *over, const uint8_t *data, size_t size)
{
	memcpy(over, image, BYTES);
	for (size_t at = 0; at + 3 <= size;) {
		size_t to = (size_t)(data[at] | data[at + 1] << 8) * 4 % BYTES, len = data[at + 2];
		at += 3;
		if (len > size - at)
			len = size - at;
		if (len > BYTES - to)
			len = BYTES - to;
		memcpy(over + to, data + at, len);
		at += len;
	}
}

static void found(void *ctx, struct arena *a)
{
	(void)ctx;
	exercise(a);
	arena_orphan_done(a, dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char changed[BYTES];
	if (size > 4096)
		return 0;
	if (!shared) {
		snprintf(path, sizeof path, "/dev/shm/remora-fuzz-%d", getpid());
		setenv("FUZZ_DIR", path, 1);
		start();
	}
	lay((char *)shared, data, size);
	exercise(shared);

	if (size && data[size - 1] % 8) /* the way over a file takes ten times as long */
		return 0;
	HOLDS(mkdir(dir, 0700) == 0);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	lay(changed, data, size);
	HOLDS(fd >= 0 && write(fd, changed, BYTES) == BYTES);
	close(fd);
	arena_orphans(dir, NULL, 3, found, NULL, NULL);
	unlink(path);
	rmdir(dir);
	return 0;
}
