/* flags: -shared -fPIC */
/* A C++ library that throws, for crash_cxx.cc. */
#include <stdexcept>

extern "C" __attribute__((noinline)) void lib_throw()
{
	throw std::runtime_error("from the library");
}
