// Rows of a token range, made where they are trained on: the rows of pipeline/kernels/{generate,negatives}.py, in their
// order. Integers alone. A token range is whole sentences, n tokens; rows are made of the tokens [own_begin, own_end),
// those of whole steps, and the other tokens are there to be contexts.
//
// The order comes from sums and never from who is first: tokens and rows are counted a warp's share at a time, one warp
// adds the shares up, and then each warp knows where to write. No warp waits for another within a kernel.
//
//   draw_kept -> scan_totals -> list_kept        which tokens subsampling keeps: flags, sums, a list without gaps
//   count_contexts -> scan_totals -> write_rows  the same with rows, of which those without a context are left out
//   find_steps                                   where each step begins
//   draw_negatives -> redraw_negatives           first draws at once, then those that the policy forbids
//   sample_rows                                  what the host has to know for the loss
//   copy_step                                    later, a step at a time: where it is trained from
typedef unsigned long long u64;
#define SHARE 256  // items of a warp's share
enum { KEEP_AND_RADIUS = 0, NEGATIVES_DRAWN = 1, REDRAW = 2, EXACT_DRAW = 3 };  // purposes: see philox.py
enum { ANY = 0, EXCLUDE_TARGET = 1, DISTINCT = 2 };                             // policies: see generate.py
#define REDRAWS 64
#define HEADER 8  // numbers before the arrays of a packed step

// ---- random numbers

