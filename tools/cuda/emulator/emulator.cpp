// Runs a CUDA kernel on the CPU. Every CUDA thread is a fiber; it runs until it meets a collective (a barrier or an
// exchange among a warp) and waits there for the others. Which fiber goes on is the schedule's choice:
//   0 forward: blocks, warps and threads in order; warps take turns at each collective, as they do on a device
//   1 reverse: the last block, warp and thread first; a warp runs as far as it can before another does
//   2 random, five blocks interleaved
//   3 random, but a warp runs as far as it can
// Shared memory is poisoned with NaN and fenced. Noticed are: threads that wait at different collectives, or for one that
// has left (deadlock on a device); writes next to shared arrays; and, where the kernel was compiled with
// -fsanitize=thread, accesses outside of arrays, and races: two accesses to one address, one of them a write, that no
// barrier puts in order. The compiler then calls __tsan_read4 and the like at every access to memory; those are here.
// What was PTX (ptx.h) calls touch() itself.
#include "emulator.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <vector>

#if !defined(__x86_64__) || defined(EMULATOR_PORTABLE)
#include <ucontext.h>
#define PORTABLE 1
#endif

namespace emulator {

enum State { READY, AT_WARP, AT_BLOCK, DONE };
const long STACK = 1 << 15, FENCE = 64;
const unsigned ALL_LANES = ~0u;

struct Fiber;
struct Array { int site; long bytes; char *fenced; };
struct Block {
  int index, threads_left;
  std::vector<Fiber> fibers;
  std::vector<uint64_t> exchanged;   // [thread][2]: what it gave to the exchange, and to the one before
  std::vector<unsigned> warp_epoch;  // barriers that a warp has passed
  unsigned epoch = 0;                // barriers that the block has passed
  std::vector<Array> arrays;
};
struct Fiber {
  void *saved;
  Block *block;
  int thread;
  State state;
  Site site;
  unsigned exchanges;
  char *stack;
  double cycles;  // only counted for what was PTX
};

static Dim block_size, grid_size;
static Fiber *current;
static const char *kernel;
static void (*kernel_body)(void *);
static void *kernel_arguments;
static int schedule;
static uint64_t random_state;
static bool failed;
static char message[400];
static std::vector<char *> idle_stacks;

// ---- switching between fibers

#ifdef PORTABLE
static ucontext_t scheduler_context;
static void *scheduler = &scheduler_context;
static void switch_to(void **save, void *load) { swapcontext((ucontext_t *)*save, (ucontext_t *)load); }
#else
static void *scheduler;
extern "C" void emulator_switch(void **save, void *load);
asm(R"(
.text
.globl emulator_switch
.hidden emulator_switch
.type emulator_switch, @function
emulator_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
)");
static void switch_to(void **save, void *load) { emulator_switch(save, load); }
#endif

static void fiber_main() {
  kernel_body(kernel_arguments);
  current->state = DONE;
  current->block->threads_left--;
  switch_to(&current->saved, scheduler);
  abort();
}

static void prepare(Fiber &fiber) {
  if (idle_stacks.empty()) {
    fiber.stack = (char *)aligned_alloc(64, STACK);
  } else {
    fiber.stack = idle_stacks.back();
    idle_stacks.pop_back();
  }
#ifdef PORTABLE
  ucontext_t *context = (ucontext_t *)fiber.stack;
  getcontext(context);
  context->uc_stack.ss_sp = fiber.stack + 2048;
  context->uc_stack.ss_size = STACK - 2048;
  context->uc_link = nullptr;
  makecontext(context, fiber_main, 0);
  fiber.saved = context;
#else
  void **top = (void **)(fiber.stack + STACK - 64);
  *--top = nullptr;
  *--top = (void *)fiber_main;
  for (int i = 0; i < 6; i++) *--top = nullptr;  // six registers
  fiber.saved = top;
#endif
}

static void go_on(Fiber &fiber) {
  current = &fiber;
  trace_thread();
  switch_to(&scheduler, fiber.saved);
  current = nullptr;
}

static void note_failure(const Fiber *fiber, const char *what, ...) {
  if (failed) return;
  failed = true;
  int n = snprintf(message, sizeof message, "%s: ", kernel);
  va_list values;
  va_start(values, what);
  n += vsnprintf(message + n, sizeof message - n, what, values);
  va_end(values);
  if (fiber && n < (int)sizeof message)
    snprintf(message + n, sizeof message - n, " (block %d, thread %d, last seen at %s:%d)", fiber->block->index, fiber->thread,
             fiber->site.file ? fiber->site.file : "the start", fiber->site.line);
}

// the fiber that failed never goes on: what it was about to touch may not be there
static void give_up(const char *what, long number) {
  note_failure(current, what, number);
  switch_to(&current->saved, scheduler);
}

static void wait(State state, Site site) {
  current->state = state;
  current->site = site;
  switch_to(&current->saved, scheduler);
}

// ---- what kernels call

double &cycles() { return current->cycles; }
Dim block_dim() { return block_size; }
Dim grid_dim() { return grid_size; }
Dim thread_index() { return {current->thread}; }
Dim block_index() { return {current->block->index}; }
void meet_block(Site site) { wait(AT_BLOCK, site); }
void meet_warp(Site site) {
  wait(AT_WARP, site);
  if (current->thread % 32 == 0) current->block->warp_epoch[current->thread / 32]++;
  wait(AT_WARP, site);  // so that no thread goes on in the old epoch
}

uint64_t exchange(Kind kind, uint64_t value, int source, unsigned mask, Site site) {
  if (mask != ALL_LANES) give_up("a collective of less than a warp", 0);
  Fiber &me = *current;
  int turn = me.exchanges++ & 1, warp = me.thread / 32 * 32;
  uint64_t *given = me.block->exchanged.data();
  given[2 * me.thread + turn] = value;
  wait(AT_WARP, site);
  if (kind == SHUFFLE) return given[2 * (warp + source) + turn];
  unsigned bits = 0;
  for (int lane = 0; lane < 32; lane++) {
    uint64_t theirs = given[2 * (warp + lane) + turn];
    bits |= (unsigned)(kind == BALLOT ? theirs != 0 : theirs == value) << lane;
  }
  return bits;
}

char *shared_array(Site site, long bytes) {
  for (Array &array : current->block->arrays)
    if (array.site == site.number) return array.fenced + FENCE;
  char *fenced = (char *)aligned_alloc(64, (bytes + 2 * FENCE + 63) / 64 * 64);
  memset(fenced, 0xA5, bytes + 2 * FENCE);
  memset(fenced + FENCE, 0xFF, bytes);
  current->block->arrays.push_back({site.number, bytes, fenced});
  return fenced + FENCE;
}

// ---- schedules

static unsigned random_number(unsigned below) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (unsigned)(random_state >> 16) % below;
}
static void arrange(std::vector<int> &order) {
  if (schedule == 1) std::reverse(order.begin(), order.end());
  if (schedule >= 2)
    for (size_t i = order.size(); i > 1; i--) std::swap(order[i - 1], order[random_number(i)]);
}
static const std::vector<int> &arranged(int n, std::vector<int> &order) {
  order.resize(n);
  for (int i = 0; i < n; i++) order[i] = i;
  arrange(order);
  return order;
}

