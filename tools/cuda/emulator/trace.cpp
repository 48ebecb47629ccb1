// Counts what a GPU would do while kernels of PTX run (schedule 0): how often a warp goes through each basic block, and
// which sectors of 32 bytes its accesses to memory move. Between two collectives the threads of a warp run one after the
// other; here they are put together again: what each does the n-th time since the last collective, all do at once. So a
// warp's access is the set of addresses that one instruction has in all threads.
//
// The sectors go through caches, of several GPUs side by side: the L1 of a multiprocessor, which a block has a part of
// and finds empty; it does not hold what is written, but keeps what it has in step. Then L2, which is there for all kernels and
// writes to memory what it has to drop. Both drop the line of 128 bytes that has not been used for longest.
#include "emulator.h"

#include <algorithm>
#include <unordered_set>
#include <vector>

namespace emulator {

struct Line { uint64_t number = ~(uint64_t)0; uint64_t used = 0; unsigned there = 0, dirty = 0; };
class Cache {
 public:
  Cache(long bytes, int ways) : ways(ways), sets(std::max(1l, bytes / 128 / ways)), lines(sets * ways) {}
  void clear() { std::fill(lines.begin(), lines.end(), Line()); }
  Line *find(uint64_t number) {
    Line *set = set_of(number);
    for (int i = 0; i < ways; i++)
      if (set[i].number == number) return set[i].used = ++clock, set + i;
    return nullptr;
  }
  // the line, if need be in place of another one, of which `dropped` are the sectors that memory does not have yet
  Line &take(uint64_t number, unsigned &dropped) {
    dropped = 0;
    if (Line *line = find(number)) return *line;
    Line *set = set_of(number), *oldest = set;
    for (int i = 1; i < ways; i++)
      if (set[i].used < oldest->used) oldest = set + i;
    dropped = oldest->dirty;
    *oldest = Line{number, ++clock, 0, 0};
    return *oldest;
  }

