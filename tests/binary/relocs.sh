#!/bin/sh
# How the two objects are loaded: TLS without calls or allocation, no writable code, all symbols bound at once.
cd "$(dirname "$0")/../.." || exit 1
build=${REMORA_BUILD:-build}
status=0
check() {
	if [ -z "$2" ]; then echo "ok $1"; else echo "not ok $1: $(echo "$2" | tr '\n' ' ' | cut -c1-300)"; status=1; fi
}
for name in libremora libremora-export; do
	so=$build/$name.so
	# __tls_get_addr allocates at a thread's first access.
	[ $name = libremora-export ] ||
		check ${name}_tls_is_static "$(nm -D "$so" | grep -w __tls_get_addr; readelf -Wr "$so" | grep -E 'DTPMOD|TLSDESC')"
	check ${name}_no_text_relocations "$(readelf -d "$so" | grep TEXTREL)"
	check ${name}_no_executable_stack "$(readelf -Wl "$so" | grep GNU_STACK | grep RWE)"
	check ${name}_is_bound_at_once "$(readelf -d "$so" | grep -qE 'BIND_NOW|NOW' || echo lazy binding)"
	check ${name}_stays_loaded "$(readelf -d "$so" | grep -q NODELETE || echo no NODELETE)"
	check ${name}_has_relro "$(readelf -Wl "$so" | grep -q GNU_RELRO || echo no RELRO)"
done
exit $status
