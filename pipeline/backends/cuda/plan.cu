// The plan of a step: which gradient rows meet in which row of the weights. It knows no weights, so it is made on a
// stream of its own while the step before is trained. All entries of the step are sorted by the weight row that they
// touch, stably: those of one weight row then stand side by side, in the order of the batch.
#define NONE 0x7fffffff  // the key of an entry that takes no part: an output of a row without contexts
#define SORTED_BY_A_THREAD 8
#define SORTED_BY_A_WARP (WARP * SORTED_BY_A_THREAD)
#define DIGITS 256       // a pass of the sort looks at 8 bits

// What begins at a sorted entry. Each level is also all those below it.
enum { JOINS = 0,        // nothing: the context word has been met before in its tile
       NEW_SUM = 1,      // a gradient row: a context word of a tile, or an output
       NEW_CHUNK = 2,    // the gradient rows that one chunk has for the weight row
       NEW_ROW = 3,      // a weight row
       ALONE = 4 };      // an output that is its weight row's only entry in the step, and not damped: updated in place

// A warp a row of the batch. Keys are rows of w_in, or `vocabulary` + rows of w_out.
KERNEL list_entries(const int *packed, int *key, int *owner, int *output, int *entries, int vocabulary) {
  Rows batch = unpack(packed);
  int lane = threadIdx.x % WARP, warps = gridDim.x * (blockDim.x / WARP);
  if (blockIdx.x == 0 && threadIdx.x == 0) entries[0] = batch.contexts + batch.rows * OUTPUTS;
  for (int t = (blockIdx.x * blockDim.x + threadIdx.x) / WARP; t < batch.rows; t += warps) {
    int begin = batch.offset[t], end = batch.offset[t + 1];
    for (int i = begin + lane; i < end; i += WARP) {
      key[i] = batch.context[i];
      owner[i] = t;
    }
    for (int k = lane; k < OUTPUTS; k += WARP) {
      int word = k ? batch.negatives[t * NEGATIVES + k - 1] : batch.target[t];
      output[t * PADDED_OUTPUTS + k] = word;
      key[batch.contexts + t * OUTPUTS + k] = begin < end ? vocabulary + word : NONE;
    }
  }
}

// ---- a stable radix sort of (key, entry): for each digit, count, scan and scatter. The first pass drops the NONEs.

// Histograms of the blocks' stretches, [digit][block].
KERNEL count_digits(const int *count, const int *key, int *histogram, int shift) {
  SHARED(int, counts, DIGITS);
  for (int d = threadIdx.x; d < DIGITS; d += blockDim.x) counts[d] = 0;
  __syncthreads();
  int stretch = blockDim.x * SORTED_BY_A_THREAD, begin = blockIdx.x * stretch;
  int end = begin + stretch < count[0] ? begin + stretch : count[0];
  for (int i = begin + threadIdx.x; i < end; i += blockDim.x)
    if (key[i] != NONE) atomicAdd(&counts[key[i] >> shift & (DIGITS - 1)], 1);
  __syncthreads();
  for (int d = threadIdx.x; d < DIGITS; d += blockDim.x) histogram[d * gridDim.x + blockIdx.x] = counts[d];
}

__device__ __forceinline__ int inclusive_scan(int value, int lane) {
#pragma unroll
  for (int step = 1; step < WARP; step *= 2) {
    int below = __shfl_up_sync(ALL, value, step);
    if (lane >= step) value += below;
  }
  return value;
}

// A warp a digit: its counts become sums over the blocks before; and its total.
KERNEL scan_digits(int *histogram, int *total, int blocks) {
  int lane = threadIdx.x % WARP, warps = gridDim.x * (blockDim.x / WARP);
  for (int d = (blockIdx.x * blockDim.x + threadIdx.x) / WARP; d < DIGITS; d += warps) {
    int *counts = histogram + (long long)d * blocks, before = 0;
    for (int first = 0; first < blocks; first += WARP) {
      int block = first + lane, value = block < blocks ? counts[block] : 0, sum = inclusive_scan(value, lane);
      if (block < blocks) counts[block] = before + sum - value;
      before += __shfl_sync(ALL, sum, WARP - 1);
    }
    if (lane == 0) total[d] = before;
  }
}