 private:
  Line *set_of(uint64_t number) { return &lines[(number * 0x9E3779B97F4A7C15ull >> 24) % sets * ways]; }
  int ways;
  long sets;
  std::vector<Line> lines;
  uint64_t clock = 0;
};

struct Gpu { Cache l1, l2; uint64_t l2_read = 0, l2_written = 0, memory_read = 0, memory_written = 0; };
struct Group { int site; unsigned turn; bool writes; std::vector<std::pair<uint64_t, unsigned>> lines; };

static std::vector<Gpu> gpus;
static std::vector<uint64_t> passes;                     // of warps through each block
static uint64_t accesses, sectors;                       // of warps, and what they ask for
static std::vector<unsigned> lane_passes, warp_passes;   // since the last collective
static std::vector<int> lane_passed, warp_passed;        // blocks that have some
static std::vector<Group> groups;
static size_t group_count;
static std::vector<std::vector<int>> groups_of_site;
static std::vector<unsigned> lane_turns;
static std::vector<int> lane_sites, warp_sites;

static unsigned &of(std::vector<unsigned> &numbers, int i) {
  if ((size_t)i >= numbers.size()) numbers.resize(i + 1);
  return numbers[i];
}

void trace_block(int block) {
  unsigned &mine = of(lane_passes, block), &all = of(warp_passes, block);
  if (!mine++) lane_passed.push_back(block);
  if (mine <= all) return;
  if (!all++) warp_passed.push_back(block);
  if ((size_t)block >= passes.size()) passes.resize(block + 1);
  passes[block]++;
}

static void add(Group &group, uint64_t p, long bytes) {
  for (uint64_t sector = p / 32; sector <= (p + bytes - 1) / 32; sector++) {
    uint64_t line = sector / 4;
    unsigned bit = 1u << sector % 4;
    if (group.lines.empty() || group.lines.back().first != line) {
      auto found = std::find_if(group.lines.begin(), group.lines.end(), [&](auto &known) { return known.first == line; });
      if (found == group.lines.end()) group.lines.push_back({line, bit});
      else found->second |= bit;
    } else {
      group.lines.back().second |= bit;
    }
  }
}

void trace_access(int site, uint64_t p, long bytes, bool writes) {
  unsigned turn = of(lane_turns, site)++;
  if (!turn) lane_sites.push_back(site);
  if ((size_t)site >= groups_of_site.size()) groups_of_site.resize(site + 1);
  std::vector<int> &mine = groups_of_site[site];
  if (turn == mine.size()) {
    if (!turn) warp_sites.push_back(site);
    if (group_count == groups.size()) groups.emplace_back();
    Group &group = groups[group_count];
    group.site = site, group.turn = turn, group.writes = writes;
    group.lines.clear();
    mine.push_back(group_count++);
  }
  add(groups[mine[turn]], p, bytes);
}

// a thread begins, or goes on behind a collective
void trace_thread() {
  for (int block : lane_passed) lane_passes[block] = 0;
  for (int site : lane_sites) lane_turns[site] = 0;
  lane_passed.clear(), lane_sites.clear();
}

static void move(Gpu &gpu, uint64_t number, unsigned wanted, bool writes) {
  unsigned dropped;
  if (writes) {
    gpu.l2_written += __builtin_popcount(wanted);
    Line &line = gpu.l2.take(number, dropped);
    line.there |= wanted, line.dirty |= wanted;
  } else {
    Line &near = gpu.l1.take(number, dropped);
    unsigned missing = wanted & ~near.there;
    near.there |= wanted;
    if (!missing) return;
    gpu.l2_read += __builtin_popcount(missing);
    Line &line = gpu.l2.take(number, dropped);
    gpu.memory_read += __builtin_popcount(missing & ~line.there);
    line.there |= missing;
  }
  gpu.memory_written += __builtin_popcount(dropped);
}

// all threads of a warp have come to a collective, or to the end
void trace_warp() {
  trace_thread();
  for (int block : warp_passed) warp_passes[block] = 0;
  for (int site : warp_sites) groups_of_site[site].clear();
  warp_passed.clear(), warp_sites.clear();
  for (size_t i = 0; i < group_count; i++) {
    accesses++;
    for (auto &[line, wanted] : groups[i].lines) {
      sectors += __builtin_popcount(wanted);
      for (Gpu &gpu : gpus) move(gpu, line, wanted, groups[i].writes);
    }
  }
  group_count = 0;
}

void trace_new_block() {
  for (Gpu &gpu : gpus) gpu.l1.clear();
}
// ---- when blocks end, if each instruction waits for what it needs and loads take their time

static std::vector<double> ends;
static std::unordered_set<uint64_t> seen;  // sectors that the block has asked for before: its multiprocessor has them
static double from_l1 = 35, from_l2 = 270;
double load_cycles(uint64_t p) { return seen.insert(p / 32).second ? from_l2 : from_l1; }
void trace_new_launch() { ends.clear(); }
void trace_end_of_block(double cycles) {
  ends.push_back(cycles);
  seen.clear();
}
}  // namespace emulator

using namespace emulator;
extern "C" void trace_latency(double l1, double l2) { from_l1 = l1, from_l2 = l2; }
extern "C" long trace_ends(double *cycles, long most) {
  for (size_t i = 0; i < ends.size() && (long)i < most; i++) cycles[i] = ends[i];
  return ends.size();
}

// GPUs with L2 caches of so many bytes, which are empty
extern "C" void trace_gpus(int count, const long *l2_bytes) {
  gpus.clear();
  for (int i = 0; i < count; i++) gpus.push_back({Cache(1 << 16, 16), Cache(l2_bytes[i], 16)});
}
// what a block of the next kernels has of the L1 cache
extern "C" void trace_l1(int gpu, long bytes) { gpus[gpu].l1 = Cache(bytes, 16); }
// [accesses, sectors, and of each GPU sectors that L2 gave and got, that memory gave and got], since the last call
extern "C" void trace_take(uint64_t *counts) {
  *counts++ = accesses, *counts++ = sectors;
  accesses = sectors = 0;
  for (Gpu &gpu : gpus)
    for (uint64_t *number : {&gpu.l2_read, &gpu.l2_written, &gpu.memory_read, &gpu.memory_written}) {
      *counts++ = *number;
      *number = 0;
    }
}
// passes of warps through blocks, since the last call
extern "C" void trace_take_passes(uint64_t *counts, int blocks) {
  passes.resize(std::max(passes.size(), (size_t)blocks));
  std::copy_n(passes.begin(), blocks, counts);
  std::fill(passes.begin(), passes.end(), 0);
}
