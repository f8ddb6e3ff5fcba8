/* Black boxes in a directory of the test's own. */
#ifndef REMORA_ARENA_BOX_H
#define REMORA_ARENA_BOX_H

#include "arena_sample.h"
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define MB (1 << 20)

SAMPLE char dir[64];

/* A fresh directory of its own. */
SAMPLE const char *fresh(void)
{
	snprintf(dir, sizeof dir, "/dev/shm/remora-test-%d", getpid());
	runtime_dir(dir, NULL, dir, sizeof dir);
	OK(dir[0]);
	return dir;
}

SAMPLE int count_files(const char *ending)
{
	DIR *d = opendir(dir);
	int n = 0;
	OK(d != NULL);
	for (struct dirent *e; (e = readdir(d));) {
		size_t k = strlen(e->d_name), m = strlen(ending);
		n += k >= m && strcmp(e->d_name + k - m, ending) == 0 && e->d_name[0] != '.';
	}
	closedir(d);
	return n;
}

SAMPLE const char *only_file(void)
{
	static char path[400];
	DIR *d = opendir(dir);
	path[0] = 0;
	for (struct dirent *e; (e = readdir(d));)
		if (e->d_name[0] != '.')
			snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
	closedir(d);
	return path;
}

SAMPLE void clean(void)
{
	char path[400];
	DIR *d = opendir(dir);
	for (struct dirent *e; d && (e = readdir(d));) {
		snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
		unlink(path);
	}
	if (d)
		closedir(d);
	rmdir(dir);
}

SAMPLE struct arena_ident self(uint64_t hash)
{
	uint64_t start = proc_start_time(getpid());
	return (struct arena_ident){getpid(), start, getpid(), start, hash, 2 * MB, dir, false};
}

SAMPLE void reap(pid_t pid)
{
	int st;
	OK(waitpid(pid, &st, 0) == pid);
	OK(WIFEXITED(st) && WEXITSTATUS(st) == 0);
}

SAMPLE bool same(const struct arena *a, const struct arena *b)
{
	return arena_local(a)->ino == arena_local(b)->ino && arena_local(a)->dev == arena_local(b)->dev;
}

SAMPLE int open_fds(void)
{
	int n = 0;
	for (int i = 0; i < 1024; i++)
		n += fcntl(i, F_GETFD) >= 0;
	return n;
}

/* A tmpfs of this size at dir, seen by this process alone. */
SAMPLE bool small_tmpfs(const char *options)
{
	fresh();
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", dir, "tmpfs", 0, options) != 0 || chmod(dir, 0700) != 0) {
		printf("# no mount: %s\n", strerror(errno));
		clean();
		return false;
	}
	return true;
}

SAMPLE void unmount(void)
{
	umount2(dir, MNT_DETACH);
	rmdir(dir);
}

#endif