// who waits for others goes on when the last of them has come
static double meet(Fiber *first, size_t count) {
  double last = 0;
  for (size_t i = 0; i < count; i++) last = std::max(last, first[i].cycles);
  for (size_t i = 0; i < count; i++) first[i].cycles = last;
  return last;
}
// lets the threads of a warp go on once all wait at one collective
static bool release_warp(Block &block, int warp) {
  Fiber *first = &block.fibers[warp * 32];
  for (int lane = 0; lane < 32; lane++)
    if (first[lane].state != AT_WARP || first[lane].site.number != first->site.number) return false;
  for (int lane = 0; lane < 32; lane++) first[lane].state = READY;
  meet(first, 32);
  return true;
}
static bool release_block(Block &block) {
  for (Fiber &fiber : block.fibers)
    if (fiber.state != AT_BLOCK || fiber.site.number != block.fibers[0].site.number) return false;
  for (Fiber &fiber : block.fibers) fiber.state = READY;
  meet(block.fibers.data(), block.fibers.size());
  for (unsigned &epoch : block.warp_epoch) epoch++;
  block.epoch++;
  return true;
}

// lets some or all of the block's warps go on; false: none of those could
static bool advance(Block &block) {
  static std::vector<int> warp_order, lane_order;
  bool any = false;
  int warps = block.fibers.size() / 32, quota = schedule >= 2 ? 1 + random_number(warps) : warps;
  for (int warp : arranged(warps, warp_order)) {
    if (!quota--) break;
    do {
      for (int lane : arranged(32, lane_order)) {
        Fiber &fiber = block.fibers[warp * 32 + lane];
        if (fiber.state != READY) continue;
        any = true;
        go_on(fiber);
        if (failed) return true;
      }
      trace_warp();
      if (!release_warp(block, warp)) break;
      any = true;
    } while (schedule & 1);
  }
  if (!any)
    for (int warp = 0; warp < warps; warp++) any |= release_warp(block, warp);
  return release_block(block) || any;
}

