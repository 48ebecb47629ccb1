// What all kernels share. NVRTC compiles these files as one source, without headers; which files, and the constants
// they want, is said in launcher.py. Warps always work with all 32 threads. THREADS: of the largest block.
#define WARP 32
#define ALL 0xffffffffu
#ifndef EMULATED
#define SHARED(type, name, size) __shared__ type name[size]
#endif
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS)
#define BUSY_KERNEL extern "C" __global__ void __launch_bounds__(THREADS, 2)  // two blocks at a time on a multiprocessor
