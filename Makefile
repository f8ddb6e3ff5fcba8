# make             the three artifacts: build/libremora.so, build/libremora-export.so, build/remora
# make test        everything that CI runs (.ci/run); also: make unit, make e2e
# make demo check fuzz bench gdb-frames cloudwatch-proof install uninstall clean distclean
# make dist        build/dist/remora-VERSION-x86_64.tar.gz, for any glibc from 2.17 on (7 minutes the first time)
# make dist-test   and all end-to-end tests with that, in an old Debian too; make reference: the reference stack, no docker
#
# O=DIR            build somewhere else             CC=clang     the other compiler
# DEBUG=1          -O0 and live asserts             V=1          show the commands
# SAN=thread       another sanitizer for unit tests and fuzz replays (default: address,undefined)
# PREFIX= DESTDIR= for install                      FUZZ_SECONDS=N per fuzzer
#
# New .c files are found by themselves. Lists that somebody may want to extend stand under "Sources".

O ?= build
V ?= 0
PREFIX ?= /usr
FUZZ_SECONDS ?= 60
SAN ?= address,undefined
# make has a default CC, so ?= would never take effect.
ifeq ($(origin CC),default)
CC = gcc
endif
ifeq ($(CXX),g++)
CXX = $(if $(findstring clang,$(CC)),clang++,g++)
endif
Q := $(if $(filter 0,$(V)),@)
# DIST=1 is for `make dist` alone: zig for glibc 2.17, all libraries from source.
DIST =
ifneq ($(DIST),)
CC := scripts/dist-cc
endif
LD = $(if $(DIST),scripts/dist-ld,$(CC))
say = @echo "  $(1)	$(patsubst $(O)/%,%,$@)"

MAKEFLAGS += --no-builtin-rules
# As many jobs as cores; a -j on the command line wins.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif
.SUFFIXES:
.DELETE_ON_ERROR:
.PHONY: all test unit e2e demo check check-compat fuzz bench install uninstall clean distclean setup tests-build FORCE \
	dist dist-test reference cloudwatch-proof

all: artifacts
.PHONY: artifacts

# ---------------------------------------------------------------- Sources

find = $(sort $(shell find $(1) $(2) 2>/dev/null))

SHIM_SRC := $(call find,shim,-name '*.c' -o -name '*.S')
EXPORT_OWN_SRC := $(call find,exporters,-name '*.c' -not -path 'exporters/cli/*')
CLI_OWN_SRC := $(call find,exporters/cli,-name '*.c')