static Block *new_block(int index, int threads) {
  Block *block = new Block;
  block->index = index;
  block->threads_left = threads;
  block->fibers.resize(threads);
  block->exchanged.resize(2 * threads);
  block->warp_epoch.resize(threads / 32);
  trace_new_block();
  for (int i = 0; i < threads; i++) {
    block->fibers[i] = {nullptr, block, i, READY, {-1, 0, nullptr}, 0, nullptr, 0};
    prepare(block->fibers[i]);
  }
  return block;
}
static void forget_accesses(char *begin, long bytes);
static void finish(Block *block) {
  trace_end_of_block(meet(block->fibers.data(), block->fibers.size()));
  for (Array &array : block->arrays) {
    for (long i = 0; i < FENCE; i++)
      if ((unsigned char)array.fenced[i] != 0xA5 || (unsigned char)array.fenced[FENCE + array.bytes + i] != 0xA5) {
        note_failure(&block->fibers[0], "a shared array of %ld bytes was written beside", array.bytes);
        break;
      }
    forget_accesses(array.fenced, array.bytes + 2 * FENCE);  // the next block may get the same memory
    free(array.fenced);
  }
  for (Fiber &fiber : block->fibers) idle_stacks.push_back(fiber.stack);
  delete block;
}
static void note_deadlock(const Block &block) {
  const Fiber *waits = nullptr;
  for (const Fiber &fiber : block.fibers) {
    if (fiber.state == READY) return;
    if (fiber.state != DONE) waits = &fiber;
  }
  note_failure(waits, "threads wait for each other at different places, or for one that has left");
}
static void forget_accesses();

const char *run(const char *name, int grid, int block, int chosen_schedule, unsigned long seed, void (*body)(void *), void *arguments) {
  kernel = name, kernel_body = body, kernel_arguments = arguments, schedule = chosen_schedule, failed = false;
  grid_size = {grid}, block_size = {block};
  random_state = seed * 2654435761u + 88172645463325252ull;
  forget_accesses();
  trace_new_launch();
  std::vector<int> order;
  arranged(grid, order);
  std::vector<Block *> resident;
  size_t next = 0, room = schedule >= 2 ? 5 : 1;
  while (!failed && (next < order.size() || !resident.empty())) {
    while (resident.size() < room && next < order.size()) resident.push_back(new_block(order[next++], block));
    size_t chosen = random_number(resident.size());
    Block *now = resident[chosen];
    if (!advance(*now) && now->threads_left) note_deadlock(*now);
    if (!failed && !now->threads_left) {
      finish(now);
      resident.erase(resident.begin() + chosen);
    }
  }
  return failed ? message : nullptr;
}

// ---- races

// what kernels may touch: arrays of the device, and shared ones
static std::vector<std::pair<uintptr_t, uintptr_t>> memory;  // sorted (begin, end)
extern "C" void emulator_allocate(uintptr_t begin, long bytes) {
  memory.insert(std::upper_bound(memory.begin(), memory.end(), std::make_pair(begin, begin)), {begin, begin + bytes});
}
extern "C" void emulator_free(uintptr_t begin) {
  for (size_t i = 0; i < memory.size(); i++)
    if (memory[i].first == begin) return (void)memory.erase(memory.begin() + i);
}
static bool is_allocated(uintptr_t p, long bytes) {
  auto after = std::upper_bound(memory.begin(), memory.end(), std::make_pair(p, ~(uintptr_t)0));
  if (after != memory.begin() && p + bytes <= (after - 1)->second) return true;
  for (const Array &array : current->block->arrays)
    if (p >= (uintptr_t)array.fenced + FENCE && p + bytes <= (uintptr_t)array.fenced + FENCE + array.bytes) return true;
  return false;
}

