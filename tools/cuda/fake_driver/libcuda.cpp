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

// ---- a CUDA that does nothing, without Python: what host code and CuPy cost (idle.py)
#include <cstdlib>
#include <cstring>
static long next_handle = 16, next_byte = 0x7f0000000000;
extern "C" int idle_cudaGetDevice(int *p) { return *p = 0; }
extern "C" int idle_cudaGetDeviceCount(int *p) { return *p = 1, 0; }
extern "C" int idle_cudaDriverGetVersion(int *p) { return *p = 13000, 0; }
extern "C" int idle_cudaDeviceGetAttribute(int *p, int a) { return *p = a == 75 ? 9 : a == 76 ? 0 : a == 16 ? 132 : 1, 0; }
extern "C" int idle_cudaGetDeviceProperties_v2(char *p) {
  memset(p, 0, 1008);
  strcpy(p, "Idle H200");
  *(size_t *)(p + 288) = 140ull << 30;
  return 0;
}
extern "C" int idle_cudaMalloc(long *p, size_t n) { return *p = next_byte, next_byte += (n + 511) / 512 * 512, 0; }
extern "C" int idle_cudaHostAlloc(void **p, size_t n) { return posix_memalign(p, 512, n < 512 ? 512 : n); }
extern "C" int idle_cudaMemGetInfo(size_t *free, size_t *total) { return *free = *total = 140ull << 30, 0; }
extern "C" int idle_new_handle(long *p) { return *p = next_handle += 16, 0; }
extern "C" int idle_cudaStreamEndCapture(long, long *p) { return *p = next_handle += 16, 0; }
extern "C" int idle_cudaStreamIsCapturing(long, int *p) { return *p = 0; }
extern "C" int idle_cudaEventElapsedTime(float *p) { return *p = 0.05f, 0; }
