/* Ends of C++ programs: crash_cxx NAME [LIBRARY (crash_throw.cc)]. */
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>

#define KEEP __attribute__((noinline))
#define STAYS __asm__ volatile("" ::: "memory")
static int *volatile null;
static volatile int yes = 1;

namespace shop {
struct order_error : std::runtime_error {
	using std::runtime_error::runtime_error;
};
KEEP void parse_order(const std::string &s)
{
	if (yes)
		throw order_error("no such order: " + s);
	STAYS;
}
KEEP void handle(int n)
{
	parse_order(std::to_string(n));
	STAYS;
}
KEEP void quiet(int n) noexcept
{
	handle(n);
	STAYS;
}
struct cart {
	KEEP virtual void add(int n)
	{
		*null = n;
		STAYS;
	}
	virtual ~cart() {}
};
} // namespace shop

KEEP static void rethrow()
{
	try {
		shop::handle(7);
	} catch (const std::exception &) {
		throw;
	}
}

static void own_terminate()
{
	std::fputs("own terminate\n", stderr);
	std::abort();
}

/* Exceptions of libraries are caught as ever. */
KEEP static void caught(const char *path)
{
	void *lib = dlopen(path, RTLD_NOW);
	void (*f)() = nullptr;
	if (lib)
		*reinterpret_cast<void **>(&f) = dlsym(lib, "lib_throw");
	for (int i = 0; f && i < 100; i++)
		try {
			f();
		} catch (const std::runtime_error &e) {
			if (i == 99)
				std::printf("caught: %s\n", e.what());
		}
	std::fflush(stdout);
}

int main(int argc, char **argv)
{
	std::string name = argc > 1 ? argv[1] : "";
	alarm(30);
	if (name == "throw")
		shop::handle(7);
	else if (name == "noexcept")
		shop::quiet(7);
	else if (name == "thread")
		std::thread([] { shop::handle(7); }).join();
	else if (name == "rethrow")
		rethrow();
	else if (name == "own_terminate") {
		std::set_terminate(own_terminate);
		shop::handle(7);
	} else if (name == "caught")
		caught(argv[2]);
	else if (name == "caught_fault") {
		caught(argv[2]);
		shop::cart().add(1);
	} else
		return 97;
	return 0;
}