# Pure shim code that is compiled once more into the exporter, and into the launcher.
EXPORT_SHIM_SRC := $(wildcard shim/proto/*.c shim/span/arena*.c shim/span/record.c)
CLI_SHIM_SRC :=

# Shim code that can run without being preloaded. The rest is reached through e2e tests.
UNIT_SHIM_SRC := $(filter-out shim/hooks/% shim/lifecycle.c,$(SHIM_SRC))
# Unit tests that also run under ThreadSanitizer: tests/unit/NAME.c
TSAN_UNIT := test_arena test_record test_conn_fd test_context test_pool test_text_tail

UNIT_SRC := $(wildcard tests/unit/test_*.c)
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
HOST_SRC := $(wildcard tests/hosts/*.c tests/hosts/*.cc)

# ---------------------------------------------------------------- Flags

# zig's clang is newer than those that `make check` asks, with warnings of its own.
WARN := $(if $(DIST),-w,-Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes)
OPT := $(if $(DEBUG),-O0 -g3 -DREMORA_DEBUG,-O2 -g)
BASE := -std=gnu17 -D_GNU_SOURCE $(WARN) -I. -Ishim -I$(O)/gen -ffunction-sections -fdata-sections
DEPS := build/$(if $(DIST),dist-)deps

# _FORTIFY_SOURCE would bring symbols newer than glibc 2.17 and functions that abort.
SHARED := $(OPT) -fPIC -fvisibility=hidden -U_FORTIFY_SOURCE
SHIM_CFLAGS := $(BASE) $(SHARED) -ftls-model=initial-exec -fno-plt
EXPORT_CFLAGS := $(BASE) $(SHARED) -ftls-model=initial-exec -isystem $(DEPS)/include
CLI_CFLAGS := $(BASE) $(OPT) -fPIE
HOST_CFLAGS := -O1 -g -pthread

LINK := -Wl,--no-undefined -Wl,-z,now -Wl,-z,relro -Wl,-z,nodelete -Wl,-z,noexecstack -Wl,--gc-sections
SHIM_LDFLAGS := -shared -static-libgcc $(LINK) -Wl,-soname,libremora.so -Wl,-z,initfirst
EXPORT_LDFLAGS := -shared -static-libgcc $(LINK) -Wl,-soname,libremora-export.so -Wl,-Bsymbolic -Wl,--exclude-libs,ALL

# Everything static; what is listed here must be PIC.
DEPS_LIBS := -L$(DEPS)/lib -Wl,--start-group $(DEPS)/lib/libcurl.a $(DEPS)/lib/libcjson.a \
	$(DEPS)/lib/libunwind-x86_64.a $(DEPS)/lib/libdw.a $(DEPS)/lib/libelf.a $(DEPS)/lib/libeu.a -l:libiberty.a \
	-l:libcares.a -l:libssl.a -l:libcrypto.a -l:libz.a -Wl,--end-group

san_flags = -O1 -g -fno-omit-frame-pointer -fsanitize=$(1) -fno-sanitize-recover=all -DREMORA_DEBUG
comma := ,
flavour = $(subst $(comma),-,$(1))

# ---------------------------------------------------------------- Setup

# Not one of the objects is out of date because this ran: always "order-only" (behind a bar).
setup:
	@scripts/setup $(if $(DIST),dist,build)

# Rewritten only when they change, so what depends on them is rebuilt then and only then.
update = if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(O)/gen/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(SHIM_CFLAGS) $(EXPORT_CFLAGS) $(SHIM_LDFLAGS) $(EXPORT_LDFLAGS) $(EXPORT_SHIM_SRC) $(CLI_SHIM_SRC)' \
		'$(DEPS_LIBS) $(UNIT_SHIM_SRC) $(call san_flags,$(SAN)) $(HOST_CFLAGS)' >$@.new
	@$(update)

$(O)/gen/version.h: FORCE
	@mkdir -p $(@D)
	@commit=$$(git rev-parse --short=12 HEAD 2>/dev/null) || commit=unknown; \
	if [ $$commit != unknown ] && ! git diff --quiet HEAD 2>/dev/null; then commit=$$commit-dirty; fi; \
	printf '/* Generated by make. */\n#define REMORA_VERSION "0.1.0"\n#define REMORA_COMMIT "%s"\n' $$commit >$@.new
	@$(update)

READY := $(O)/gen/flags | setup $(O)/gen/version.h

# ---------------------------------------------------------------- Artifacts

objects = $(patsubst %,$(O)/obj/$(1)/%.o,$(2))
SHIM_OBJ := $(call objects,shim,$(SHIM_SRC))
EXPORT_OBJ := $(call objects,export,$(EXPORT_OWN_SRC) $(EXPORT_SHIM_SRC))
CLI_OBJ := $(call objects,cli,$(CLI_OWN_SRC) $(CLI_SHIM_SRC))

artifacts: $(O)/libremora.so $(O)/libremora-export.so $(if $(CLI_OWN_SRC),$(O)/remora)

# compile,DIRECTORY,FLAGS: one rule per kind of source for the objects below $(O)/obj/DIRECTORY
define compile_rules
$(O)/obj/$(1)/%.c.o: %.c $(READY)
	$$(call say,CC)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $(2) -MMD -MP -c $$< -o $$@
$(O)/obj/$(1)/%.S.o: %.S $(READY)
	$$(call say,AS)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $(2) -MMD -MP -c $$< -o $$@
endef
$(eval $(call compile_rules,shim,$(SHIM_CFLAGS)))
$(eval $(call compile_rules,export,$(EXPORT_CFLAGS)))
$(eval $(call compile_rules,cli,$(CLI_CFLAGS)))

# The exported names are the hook table and nothing else.
$(O)/gen/exports: $(wildcard shim/hooks/names.h shim/hooks/*.def) $(READY)
	@if [ -e shim/hooks/names.h ]; then $(CC) -E -P -I. -Ishim shim/hooks/names.h; fi | \
		awk '$$1 == "EXPORT" { print $$2 }' | LC_ALL=C sort -u >$@.new
	@mv $@.new $@

$(O)/remora.map: $(O)/gen/exports
	@{ echo '{'; if [ -s $< ]; then echo '	global:'; sed 's/.*/		&;/' $<; fi; echo '	local: *;'; echo '};'; } >$@

$(O)/libremora.so: $(SHIM_OBJ) $(O)/remora.map
	$(call say,LD)
	$(Q)$(LD) $(SHIM_LDFLAGS) -Wl,--version-script=$(O)/remora.map -o $@ $(SHIM_OBJ)

$(O)/libremora-export.so: $(EXPORT_OBJ) exporters/export.map
	$(call say,LD)
	$(Q)$(LD) $(EXPORT_LDFLAGS) -Wl,--version-script=exporters/export.map -o $@ $(EXPORT_OBJ) $(DEPS_LIBS)

$(O)/remora: $(CLI_OBJ)
	$(call say,LD)
	$(Q)$(CC) -pie -Wl,-z,now -Wl,-z,relro -o $@ $(CLI_OBJ) -Wl,--as-needed -ldl

# ---------------------------------------------------------------- Tests: programs

# san_rules,SANITIZERS: archives of the shim and the exporters, instrumented
define san_rules
$(call compile_rules,$(call flavour,$(1)),$(BASE) $(call san_flags,$(1)) -isystem $(DEPS)/include)
$(O)/obj/$(call flavour,$(1)).a: $(call objects,$(call flavour,$(1)),$(sort $(UNIT_SHIM_SRC) $(EXPORT_OWN_SRC)))
	$$(call say,AR)
	@rm -f $$@
	$$(Q)ar rcs $$@ $$^
endef

# test_rule,DIRECTORY OF THE PROGRAM,SANITIZERS,FLAGS,SOURCE
define test_rule
$(O)/tests/$(1)/$(basename $(notdir $(4))): $(4) $(O)/obj/$(call flavour,$(2)).a $(READY)
	$$(call say,TEST)
	@mkdir -p $$(@D)
	$$(Q)$$(CC) $(BASE) $(call san_flags,$(2)) -isystem $(DEPS)/include -pthread $(3) -MMD -MP -MF $$@.d -o $$@ $$< \
		$(O)/obj/$(call flavour,$(2)).a $(if $(EXPORT_OWN_SRC),$(DEPS_LIBS))
endef

$(eval $(call san_rules,$(SAN)))
$(foreach s,$(UNIT_SRC),$(eval $(call test_rule,unit,$(SAN),,$(s))))
$(foreach s,$(FUZZ_SRC),$(eval $(call test_rule,fuzz,$(SAN),-DFUZZ_REPLAY,$(s))))
ifneq ($(TSAN_UNIT),)
ifneq ($(SAN),thread)
$(eval $(call san_rules,thread))
endif
$(foreach s,$(TSAN_UNIT),$(eval $(call test_rule,unit-tsan,thread,,tests/unit/$(s).c)))
endif

UNIT_BIN := $(UNIT_SRC:tests/unit/%.c=$(O)/tests/unit/%) $(TSAN_UNIT:%=$(O)/tests/unit-tsan/%)
REPLAY_BIN := $(FUZZ_SRC:tests/fuzz/%.c=$(O)/tests/fuzz/%)
HOST_BIN := $(patsubst tests/hosts/%,$(O)/hosts/%,$(basename $(HOST_SRC)))

# A host is built like anybody's program. Its first line may add to that: /* flags: -static */
$(O)/hosts/%: tests/hosts/%.c $(READY)
	$(call say,HOST)
	@mkdir -p $(@D)
	$(Q)$(CC) $(HOST_CFLAGS) -MMD -MP -MF $@.d -o $@ $< $$(sed -n '1s,^/\* *flags:\(.*\)\*/.*,\1,p' $<)
$(O)/hosts/%: tests/hosts/%.cc $(READY)
	$(call say,HOST)
	@mkdir -p $(@D)
	$(Q)$(CXX) $(HOST_CFLAGS) -MMD -MP -MF $@.d -o $@ $< $$(sed -n '1s,^/\* *flags:\(.*\)\*/.*,\1,p' $<)

tests-build: artifacts $(UNIT_BIN) $(REPLAY_BIN) $(HOST_BIN)

# ---------------------------------------------------------------- Tests: runs

run_tests = CC='$(CC)' O='$(O)' scripts/run-tests

# The collector takes minutes to build with cold caches: it does so beside the installation and the other tests.
test:
	@mkdir -p build
	@{ tests/receivers/build-collector; tests/receivers/build-xray-daemon; } >build/collector.log 2>&1 &
	@scripts/setup test
	@$(MAKE) tests-build
	@$(run_tests)

unit: $(UNIT_BIN) $(REPLAY_BIN)
	@$(run_tests) unit fuzz

e2e: tests-build
	@scripts/setup test
	@$(run_tests) e2e harm

demo: artifacts
	@scripts/setup demo
	@O='$(O)' scripts/demo

check:
	@O='$(O)' scripts/check

check-compat:
	@scripts/setup test
	@O='$(O)' scripts/check-glibc217

bench: tests-build
	@O='$(O)' scripts/bench

# A million log lines; tests/e2e/test_cloudwatch.py has a small form of it.
cloudwatch-proof: tests-build
	@scripts/setup test
	@REMORA_BUILD='$(O)' build/venv/bin/python tests/e2e/proof_cloudwatch.py

# libFuzzer wants clang. What it finds goes to tests/fuzz/crashes/NAME, to be committed with the fix and replayed by
# every make test; inputs that only cover more stay in the build directory.
fuzz:
	@scripts/setup test
	@$(MAKE) O='$(O)/libfuzzer' CC=clang SAN=fuzzer-no-link,address,undefined fuzzers
	@set -e; for f in $(FUZZ_SRC:tests/fuzz/%.c=%); do n=$${f#fuzz_}; \
		echo "$$f: $(FUZZ_SECONDS) s"; \
		mkdir -p $(O)/corpus/$$n tests/fuzz/crashes/$$n tests/fuzz/corpus/$$n; \
		$(O)/libfuzzer/tests/libfuzzer/$$f -max_total_time=$(FUZZ_SECONDS) -timeout=10 -print_final_stats=1 -verbosity=0 \
			-artifact_prefix=tests/fuzz/crashes/$$n/ $(O)/corpus/$$n tests/fuzz/corpus/$$n; \
		rmdir tests/fuzz/crashes/$$n tests/fuzz/crashes 2>/dev/null || :; \
	done
.PHONY: fuzzers
fuzzers: $(FUZZ_SRC:tests/fuzz/%.c=$(O)/tests/libfuzzer/%)
$(foreach s,$(FUZZ_SRC),$(eval $(call test_rule,libfuzzer,$(SAN),-fsanitize=fuzzer,$(s))))

# Frames of tests/crash/states.c and states.cc in seven builds against gdb's, from records made by ptrace: for work on the
# unwinder. What handlers record is compared by tests/crash/test_scenarios_*.py.
.PHONY: gdb-frames
gdb-frames: $(O)/tests/make_record
	@tests/crash/compare_gdb.py $<
$(O)/tests/make_record: tests/crash/make_record.c $(EXPORT_OBJ)
	$(call say,LD)
	@mkdir -p $(@D)
	$(Q)$(CC) $(EXPORT_CFLAGS) -o $@ $< $(EXPORT_OBJ) $(DEPS_LIBS)

# ---------------------------------------------------------------- The archive for other systems, the reference stack

dist:
	@V='$(V)' scripts/dist

# Apart from `make test`, because of the time: the archive, a Debian of old, and every end-to-end test with what is in it.
dist-test: tests-build
	@scripts/setup test
	@scripts/setup reference
	@V='$(V)' scripts/dist
	@scripts/dist-root
	@mkdir -p build/dist/test
	@for f in libremora.so libremora-export.so remora; do ln -sfn ../remora/$$f build/dist/test/$$f; done
	@for f in hosts tests; do ln -sfn '$(abspath $(O))'/$$f build/dist/test/$$f; done
	@CC='$(CC)' O=build/dist/test scripts/run-tests tests/dist tests/e2e tests/harm tests/crash tests/binary/relocs

reference: artifacts
	@scripts/setup reference
	@O='$(O)' scripts/reference

# ---------------------------------------------------------------- Installation

# The launcher finds the libraries in ../lib/remora, seen from itself.
install: artifacts
	install -d '$(DESTDIR)$(PREFIX)/lib/remora' '$(DESTDIR)$(PREFIX)/bin'
	install -m 755 $(O)/libremora.so $(O)/libremora-export.so '$(DESTDIR)$(PREFIX)/lib/remora/'
	$(if $(CLI_OWN_SRC),install -m 755 $(O)/remora '$(DESTDIR)$(PREFIX)/bin/')

uninstall:
	rm -f '$(DESTDIR)$(PREFIX)/lib/remora/libremora.so' '$(DESTDIR)$(PREFIX)/lib/remora/libremora-export.so' \
		'$(DESTDIR)$(PREFIX)/bin/remora'
	-rmdir '$(DESTDIR)$(PREFIX)/lib/remora'

# clean keeps what takes minutes or the network: dependencies, Python packages, the collector, the old root.
clean:
	rm -rf $(O)/obj $(O)/gen $(O)/tests $(O)/hosts $(O)/libfuzzer $(O)/check $(O)/corpus $(O)/glibc217 $(O)/dist \
		$(O)/libremora.so $(O)/libremora-export.so $(O)/remora $(O)/remora.map

distclean: clean
	rm -rf $(O) build

-include $(shell find $(O)/obj $(O)/tests $(O)/hosts -name '*.d' 2>/dev/null)
