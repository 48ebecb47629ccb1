// A libcuda.so.1 without a device: each function calls what Python has put in its place, and fails where that is
// nothing. Beside it: the float mode of the thread, as a kernel that flushes denormal numbers would have it.
#include <xmmintrin.h>

typedef int (*Call)(long, long, long, long, long, long, long, long, long, long, long);
#define FLUSH 0x8040u  // results (FTZ) and operands (DAZ)
#define FUNCTION(name)                                                                                               \
  extern "C" {                                                                                                       \
  Call python_##name = 0;                                                                                            \
  }                                                                                                                  \
  extern "C" int name(long a, long b, long c, long d, long e, long f, long g, long h, long i, long j, long k) {      \
    return python_##name ? python_##name(a, b, c, d, e, f, g, h, i, j, k) : 999;                                     \
  }

FUNCTION(cuGetErrorName)
FUNCTION(cuGetErrorString)
FUNCTION(cuLaunchKernel)
FUNCTION(cuModuleGetFunction)
FUNCTION(cuModuleLoadData)
FUNCTION(cuModuleUnload)

extern "C" int do_nothing(long, long, long, long, long, long, long, long, long, long, long) { return 0; }
extern "C" unsigned float_mode() { return _mm_getcsr(); }
extern "C" void set_float_mode(unsigned mode) { _mm_setcsr(mode); }
extern "C" unsigned flushing(unsigned mode) { return mode | FLUSH; }