// One access, or several that no barrier separates; -1: by several threads, warps or blocks.
struct Access { int block = -2, warp, thread; unsigned block_epoch, warp_epoch; bool atomic; };
struct Cell { uintptr_t word = 0; unsigned generation = 0; Access read, write; };
static std::vector<Cell> cells(1 << 12);
static unsigned generation;
static size_t used;

static void forget_accesses() { generation++, used = 0; }

static Cell &cell_of(uintptr_t word) {
  if (2 * used > cells.size()) {
    std::vector<Cell> old(4 * cells.size());
    old.swap(cells);
    for (Cell &cell : old)
      if (cell.generation == generation) {
        size_t at = cell.word * 0x9E3779B97F4A7C15ull >> 20 & (cells.size() - 1);
        while (cells[at].generation == generation) at = (at + 1) & (cells.size() - 1);
        cells[at] = cell;
      }
  }
  size_t at = word * 0x9E3779B97F4A7C15ull >> 20 & (cells.size() - 1);
  while (cells[at].generation == generation && cells[at].word != word) at = (at + 1) & (cells.size() - 1);
  if (cells[at].generation != generation) {
    cells[at] = Cell();
    cells[at].word = word, cells[at].generation = generation;
    used++;
  }
  return cells[at];
}
static void forget_accesses(char *begin, long bytes) {
  if (!used) return;
  for (uintptr_t word = (uintptr_t)begin / 4; word <= ((uintptr_t)begin + bytes - 1) / 4; word++) {
    Cell &cell = cell_of(word);
    cell.read = cell.write = Access();
  }
}
static bool is_before(const Access &old, const Access &now) {
  if (old.block == -2) return true;
  if (old.block != now.block) return false;
  if (old.block_epoch < now.block_epoch) return true;
  return old.warp == now.warp && (old.warp_epoch < now.warp_epoch || old.thread == now.thread);
}
void touch(const void *p, long bytes, bool writes, bool atomic) {
  if (!current || failed || ((const char *)p >= current->stack && (const char *)p < current->stack + STACK)) return;
  const Fiber &me = *current;
  if (!is_allocated((uintptr_t)p, bytes)) return give_up("%ld bytes were touched that are in no array", bytes);
  Access now{me.block->index, me.thread / 32, me.thread, me.block->epoch, me.block->warp_epoch[me.thread / 32], atomic};
  for (uintptr_t word = (uintptr_t)p / 4; word <= ((uintptr_t)p + bytes - 1) / 4; word++) {
    Cell &cell = cell_of(word);
    bool race = !is_before(cell.write, now) && !(atomic && cell.write.atomic);
    if (writes) race |= !is_before(cell.read, now) && !(atomic && cell.read.atomic);
    if (race) return give_up("a race: two threads touch one address, one of them writes, and no barrier orders them", 0);
    if (writes) {
      cell.write = now;
    } else if (is_before(cell.read, now)) {
      cell.read = now;
    } else {
      Access &read = cell.read;  // each read is at or after the ones before, as far as it matters to later writes
      if (read.block != now.block) read.block = -1;
      if (read.warp != now.warp) read.warp = -1;
      read.thread = -1;
      read.block_epoch = std::max(read.block_epoch, now.block_epoch);
      read.warp_epoch = std::max(read.warp_epoch, now.warp_epoch);
    }
  }
}
void misaligned(long bytes) { give_up("%ld bytes were touched at an address that is no multiple of them", bytes); }
}  // namespace emulator

#define HOOKS(bytes)                                                                  \
  void __tsan_read##bytes(void *p) { emulator::touch(p, bytes, false, false); }       \
  void __tsan_write##bytes(void *p) { emulator::touch(p, bytes, true, false); }       \
  void __tsan_unaligned_read##bytes(void *p) { emulator::touch(p, bytes, false, false); } \
  void __tsan_unaligned_write##bytes(void *p) { emulator::touch(p, bytes, true, false); }
extern "C" {
HOOKS(1) HOOKS(2) HOOKS(4) HOOKS(8) HOOKS(16)
void __tsan_init() {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit(void *) {}
int __tsan_atomic32_fetch_add(volatile int *p, int value, int) { return __atomic_fetch_add(p, value, __ATOMIC_RELAXED); }
}
