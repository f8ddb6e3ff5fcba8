#!/bin/sh
# The shim links against glibc 2.17 with nothing but libc.
cd "$(dirname "$0")/../.." || exit 1
scripts/check-glibc217 2>&1
case $? in
0) echo 'ok links_against_glibc_2_17' ;;
3) echo 'skip links_against_glibc_2_17: needs python package ziglang' ;;
*) echo 'not ok links_against_glibc_2_17: see above'; exit 1 ;;
esac
