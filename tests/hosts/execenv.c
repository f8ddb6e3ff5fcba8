/*
 * execenv KIND FILE: execs itself with unusual argv and envp; the new image writes its argv and environment to FILE.
 *	execve execv execvp execvpe execl execle execlp execveat fexecve spawn spawnp vfork null_env empty_env no_args huge open
 * `open` execs a child from inside an open request.
 */
#include "host.h"
#include <spawn.h>

extern char **environ;

static void show(const char *file, int argc, char **argv)
{
	FILE *f = fopen(file, "w");
	CHECK(f);
	fprintf(f, "argc %d\n", argc);
	for (int i = 0; i < argc; i++)
		fprintf(f, "arg %zu %.60s\n", strlen(argv[i]), argv[i]);
	for (char **e = environ; e && *e; e++)
		fprintf(f, "env %zu %.200s\n", strlen(*e), *e);
	fclose(f);
}

int main(int argc, char **argv)
{
	/* the new image is known by its arguments, or by having none */
	if (argc <= 1) {
		show(argc == 1 && argv[0][0] == '/' ? argv[0] : "noargs", argc, argv);
		return 5;
	}
	if (is(argv[1], "show")) {
		show(argv[2], argc, argv);
		return 5;
	}
	alarm(30);
	const char *kind = argv[1], *file = argv[2], *me = "/proc/self/exe";
	char self[4096] = "", *args[] = {"a zero", "show", (char *)file, "three", NULL}, *env[] = {"ONLY=this", "B=2", NULL};
	static char *many[2003];
	static char big[100001];
	MUST(readlink(me, self, sizeof self - 1));
	int p[2], fd, opens = is(kind, "open");
	tcp_pair(p);
	exchange(p, "/first");
	if (opens) {
		char b[600];
		request(p[0], "/open");
		read_head(p[1], b, sizeof b);
	}
	setenv("MINE", "yes", 1);
	fd = (int)MUST(open(self, O_RDONLY | O_CLOEXEC));
	pid_t pid = is(kind, "vfork") ? vfork() : is(kind, "spawn") || is(kind, "spawnp") ? 0
	                                                                                  : fork();
	if (is(kind, "spawn"))
		CHECK(posix_spawn(&pid, self, NULL, NULL, args, env) == 0);
	else if (is(kind, "spawnp"))
		CHECK(posix_spawnp(&pid, self, NULL, NULL, args, environ) == 0);
	else if (pid == 0) {
		if (is(kind, "execve") || is(kind, "vfork"))
			execve(self, args, env);
		else if (is(kind, "execv") || opens)
			execv(self, args);
		else if (is(kind, "execvp"))
			execvp(self, args);
		else if (is(kind, "execvpe"))
			execvpe(self, args, env);
		else if (is(kind, "execl"))
			execl(self, "l", "show", file, "5", "6", "7", "8", "9", "10", "11", "12", (char *)0);
		else if (is(kind, "execle"))
			execle(self, "l", "show", file, "5", "6", "7", "8", "9", (char *)0, env);
		else if (is(kind, "execlp"))
			execlp(self, "l", "show", file, "5", "6", "7", "8", "9", (char *)0);
		else if (is(kind, "execveat"))
			execveat(AT_FDCWD, self, args, env, 0);
		else if (is(kind, "fexecve"))
			fexecve(fd, args, env);
		else if (is(kind, "null_env"))
			execve(self, args, NULL);
		else if (is(kind, "empty_env"))
			execve(self, args, &(char *){NULL});
		else if (is(kind, "no_args"))
			execve(self, (char *[]){(char *)file, NULL}, env);
		else if (is(kind, "null_args"))
			execve(self, NULL, env);
		else if (is(kind, "huge")) {
			memset(big, 'v', sizeof big - 1);
			big[0] = 'B', big[1] = '=';
			for (int i = 0; i < 2000; i++) {
				many[i] = malloc(40);
				sprintf(many[i], "VAR_%d=%d", i, i);
			}
			many[2000] = big;
			many[2001] = "no equals sign";
			execve(self, args, many);
		}
		_exit(98);
	}
	printf("%s: child %d\n", kind, WEXITSTATUS(reap(pid)));
	if (opens) {
		puts_fd(p[1], ANSWER);
		read_answer(p[0]);
	}
	exchange(p, "/last");
	return 0;
}
