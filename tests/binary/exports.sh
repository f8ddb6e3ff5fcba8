#!/bin/sh
# What the two objects export, need and link against. `local: *` is easily lost; a library too many is easily gained.
cd "$(dirname "$0")/../.." || exit 1
build=${REMORA_BUILD:-build}
shim=$build/libremora.so exporter=$build/libremora-export.so
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
status=0

# check NAME TEXT: passes if TEXT is empty, else TEXT is the reason
check() {
	if [ -z "$2" ]; then echo "ok $1"; else echo "not ok $1: $(echo "$2" | tr '\n' ' ')"; status=1; fi
}
defined() { nm -D --defined-only "$1" | awk '{ sub(/@.*/, "", $3); print $3 }' | LC_ALL=C sort -u; }
needed() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -vx 'libc\.so\.6'; }
# Strong references only: a weak one may be absent, and the code looks.
newer_than() {	# newer_than 2.17 FILE
	nm -D --undefined-only "$2" | awk -v max="$1" '
		$1 == "U" && match($2, /@GLIBC_[0-9.]+/) {
			v = substr($2, RSTART + 7, RLENGTH - 7); split(v, a, "."); split(max, b, ".")
			if (a[1] > b[1] || (a[1] == b[1] && a[2] > b[2])) print $2
		}'
}

LC_ALL=C sort -u "$build/gen/exports" >"$tmp/table"
defined "$shim" >"$tmp/exports"
check exports_are_the_hook_table "$(diff "$tmp/table" "$tmp/exports" | grep '^[<>]')"
check shim_needs_libc_only "$(needed "$shim")"
check shim_symbols_not_above_glibc_2_17 "$(newer_than 2.17 "$shim")"

printf "%s\n" remora_export_main remora_export_tool >"$tmp/table"
defined "$exporter" >"$tmp/exports"
check exporter_exports_two_functions "$(diff "$tmp/table" "$tmp/exports" | grep '^[<>]')"
check exporter_needs_libc_only "$(needed "$exporter")"
exit $status