// Moves every pair to its place. A warp has a stretch of its own, 32 pairs at a time, so that equal digits keep their
// order. In the first pass (`first`) a pair's entry is its index, and the pairs that are kept are counted.
KERNEL scatter_pairs(const int *count, const int *key, const int *entry, int *key_out, int *entry_out,
                     const int *histogram, const int *total, int *kept, int shift, int first) {
  SHARED(int, next, THREADS / WARP * DIGITS);  // [warp][digit]: first counts, then where the next pair goes
  SHARED(int, digit_begins, DIGITS);
  int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, warps = blockDim.x / WARP;
  for (int i = threadIdx.x; i < warps * DIGITS; i += blockDim.x) next[i] = 0;
  if (warp == 0) {
    int before = 0;
    for (int d = 0; d < DIGITS; d += WARP) {
      int value = total[d + lane], sum = inclusive_scan(value, lane);
      digit_begins[d + lane] = before + sum - value;
      before += __shfl_sync(ALL, sum, WARP - 1);
    }
    if (first && blockIdx.x == 0 && lane == 0) kept[0] = before;
  }
  __syncthreads();
  int *mine = next + warp * DIGITS, begin = (blockIdx.x * warps + warp) * SORTED_BY_A_WARP;
  for (int round = 0; round < SORTED_BY_A_THREAD; round++) {
    int i = begin + round * WARP + lane, x = i < count[0] ? key[i] : NONE;
    if (x != NONE) atomicAdd(&mine[x >> shift & (DIGITS - 1)], 1);
  }
  __syncthreads();
  for (int d = threadIdx.x; d < DIGITS; d += blockDim.x) {
    int at = digit_begins[d] + histogram[(long long)d * gridDim.x + blockIdx.x];
    for (int w = 0; w < warps; w++) {
      int number = next[w * DIGITS + d];
      next[w * DIGITS + d] = at;
      at += number;
    }
  }
  __syncthreads();
  for (int round = 0; round < SORTED_BY_A_THREAD; round++) {
    int i = begin + round * WARP + lane, x = i < count[0] ? key[i] : NONE;
    int digit = x != NONE ? x >> shift & (DIGITS - 1) : DIGITS;
    unsigned peers = __match_any_sync(ALL, (unsigned)digit), before = peers & ((1u << lane) - 1);
    int at = x != NONE ? mine[digit] + __popc(before) : 0;
    __syncwarp();
    if (x != NONE) {
      key_out[at] = x;
      entry_out[at] = first ? i : entry[i];
      if (!before) mine[digit] += __popc(peers);
    }
    __syncwarp();
  }
}

// ---- what the sorted entries mean

__device__ __forceinline__ int batch_row(const Rows &batch, const int *owner, int entry) {
  return entry < batch.contexts ? owner[entry] : (entry - batch.contexts) / OUTPUTS;
}

// The level of each sorted entry; and for each entry where its gradient row goes, -1 if it has none.
KERNEL find_levels(const int *packed, const int *count, const int *key, const int *entry, const int *owner, int *level,
                   int *place, float tau, int vocabulary) {
  Rows batch = unpack(packed);
  int n = count[0];
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    int row = key[i], mine = entry[i], t = batch_row(batch, owner, mine), found = NEW_ROW;
    if (i > 0 && key[i - 1] == row) {
      int before = batch_row(batch, owner, entry[i - 1]);
      bool sums = row >= vocabulary || before / TILE != t / TILE;
      found = before / CHUNK != t / CHUNK ? NEW_CHUNK : sums ? NEW_SUM : JOINS;
    } else if (row >= vocabulary && (i + 1 == n || key[i + 1] != row) && !is_damped(pairs_of_output(batch, t), tau)) {
      found = ALONE;
    }
    level[i] = found;
    place[mine] = found == JOINS || found == ALONE ? -1 : i;
  }
}

// A stretch of sorted entries begins at `start` and ends before the next one of at least level `stop`. Of its 32 entries
// from `at` on: the start itself and those of at least level `wanted`, a bit each. `more`: it goes on after those.
__device__ __forceinline__ unsigned entries_of(const int *level, int count, int start, int at, int wanted, int stop, bool &more) {
  int i = at + threadIdx.x % WARP, found = i < count ? level[i] : ALONE;
  unsigned begins = __ballot_sync(ALL, i == start || found >= wanted), ends = __ballot_sync(ALL, i != start && found >= stop);
  more = !ends;
  return ends ? begins & ((ends & -ends) - 1) : begins;
}
// The same of AHEAD * WARP entries, a mask for each WARP: their levels are on their way together. True: it goes on.
#define AHEAD 4
__device__ __forceinline__ bool entries_ahead(const int *level, int count, int start, int at, int wanted, int stop, unsigned *masks) {
  int lane = threadIdx.x % WARP, found[AHEAD];
#pragma unroll
  for (int a = 0; a < AHEAD; a++) found[a] = at + WARP * a + lane < count ? level[at + WARP * a + lane] : ALONE;
  bool more = true;
#pragma unroll
  for (int a = 0; a < AHEAD; a++) {
    int i = at + WARP * a + lane;
    unsigned begins = __ballot_sync(ALL, i == start || found[a] >= wanted), ends = __ballot_sync(ALL, i != start && found[a] >= stop);
    masks[a] = !more ? 0 : ends ? begins & ((ends & -ends) - 1) : begins;
    more = more && !ends;
  }
  return more;
}
