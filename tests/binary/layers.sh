#!/bin/sh
# Includes only go down: the folder tells which thread a file runs on. The table is the rule.
cd "$(dirname "$0")/../.." || exit 1
exec awk '
BEGIN {
	# folder       what its files may include, besides themselves
	may["shim/base"]  = ""
	may["shim/proto"] = "shim/base"
	may["shim/span"]  = "shim/proto shim/base shim/config.h shim/crash/record.h"
	may["shim/log"]   = "shim/span shim/base shim/config.h shim/conn/fdtab.h shim/conn/observe.h shim/hooks/guard.h"
	may["shim/conn"]  = "shim/log/text.h shim/proto shim/span shim/base shim/config.h"
	may["shim/hooks"] = "shim/conn shim/proto shim/span shim/base shim/config.h shim/export_thread.h shim/crash/crash.h"
	may["shim/crash"] = "shim/span shim/base shim/config.h"
	# lifecycle and the exporter thread tie all together
	may["shim"]       = "shim/hooks shim/log shim/conn shim/proto shim/span shim/crash shim/base exporters/abi.h"
	may["exporters"]  = "shim/span shim/proto shim/base shim/crash/record.h"

	# Libraries, and the only files that know them.
	only["curl/"]      = "^exporters/http[_a-z]*[.][ch]$"
	only["cjson/"]     = "^exporters/"
	only["openssl/"]   = "^exporters/"
	only["ares"]       = "^exporters/"
	only["zlib"]       = "^exporters/"
	only["libunwind"]  = "^exporters/crash/unwind[.]c$"
	only["elfutils/"]  = "^exporters/crash/lines[_a-z]*[.][ch]$"
	only["libiberty/"] = "^exporters/crash/demangle[.]c$"

	cmd = "find shim exporters -name \"*.[chS]\" -o -name \"*.def\" | LC_ALL=C sort"
	while ((cmd | getline file) > 0) { files[++n] = file; exists[file] = 1 }
	for (i = 1; i <= n; i++) bad += check_file(files[i])
	if (!bad) print "ok layers: " n " files"
	exit bad > 0
}
function folder(path,   p) {
	if (path ~ /^exporters\//) return "exporters"
	p = path; sub(/\/[^\/]*$/, "", p)
	return match(p, /^shim\/[^\/]+/) ? substr(p, 1, RLENGTH) : p
}
function resolve(file, name,   dir) {
	dir = file; sub(/[^\/]*$/, "", dir)
	if ((dir name) in exists) return dir name
	if (("shim/" name) in exists) return "shim/" name
	if (name in exists) return name
	return ""
}
function check_file(file,   line, name, to, from, why, words, k, w, ok, lib) {
	why = ""; from = folder(file)
	if (!(from in may)) why = why " [folder " from " is not in the table]"
	while ((getline line < file) > 0) {
		if (line !~ /^[ \t]*#[ \t]*include[ \t]*[<"]/) continue
		name = line; sub(/^[^<"]*[<"]/, "", name); sub(/[>"].*/, "", name)
		for (lib in only) if (index(name, lib) == 1 && file !~ only[lib]) why = why " [<" name ">]"
		if (line !~ /"/ || name == "version.h") continue		# version.h is generated
		to = resolve(file, name)
		if (to == "") { why = why " [\"" name "\" is not found]"; continue }
		if (folder(to) == from) continue
		ok = 0; k = split(may[from], words, " ")
		for (w = 1; w <= k; w++) if (words[w] == folder(to) || words[w] == to) ok = 1
		if (!ok) why = why " [" to "]"
	}
	close(file)
	if (why == "") return 0
	print "not ok " file ": must not include" why
	return 1
}'
