/* Which arena is ours: the root's, that of an ancestor, or a new one. Raw system calls only. */
#include "span/arena_priv.h"
#include "base/sys.h"

#define WALK_MAX 64
#define TABLES_MAX 32 /* arenas whose tables are looked through */

struct search {
	const struct arena_ident *who;
	const struct arena_self *me;
	struct arena *found;
	int n, tables;
	struct {
		int pid;
		uint64_t start;
	} ancestor[WALK_MAX]; /* nearest first */
};

static bool table_has_ancestor(const struct arena *a, const struct search *s)
{
	for (uint32_t i = 0; i < ARENA_PROCS; i++) {
		const struct arena_proc *p = &a->procs[i];
		if (atomic_load_explicit(&p->used, memory_order_acquire) != PROC_VALID || p->pid_ns != s->me->pid_ns)
			continue;
		for (int k = 0; k < s->n; k++)
			if (p->pid == s->ancestor[k].pid && p->start == s->ancestor[k].start)
				return true;
	}
	return false;
}

/* By name. With pid it must be the arena of that root, else one that an ancestor uses. */
static struct arena *join(struct search *s, int dirfd, const char *name, int pid, uint64_t start)
{
	struct arena *a = arena_open_file(dirfd, name, s->me);
	if (!a)
		return NULL;
	if (a->hash == s->who->hash && a->pid_ns == s->me->pid_ns && !atomic_load(&a->dead) &&
	    (pid ? a->root_pid == pid && a->root_start == start : table_has_ancestor(a, s))) {
		/* Be in the table first: who takes it for an orphan marks it dead, and looks at the table after that. */
		proc_table_reserve(a, s->who->pid, s->who->start);
		if (!atomic_load(&a->dead))
			return a;
	}
	arena_unmap(a);
	return NULL;
}

static struct arena *join_root(struct search *s, int dirfd, int pid, uint64_t start)
{
	char name[ARENA_NAME_MAX];
	if (!start)
		return NULL;
	arena_name(name, pid, start, s->who->hash, s->me->pid_ns);
	return join(s, dirfd, name, pid, start);
}

/* Does the name end as that of an arena with this hash does? */
static bool name_fits(const char *name, uint64_t hash, uint64_t pid_ns)
{
	char own[ARENA_NAME_MAX];
	arena_name(own, 0, 0, hash, pid_ns);
	size_t n = strlen(name), end = strlen(own) - strlen("0-0");
	return n >= end && strcmp(name + n - end, own + strlen("0-0")) == 0;
}

static bool try_table(void *ctx, int dirfd, const char *name)
{
	struct search *s = ctx;
	if (!name_fits(name, s->who->hash, s->me->pid_ns))
		return true;
	s->found = join(s, dirfd, name, 0, 0);
	return !s->found && ++s->tables < TABLES_MAX;
}

static struct arena *join_ancestor(struct search *s, int dirfd)
{
	uint64_t start;
	int pid = proc_parent(s->who->pid, &start);
	while (s->n < WALK_MAX && pid > 1) {
		int parent = proc_parent(pid, &start);
		struct arena *a = join_root(s, dirfd, pid, start);
		if (a)
			return a;
		s->ancestor[s->n].pid = pid;
		s->ancestor[s->n++].start = start;
		pid = parent;
	}
	/* A daemon's root has ended, and is no ancestor any more. */
	if (s->n)
		dir_each(dirfd, try_table, s);
	return s->found;
}

struct arena *arena_join(const struct arena_ident *who)
{
	struct arena_self me;
	struct search s = {.who = who, .me = &me};
	arena_self(&me);
	int dirfd = who->dir && who->dir[0] && who->root_start && me.pid_ns ? dir_open(who->dir) : -1;
	if (dirfd < 0)
		return NULL;
	struct arena *a = join_root(&s, dirfd, who->root_pid, who->root_start);
	if (!a && who->pid == who->root_pid)
		a = join_ancestor(&s, dirfd);
	sys_close(dirfd);
	return a;
}

struct arena *arena_attach(const struct arena_ident *who, bool *black_box)
{
	struct arena_self me;
	struct search s = {.who = who, .me = &me};
	struct arena *a = NULL;
	arena_self(&me);
	int dirfd = who->dir && who->dir[0] && who->root_start && me.pid_ns ? dir_open(who->dir) : -1;
	if (dirfd >= 0) {
		char name[ARENA_NAME_MAX];
		arena_name(name, who->root_pid, who->root_start, who->hash, me.pid_ns);
		bool exists = true;
		for (int i = 0; i < 3 && !a && exists; i++) { /* a sibling may make it at the same time */
			a = join_root(&s, dirfd, who->root_pid, who->root_start);
			if (!a && i == 0 && who->pid == who->root_pid)
				a = join_ancestor(&s, dirfd);
			exists = false;
			if (!a)
				a = arena_make_file(dirfd, name, who, &me, &exists);
		}
		sys_close(dirfd);
	}
	*black_box = a != NULL;
	return a ? a : arena_make_anonymous(who, &me);
}

static bool has_process(const struct arena *a, int pid, uint64_t start, uint64_t pid_ns)
{
	for (uint32_t i = 0; i < ARENA_PROCS; i++) {
		const struct arena_proc *p = &a->procs[i];
		if (atomic_load_explicit(&p->used, memory_order_acquire) == PROC_VALID && p->pid_ns == pid_ns && p->pid == pid && p->start == start)
			return true;
	}
	return false;
}

static bool try_process(void *ctx, int dirfd, const char *name)
{
	struct search *s = ctx;
	struct arena *a = name_fits(name, s->who->hash, s->me->pid_ns) ? arena_open_file(dirfd, name, s->me) : NULL;
	if (!a)
		return true;
	if (a->hash == s->who->hash && has_process(a, s->who->pid, s->who->start, s->me->pid_ns))
		s->found = a;
	else
		arena_unmap(a);
	return !s->found && ++s->tables < TABLES_MAX;
}

struct arena *arena_of_process(const char *dir, int pid, uint64_t start, uint64_t hash)
{
	struct arena_ident who = {.pid = pid, .start = start, .hash = hash};
	struct arena_self me;
	struct search s = {.who = &who, .me = &me};
	arena_self(&me);
	int dirfd = dir && dir[0] && start && me.pid_ns ? dir_open(dir) : -1;
	if (dirfd < 0)
		return NULL;
	dir_each(dirfd, try_process, &s);
	sys_close(dirfd);
	return s.found;
}

bool arena_has_process(const struct arena *a, int pid, uint64_t start)
{
	return has_process(a, pid, start, pid_ns_self());
}
