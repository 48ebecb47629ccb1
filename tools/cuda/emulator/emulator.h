// What a CUDA source needs to be compiled by g++: the names of CUDA on top of emulator.cpp.
// Blocks are whole warps, in one dimension; collectives take the mask of all 32 threads, nothing less.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#define EMULATED 1
#define UNWATCHED __attribute__((no_sanitize("thread")))  // this function's accesses are the emulator's own
#define __global__
#define __device__ static
#define __forceinline__ inline
#define __launch_bounds__(...)

struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

namespace emulator {
struct Dim { int x, y = 0, z = 0; };
struct Site { int number, line; const char *file; };  // of a collective in the source
enum Kind { SHUFFLE, BALLOT, MATCH };
Dim thread_index();
Dim block_index();
Dim block_dim();
Dim grid_dim();
void meet_block(Site);
void meet_warp(Site);  // __syncwarp: orders memory, which the other collectives of a warp do not
uint64_t exchange(Kind, uint64_t value, int source, unsigned mask, Site);
char *shared_array(Site, long bytes);
void touch(const void *, long bytes, bool writes, bool atomic);
void misaligned(long bytes);
void trace_block(int block);  // trace.cpp has these
void trace_access(int site, uint64_t p, long bytes, bool writes);
void trace_thread();
void trace_warp();
void trace_new_block();
void trace_end_of_block(double cycles);
void trace_new_launch();
double &cycles();  // of the thread that runs, see ptx.h: when its last instruction was issued
const char *run(const char *kernel, int grid, int block, int schedule, unsigned long seed, void (*body)(void *), void *arguments);

template <class T> T shuffled(T value, int source, unsigned mask, Site site) {
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  bits = exchange(SHUFFLE, bits, source, mask, site);
  memcpy(&value, &bits, sizeof value);
  return value;
}
template <class T> T add_atomically(T *p, T value) {
  touch(p, sizeof value, true, true);
  return __atomic_fetch_add(p, value, __ATOMIC_RELAXED);
}
}  // namespace emulator

#define EMULATOR_SITE (emulator::Site{__COUNTER__, __LINE__, __FILE__})
#define EMULATOR_LANE (emulator::thread_index().x & 31)
#define threadIdx (emulator::thread_index())
#define blockIdx (emulator::block_index())
#define blockDim (emulator::block_dim())
#define gridDim (emulator::grid_dim())
#define SHARED(type, name, size) type *name = (type *)emulator::shared_array(EMULATOR_SITE, sizeof(type) * (size))
#define __syncthreads() emulator::meet_block(EMULATOR_SITE)
#define __syncwarp() emulator::meet_warp(EMULATOR_SITE)
#define __shfl_sync(mask, v, lane) emulator::shuffled(v, (lane) & 31, mask, EMULATOR_SITE)
#define __shfl_xor_sync(mask, v, bits) emulator::shuffled(v, EMULATOR_LANE ^ (bits), mask, EMULATOR_SITE)
#define __shfl_up_sync(mask, v, by) emulator::shuffled(v, EMULATOR_LANE >= (by) ? EMULATOR_LANE - (by) : EMULATOR_LANE, mask, EMULATOR_SITE)
#define __shfl_down_sync(mask, v, by) emulator::shuffled(v, EMULATOR_LANE + (by) < 32 ? EMULATOR_LANE + (by) : EMULATOR_LANE, mask, EMULATOR_SITE)
#define __ballot_sync(mask, v) ((unsigned)emulator::exchange(emulator::BALLOT, !!(v), 0, mask, EMULATOR_SITE))
#define __match_any_sync(mask, v) ((unsigned)emulator::exchange(emulator::MATCH, v, 0, mask, EMULATOR_SITE))
#define atomicAdd(p, v) emulator::add_atomically(p, v)

// the float operations of IEEE 754, rounded once; -ffp-contract=off keeps them so
static inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fsqrt_rn(float a) { return sqrtf(a); }
static inline float __int2float_rn(int a) { return (float)a; }
static inline float __ll2float_rn(long long a) { return (float)a; }
static inline float __int_as_float(int a) { float f; memcpy(&f, &a, 4); return f; }
static inline int __popc(unsigned a) { return __builtin_popcount(a); }
static inline int __ffs(int a) { return __builtin_ffs(a); }
static inline int __clz(int a) { return a ? __builtin_clz(a) : 32; }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned __int128)a * b >> 64; }
