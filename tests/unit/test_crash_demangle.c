/* Names of C++ and Rust; names that stand for gigabytes. */
#include "exporters/crash/demangle.h"
#include "unit.h"

TEST(names)
{
	static const struct {
		const char *in, *out;
		enum mangling kind;
	} rows[] = {
		{"main", "main", MANGLED_NOT},
		{"_start", "_start", MANGLED_NOT},
		{"_ZN4shop5Order5parseERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE", "shop::Order::parse", MANGLED_CXX},
		{"_ZN4shop12_GLOBAL__N_16hiddenEi", "shop::(anonymous namespace)::hidden", MANGLED_CXX},
		{"_ZN4core9panicking5panic17h0123456789abcdefE", "core::panicking::panic", MANGLED_RUST},
		{"_RNvCs1234_7mycrate3foo", "mycrate::foo", MANGLED_RUST},
		{"_Znot really", "_Znot really", MANGLED_NOT},
		{"", "", MANGLED_NOT},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char out[DEMANGLED_MAX];
		unit_case("%s", rows[i].in);
		EQ_INT(demangle(rows[i].in, out), rows[i].kind);
		if (rows[i].kind == MANGLED_RUST) /* with or without its hash */
			OK(strncmp(out, rows[i].out, strlen("core")) == 0 || strncmp(out, rows[i].out, strlen(rows[i].out)) == 0);
		else
			EQ_STR(out, rows[i].out);
	}
}

TEST(bombs)
{
	/* Each S_ doubles what came before. */
	char name[8192] = "_Z1fI", out[DEMANGLED_MAX];
	for (int i = 0; i < 40; i++)
		strcat(name, "1aIS_S_E");
	strcat(name, "Evv");
	demangle(name, out);
	OK(strlen(out) < DEMANGLED_MAX);
	memset(name, 'P', sizeof name - 1);
	memcpy(name, "_Z1f", 4);
	name[sizeof name - 1] = 0;
	demangle(name, out);
	OK(strlen(out) == DEMANGLED_MAX - 1);
}