__device__ __forceinline__ uint4 philox(u64 position, int epoch, unsigned purpose, unsigned draw, unsigned k0, unsigned k1) {
  unsigned c0 = (unsigned)position, c1 = (unsigned)(position >> 32) | (unsigned)epoch << 16, c2 = purpose, c3 = draw;
#pragma unroll
  for (int round = 0; round < 10; round++) {
    unsigned high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
    unsigned high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return make_uint4(c0, c1, c2, c3);
}
__device__ __forceinline__ int below(unsigned x, int n) { return (int)__umulhi(x, (unsigned)n); }
__device__ __forceinline__ int from_alias_table(unsigned x, unsigned y, const u64 *table, int vocabulary) {
  int column = below(x, vocabulary);
  u64 entry = table[column];
  return y < (unsigned)entry ? column : (int)(entry >> 32);
}

// ---- sums

__device__ __forceinline__ int global_warp() { return (blockIdx.x * blockDim.x + threadIdx.x) / WARP; }
__device__ __forceinline__ u64 sum_up_to(u64 value, int lane) {  // over the lanes 0 to this one
#pragma unroll
  for (int step = 1; step < WARP; step *= 2) {
    u64 before = __shfl_up_sync(ALL, value, step);
    if (lane >= step) value += before;
  }
  return value;
}

// One warp: each total becomes the sum of those before it, and the one behind the last the sum of all.
KERNEL scan_totals(unsigned long long *totals, int count) {
  int lane = threadIdx.x % WARP;
  if (global_warp()) return;
  u64 before = 0;
  for (int first = 0; first < count; first += WARP) {
    int i = first + lane;
    u64 value = i < count ? totals[i] : 0, sum = sum_up_to(value, lane);
    if (i < count) totals[i] = before + sum - value;
    before += __shfl_sync(ALL, sum, WARP - 1);
  }
  if (lane == 0) totals[count] = before;
}

// ---- tokens that are kept

// The window radius of each token, 0 if it is not kept; and how many each warp's share keeps.
KERNEL draw_kept(const int *tokens, int n, long long first_position, int epoch, unsigned k0, unsigned k1,
                 const unsigned *keep, int window, int *radius, unsigned long long *totals) {
  int lane = threadIdx.x % WARP, warp = global_warp(), kept = 0;
  if (warp * (long long)SHARE >= n) return;
  for (int first = warp * SHARE; first < (warp + 1) * (long long)SHARE; first += WARP) {
    int i = first + lane, reach = 0;
    if (i < n) {
      uint4 drawn = philox(first_position + i, epoch, KEEP_AND_RADIUS, 0, k0, k1);
      if (drawn.x <= keep[tokens[i]]) reach = below(drawn.y, window) + 1;
      radius[i] = reach;
    }
    kept += __popc(__ballot_sync(ALL, reach > 0));
  }
  if (lane == 0) totals[warp] = kept;
}

// Tokens that are kept, without gaps: the word and where it stands. kept_before[i]: how many stand before token i.
KERNEL list_kept(const int *tokens, int n, const int *radius, const unsigned long long *totals, int *kept_before, int *word, int *place) {
  int lane = threadIdx.x % WARP, warp = global_warp();
  if (warp == 0 && lane == 0) kept_before[n] = (int)totals[(n + SHARE - 1) / SHARE];
  if (warp * (long long)SHARE >= n) return;
  int at = (int)totals[warp];
  for (int first = warp * SHARE; first < (warp + 1) * (long long)SHARE; first += WARP) {
    int i = first + lane;
    bool is_kept = i < n && radius[i] > 0;
    unsigned kept = __ballot_sync(ALL, is_kept);
    int mine = at + __popc(kept & ((1u << lane) - 1));
    if (i < n) kept_before[i] = mine;
    if (is_kept) {
      word[mine] = tokens[i];
      place[mine] = i;
    }
    at += __popc(kept);
  }
}

// ---- rows

// The last of the ascending numbers that is at most x; the first is.
__device__ __forceinline__ int last_at_most(const int *numbers, int count, int x) {
  int low = 0, high = count;
  while (high - low > 1) {
    int middle = low + (high - low) / 2;
    if (numbers[middle] <= x) low = middle; else high = middle;
  }
  return low;
}

// Contexts of each kept token, among the kept ones of its sentence: the first, counting the token itself, and how many.
// Tokens that are not to be made rows of have none. totals: rows in the high half, contexts in the low one.
KERNEL count_contexts(int n, const int *kept_before, const int *place, const int *radius, const int *sentences,
                      int sentence_count, int own_begin, int own_end, int window, int *begins, int *contexts,
                      unsigned long long *totals) {
  int lane = threadIdx.x % WARP, warp = global_warp(), kept = kept_before[n];
  if (warp * (long long)SHARE >= n) return;
  u64 total = 0;
  for (int first = warp * SHARE; first < (warp + 1) * (long long)SHARE; first += WARP) {
    int j = first + lane, number = 0;
    if (j < kept) {
      int i = place[j], begin = j;
      if (i >= own_begin && i < own_end) {
        int sentence = last_at_most(sentences, sentence_count, i), end;
        begin = kept_before[sentences[sentence]];
        end = kept_before[sentences[sentence + 1]];
        if (window) {
          begin = j - begin > radius[i] ? j - radius[i] : begin;
          end = end - j > radius[i] ? j + radius[i] + 1 : end;
        }
        number = end - begin - 1;
      }
      begins[j] = begin;
      contexts[j] = number;
    }
    u64 sum = sum_up_to(number ? (u64)1 << 32 | (u64)number : 0, lane);
    total += __shfl_sync(ALL, sum, WARP - 1);
  }
  if (lane == 0) totals[warp] = total;
}

// target, row_place: a row's token and where it stands; row_offset: of its contexts, one more than there are rows.
KERNEL write_rows(int n, const int *kept_before, const int *word, const int *place, const int *begins, const int *contexts,
                  const unsigned long long *totals, int *target, int *row_place, int *row_offset, int *context) {
  int lane = threadIdx.x % WARP, warp = global_warp(), kept = kept_before[n];
  if (warp == 0 && lane == 0) {
    u64 all = totals[(n + SHARE - 1) / SHARE];
    row_offset[(int)(all >> 32)] = (int)(unsigned)all;
  }
  u64 before = warp * (long long)SHARE < n ? totals[warp] : 0;
  for (int first = warp * SHARE; first < (warp + 1) * (long long)SHARE && first < kept; first += WARP) {
    int j = first + lane, number = j < kept ? contexts[j] : 0, begin = j < kept ? begins[j] : 0;
    u64 value = number ? (u64)1 << 32 | (u64)number : 0, sum = sum_up_to(value, lane), mine = before + sum - value;
    int row = (int)(mine >> 32), at = (int)(unsigned)mine;
    if (number) {
      target[row] = word[j];
      row_place[row] = place[j];
      row_offset[row] = at;
    }
    for (unsigned todo = __ballot_sync(ALL, number > 0); todo; todo &= todo - 1) {  // the warp together, row by row
      int chosen = __ffs((int)todo) - 1, itself = first + chosen;
      int from = __shfl_sync(ALL, begin, chosen), to = __shfl_sync(ALL, at, chosen), size = __shfl_sync(ALL, number, chosen);
#pragma unroll 1
      for (int k = lane; k < size; k += WARP) {
        int other = from + k;
        context[to + k] = word[other < itself ? other : other + 1];
      }
    }
    before += __shfl_sync(ALL, sum, WARP - 1);
  }
}

// ---- steps. Step s begins at token first_edge + s * batch_size of the token range.

__device__ __forceinline__ int row_count(const u64 *all) { return (int)(all[0] >> 32); }

// Rows, and contexts, before each step and before the end; `all` is the last of the totals.
KERNEL find_steps(const unsigned long long *all, const int *row_place, const int *row_offset, long long first_edge, long long batch_size,
                  int steps, int *bounds, int *context_bounds) {
  for (int step = blockIdx.x * blockDim.x + threadIdx.x; step <= steps; step += gridDim.x * blockDim.x) {
    long long edge = first_edge + step * batch_size;
    int low = 0, high = row_count(all);
    while (low < high) {
      int middle = low + (high - low) / 2;
      if (row_place[middle] < edge) low = middle + 1; else high = middle;
    }
    bounds[step] = low;
    context_bounds[step] = row_offset[low];
  }
}

// A step as a packed one (common.cu). Of `step` and the steps before it in a graph, `steps[0]` says which is meant:
// steps[1 + i * stride] and what follows are rows, contexts, learning rate, first row, first context, which of the two
// arrays of rows, tiles whose loss is taken, and where the scores of each go.
KERNEL copy_step(int *packed, const int *steps, int step, int stride, const int *target_0, const int *offset_0,
                 const int *context_0, const int *negatives_0, const int *target_1, const int *offset_1,
                 const int *context_1, const int *negatives_1, int count) {
  const int *mine = steps + 1 + (long long)(steps[0] + step) * stride;
  int rows = mine[0], contexts = mine[1], row = mine[3], context_begin = mine[4], tiles = mine[6];
  const int *target = mine[5] ? target_1 : target_0, *row_offset = mine[5] ? offset_1 : offset_0;
  const int *context = mine[5] ? context_1 : context_0, *negatives = mine[5] ? negatives_1 : negatives_0;
  int to_target = HEADER + tiles, to_offset = to_target + rows, to_context = to_offset + rows + 1;
  int to_negatives = to_context + contexts;
  int threads = gridDim.x * blockDim.x, first = blockIdx.x * blockDim.x + threadIdx.x;
  if (first == 0) {
    packed[0] = rows;
    packed[1] = contexts;
    packed[2] = mine[2];
    packed[3] = to_target;
    packed[4] = to_offset;
    packed[5] = to_context;
    packed[6] = to_negatives;
    packed[7] = HEADER;
  }
  for (int i = first; i < tiles; i += threads) packed[HEADER + i] = mine[7 + i];
  for (int i = first; i < rows; i += threads) packed[to_target + i] = target[row + i];
  for (int i = first; i <= rows; i += threads) packed[to_offset + i] = row_offset[row + i] - context_begin;
  for (int i = first; i < contexts; i += threads) packed[to_context + i] = context[context_begin + i];
  for (int i = first; i < rows * count; i += threads) packed[to_negatives + i] = negatives[(long long)row * count + i];
}

// ---- negatives

// The first draw of each; a thread makes two of a row, which share a random number.
KERNEL draw_negatives(const unsigned long long *all, const int *row_place, long long first_position, int epoch, unsigned k0, unsigned k1,
                      const unsigned long long *table, int vocabulary, int count, int *negatives) {
  int pairs = (count + 1) / 2;
  long long work = (long long)row_count(all) * pairs, threads = gridDim.x * blockDim.x;
  for (long long i = blockIdx.x * blockDim.x + threadIdx.x; i < work; i += threads) {
    int row = (int)(i / pairs), j = (int)(i % pairs);
    int *mine = negatives + (long long)row * count + 2 * j;
    uint4 drawn = philox(first_position + row_place[row], epoch, NEGATIVES_DRAWN, (unsigned)j, k0, k1);
    mine[0] = from_alias_table(drawn.x, drawn.y, table, vocabulary);
    if (2 * j + 1 < count) mine[1] = from_alias_table(drawn.z, drawn.w, table, vocabulary);
  }
}

__device__ __forceinline__ bool is_allowed(int word, const int *row, int k, int target, int policy) {
  if (word == target) return false;
  if (policy == DISTINCT)
    for (int j = 0; j < k; j++)
      if (row[j] == word) return false;
  return true;
}

// A thread a row, since with DISTINCT a negative depends on those before it.
KERNEL redraw_negatives(const unsigned long long *all, const int *row_place, long long first_position, int epoch, unsigned k0, unsigned k1,
                        const unsigned long long *table, const long long *weights, int vocabulary, int count, int policy,
                        const int *target, int *negatives) {
  int rows = row_count(all);
  for (int row = blockIdx.x * blockDim.x + threadIdx.x; row < rows; row += gridDim.x * blockDim.x) {
    int *mine = negatives + (long long)row * count;
    u64 position = first_position + row_place[row];
    for (int k = 0; k < count; k++) {
      int word = mine[k];
      if (is_allowed(word, mine, k, target[row], policy)) continue;
      bool found = false;
#pragma unroll 1
      for (int i = 0; i < REDRAWS && !found; i++) {
        uint4 drawn = philox(position, epoch, REDRAW, (unsigned)(REDRAWS * k + i), k0, k1);
        word = from_alias_table(drawn.x, drawn.y, table, vocabulary);
        found = is_allowed(word, mine, k, target[row], policy);
      }
      if (!found) {  // by running sums over what is still allowed; the host has seen to it that there is something
        u64 total = 0;
#pragma unroll 1
        for (int other = 0; other < vocabulary; other++)
          if (is_allowed(other, mine, k, target[row], policy)) total += (u64)weights[other];
        uint4 drawn = philox(position, epoch, EXACT_DRAW, (unsigned)k, k0, k1);
        u64 rest = __umul64hi((u64)drawn.x << 32 | drawn.y, total);
        for (word = 0; word < vocabulary; word++) {
          if (!is_allowed(word, mine, k, target[row], policy)) continue;
          if (rest < (u64)weights[word]) break;
          rest -= (u64)weights[word];
        }
      }
      mine[k] = word;
    }
  }
}

// ---- for the loss

// Rows of the tiles whose loss is taken, `tiles` of each step, TILE places a tile: target, number of contexts (0 where
// there is no row) and negatives.
KERNEL sample_rows(const int *bounds, const int *row_offset, const int *target, const int *negatives, int count, int steps,
                   int tiles, int *sampled_target, int *sampled_contexts, int *sampled_negatives) {
  long long places = (long long)steps * tiles * TILE, threads = gridDim.x * blockDim.x;
  for (long long i = blockIdx.x * blockDim.x + threadIdx.x; i < places; i += threads) {
    int step = (int)(i / (tiles * TILE)), in_step = (int)(i % (tiles * TILE));
    long long row = bounds[step] + (long long)(in_step / TILE) * (TILE * LOSS_TILES) + in_step % TILE;
    bool is_there = row < bounds[step + 1];
    sampled_target[i] = is_there ? target[row] : 0;
    sampled_contexts[i] = is_there ? row_offset[row + 1] - row_offset[row] : 0;
    for (int k = 0; k < count; k++) sampled_negatives[i * count + k] = is_there ? negatives[row * count + k] : 0;
  }
}
