// What a PTX program needs to be compiled by g++, once ptx.py has made C++ of it: its instructions on top of emulator.h.
// Registers are unsigned integers of their width, floats too. With -DTRACED what is done is counted (trace.cpp), with
// -DWATCHED races and accesses outside of arrays are noticed.
#pragma once
#include "emulator.h"

namespace emulator {
typedef int8_t s8; typedef int16_t s16; typedef int32_t s32; typedef int64_t s64;
typedef uint8_t u8; typedef uint16_t u16; typedef uint32_t u32; typedef uint64_t u64;
struct alignas(8) Two { u32 x[2]; };
struct alignas(16) Four { u32 x[4]; };

static inline float f32(u32 bits) { float f; memcpy(&f, &bits, 4); return f; }
static inline u32 bits(float f) { u32 b; memcpy(&b, &f, 4); return b; }
static inline u32 bits(int x) { return x; }
static inline u32 bits(unsigned x) { return x; }
static inline u64 bits(long long x) { return x; }
static inline u64 bits(unsigned long long x) { return x; }
static inline u64 bits(const void *p) { return (u64)p; }

// shifts by the width or more leave nothing, or the sign
static inline u32 shl(u32 a, u32 by) { return by > 31 ? 0 : a << by; }
static inline u64 shl(u64 a, u32 by) { return by > 63 ? 0 : a << by; }
static inline u32 shr(u32 a, u32 by) { return by > 31 ? 0 : a >> by; }
static inline u64 shr(u64 a, u32 by) { return by > 63 ? 0 : a >> by; }
static inline s32 shr(s32 a, u32 by) { return a >> (by > 31 ? 31 : by); }
static inline s64 shr(s64 a, u32 by) { return a >> (by > 63 ? 63 : by); }
static inline u64 insert(u64 field, u64 into, u32 at, u32 length) {
  u64 mask = shl(length > 63 ? ~(u64)0 : ((u64)1 << length) - 1, at);
  return (into & ~mask) | (shl(field, at) & mask);
}
static inline u32 reversed(u32 a) {
  u32 r = 0;
  for (int i = 0; i < 32; i++) r |= (a >> i & 1) << (31 - i);
  return r;
}
static inline u32 highest(u32 a) { return a ? 31 - __builtin_clz(a) : ~0u; }
static inline u32 shift_to_highest(u32 a) { return a ? __builtin_clz(a) : ~0u; }
static inline u32 permuted(u32 a, u32 b, u32 selector) {
  u64 bytes = (u64)b << 32 | a;
  u32 r = 0;
  for (int i = 0; i < 4; i++) {
    u32 chosen = selector >> 4 * i & 15, byte = bytes >> 8 * (chosen & 7) & 255;
    r |= (chosen & 8 ? (byte & 128 ? 255 : 0) : byte) << 8 * i;
  }
  return r;
}

UNWATCHED static inline void note(int site, u64 p, long bytes, bool writes, bool atomic) {
  if (p % bytes) misaligned(bytes);
#ifdef WATCHED
  touch((const void *)p, bytes, writes, atomic);
#endif
#ifdef TRACED
  trace_access(site, p, bytes, writes);
#endif
}
// a shared array is not traced: it has no sectors
UNWATCHED static inline void note_shared(u64 p, long bytes, bool writes, bool atomic) {
  if (p % bytes) misaligned(bytes);
#ifdef WATCHED
  touch((const void *)p, bytes, writes, atomic);
#endif
}
// ---- time: an instruction is issued when all that it reads is there, one cycle after the one before it. r_x is there
// at t_x. An access to memory says how long it takes; what others take is written behind it.
double load_cycles(u64 p);  // trace.cpp
static inline double latest(double a) { return a; }
template <class... More> double latest(double a, double b, More... more) { return latest(a > b ? a : b, more...); }

template <class T> T load(u64 p) { T value; memcpy(&value, (const void *)p, sizeof value); return value; }
template <class T> void store(u64 p, T value) { memcpy((void *)p, &value, sizeof value); }
}  // namespace emulator

#ifdef TRACED
#define COUNT(block) emulator::trace_block(block)
#else
#define COUNT(block)
#endif
