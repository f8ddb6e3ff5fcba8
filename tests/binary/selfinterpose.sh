#!/bin/sh
# Code on the host's threads never calls what we hook (only hooks/ may, through `real`), and never allocates, locks,
# formats or ends the process.
cd "$(dirname "$0")/../.." || exit 1
build=${REMORA_BUILD:-build}
status=0 files=0

forbidden='malloc calloc realloc reallocarray free posix_memalign aligned_alloc memalign strdup strndup
	printf fprintf vprintf vfprintf dprintf vdprintf sprintf snprintf vsprintf vsnprintf asprintf vasprintf puts putchar
	fputs fputc fwrite fread fopen fdopen fclose fflush perror setvbuf
	pthread_mutex_lock pthread_rwlock_rdlock pthread_rwlock_wrlock pthread_cond_wait sem_wait
	getenv secure_getenv setenv putenv exit _exit _Exit quick_exit abort __assert_fail __stack_chk_fail_local
	sleep usleep nanosleep system popen syslog strerror strsignal localtime localtime_r gmtime setlocale
	getaddrinfo gethostbyname'
# What an object may use all the same: OBJECT NAME, one per line. fflush: at the program's exit, instead of libc's own.
allowed='
shim/log/stdio.c fflush
'
grep -q REMORA_DEBUG "$build/gen/flags" && forbidden=$(echo "$forbidden" | sed 's/__assert_fail//; s/abort//')

for o in $(find "$build/obj/shim" -name '*.o' | LC_ALL=C sort); do
	src=${o#"$build/obj/shim/"} src=${src%.o}
	[ -e "$src" ] || continue		# left over from a deleted file
	used=$(nm -u "$o" | awk '{ print $2 }')
	bad=$(for n in $used; do
		case " $(echo $forbidden) " in *" $n "*) word=1 ;; *) word= ;; esac
		case $src in shim/hooks/*) ;; *) ! grep -qx "$n" "$build/gen/exports" || word=1 ;; esac
		[ -z "$word" ] || echo "$allowed" | grep -qx "$src $n" || echo "$n"
	done)
	files=$((files + 1))
	[ -z "$bad" ] || { echo "not ok $src: calls $(echo $bad)"; status=1; }
done
[ $status -ne 0 ] || echo "ok calls_nothing_forbidden: $files objects"
exit $status
