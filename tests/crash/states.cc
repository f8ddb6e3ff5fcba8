// C++ states; see states.c.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>
#define KEEP __attribute__((noinline))
static int *volatile null;
namespace shop {
struct Order { int n; KEEP virtual void parse(const std::string &s) { *null = n + (int)s.size(); __asm__ volatile("" ::: "memory"); } virtual ~Order() {} };
struct Special : Order { KEEP void parse(const std::string &s) override { Order::parse(s + "x"); __asm__ volatile("" ::: "memory"); } };
template <class T> KEEP T twice(T v) { Special s; s.n = 1; s.parse("hallo"); return v + v; }
namespace { KEEP void hidden(int n) { if (n) twice<long>(n); __asm__ volatile("" ::: "memory"); } }
KEEP void operator+(const Order &, int n) { hidden(n); __asm__ volatile("" ::: "memory"); }
}
KEEP static void method() { shop::hidden(3); __asm__ volatile("" ::: "memory"); }
KEEP static void lambda() { auto f = [](int n) KEEP { shop::hidden(n); __asm__ volatile("" ::: "memory"); }; f(2); std::function<void(int)> g = f; g(3); }
KEEP static void sorts() { std::vector<int> v{3, 1, 2}; std::sort(v.begin(), v.end(), [](int a, int b) { shop::hidden(1); return a < b; }); }
KEEP static void throws() { throw std::runtime_error("no such order"); }
KEEP static void noex() noexcept { throws(); __asm__ volatile("" ::: "memory"); }
KEEP static void thread() { std::thread t([] { shop::hidden(1); }); t.join(); }
KEEP static void at() { std::map<std::string, int> m; std::printf("%d", m.at("x")); }
KEEP static void op() { shop::Special s; s + 3; }
struct Dtor { KEEP ~Dtor() { shop::hidden(1); __asm__ volatile("" ::: "memory"); } };
KEEP static void dtor() { auto p = std::make_unique<Dtor>(); p.reset(); }
struct Pure { Pure() { call(); } virtual void f() = 0; KEEP void call() { f(); __asm__ volatile("" ::: "memory"); } virtual ~Pure() {} };
struct Impure : Pure { void f() override {} };
KEEP static void pure() { Impure i; }
int main(int argc, char **argv)
{
	static const struct { const char *name; void (*f)(); } all[] = {{"method", method}, {"lambda", lambda}, {"sorts", sorts}, {"throws", throws}, {"noex", noex}, {"cxxthread", thread}, {"at", at}, {"op", op}, {"dtor", dtor}, {"pure", pure}};
	for (auto &s : all)
		if (argc < 2) std::puts(s.name);
		else if (!std::strcmp(s.name, argv[1])) s.f();
}
