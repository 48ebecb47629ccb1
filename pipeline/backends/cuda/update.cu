// From gradient rows to weights. Gradient row i is that of sorted entry i (plan.cu).
#define ENTRIES 8  // that a warp looks after at a time, for their weight rows

// Hands on four numbers of an output's gradient row: to the weights if it is their only one in the step, else to its
// place, where they are summed later. A row in place is never damped (find_levels).
__device__ __forceinline__ void place_output(const Rows &batch, int place, int row, int column, float4 e, float *w_out,
                                             float *gradient) {
  float4 sum = add4(zero4(), e);
  if (place >= 0) {
    store4(row_of(gradient, place) + column, sum);
  } else {
    float *weights = row_of(w_out, row) + column;
    store4(weights, fma4(batch.learning_rate, sum, load4(weights)));
  }
}

// Adds rows[i] for each bit i of `mask`, in order; four loads are on their way at a time.
__device__ __forceinline__ float4 add_rows(float4 sum, const float *rows, unsigned mask) {
  while (mask) {
    int i[4];
    float4 row[4];
#pragma unroll
    for (int j = 0; j < 4; j++) {
      i[j] = __ffs((int)mask) - 1;
      mask &= mask - 1;
      if (i[j] >= 0) row[j] = load4(rows + (long long)i[j] * DIMS);
    }
#pragma unroll
    for (int j = 0; j < 4; j++)
      if (i[j] >= 0) sum = add4(sum, row[j]);
  }
  return sum;
}

// ---- long weight rows, those of WARP sorted entries or more: their chunks are summed first, each by a warp of its own.
// So one that is in every tile of the step is summed by many warps, and the others make no detour through memory.

// Whether the weight row that sorted entry i belongs to is long. Its entries stand side by side.
__device__ __forceinline__ bool is_long(const int *key, int count, int i) {
  int row = key[i], lane = threadIdx.x % WARP, before = i - 1 - lane, after = i + 1 + lane;
  unsigned others = __popc(__ballot_sync(ALL, before >= 0 && key[before] == row));
  others += __popc(__ballot_sync(ALL, after < count && key[after] == row));
  return others >= WARP - 1;
}

// C[chunk, row]: where a chunk has several gradient rows for a long weight row, their sum takes the place of the first.
KERNEL sum_chunks(const int *count, const int *key, const int *level, float *gradient) {
  int n = count[0], lane = threadIdx.x % WARP, stride = gridDim.x * blockDim.x;
  for (int first = (blockIdx.x * blockDim.x + threadIdx.x) / WARP * WARP; first < n; first += stride) {
    int i = first + lane;
    bool begins = i + 1 < n && (level[i] == NEW_CHUNK || level[i] == NEW_ROW) && level[i + 1] < NEW_CHUNK;
    // half of a long row is before or behind each of its entries: few others are looked at
    begins = begins && ((i >= WARP / 2 && key[i - WARP / 2] == key[i]) || (i + WARP / 2 < n && key[i + WARP / 2] == key[i]));
    for (unsigned todo = __ballot_sync(ALL, begins); todo; todo &= todo - 1) {
      int start = first + __ffs((int)todo) - 1;
      if (!is_long(key, n, start)) continue;
#pragma unroll 1
      for (int stripe = 0; stripe < STRIPES; stripe++) {
        int column = 4 * (lane + WARP * stripe);
        float4 sum = zero4();
        bool more = true;
        for (int at = start; more; at += WARP) {
          unsigned rows = entries_of(level, n, start, at, NEW_SUM, NEW_CHUNK, more);
          if (column < DIMS) sum = add_rows(sum, row_of(gradient, at) + column, rows);
        }
        if (column < DIMS) store4(row_of(gradient, start) + column, sum);
      }
    }
  }
}

// ---- all weight rows

// D of a long row: the sums of its chunks, added in order. Its entries begin at `start`.
__device__ __forceinline__ float4 sum_of_chunks(const int *level, int count, const float *gradient, int start, int column) {
  float4 sum = zero4();
  bool more = true;
  for (int at = start; more; at += AHEAD * WARP) {
    unsigned rows[AHEAD];
    more = entries_ahead(level, count, start, at, NEW_CHUNK, NEW_ROW, rows);
#pragma unroll
    for (int a = 0; a < AHEAD; a++)
      if (column < DIMS) sum = add_rows(sum, row_of(gradient, at + WARP * a) + column, rows[a]);
  }
  return sum;
}

// D of a row that is not long: gradient rows, a bit each, added to the sums of their chunks, which begin at other bits.
__device__ __forceinline__ float4 sum_of_row(const float *gradient, unsigned rows, unsigned chunks) {
  float4 sum = zero4(), chunk = zero4();
  for (; rows; rows &= rows - 1) {
    int i = __ffs((int)rows) - 1;
    float4 row = load4(gradient + (long long)i * DIMS);
    if (chunks >> i & 1) {
      sum = add4(sum, chunk);
      chunk = zero4();
    }
    chunk = add4(chunk, row);
  }
  return add4(sum, chunk);
}

// Of all threads of the warp.
__device__ __forceinline__ long long sum_of_lanes(long long value) {
#pragma unroll
  for (int step = WARP / 2; step; step /= 2) value += __shfl_xor_sync(ALL, value, step);
  return value;
}

// (context, output) pairs that the weight row's entries from `at` on stand for, those that are the bits of `mine`.
__device__ __forceinline__ long long pairs_of_entries(const Rows &batch, const int *entry, bool is_output, int at, unsigned mine) {
  if (!is_output) return __popc(mine) * OUTPUTS;
  if (CBOW) return __popc(mine);
  int lane = threadIdx.x % WARP;
  return sum_of_lanes(mine >> lane & 1 ? pairs_of_output(batch, (entry[at + lane] - batch.contexts) / OUTPUTS) : 0);
}

// The same of AHEAD * WARP entries of an output of skip-gram, and of this thread's entries alone. Loads do not wait for
// each other.
__device__ __forceinline__ int pairs_ahead(const Rows &batch, const int *entry, int at, const unsigned *masks) {
  int lane = threadIdx.x % WARP, t[AHEAD], begin[AHEAD], end[AHEAD], pairs = 0;
#pragma unroll
  for (int a = 0; a < AHEAD; a++) t[a] = masks[a] >> lane & 1 ? entry[at + WARP * a + lane] : -1;
#pragma unroll
  for (int a = 0; a < AHEAD; a++) {
    int row = (t[a] - batch.contexts) / OUTPUTS;
    begin[a] = t[a] < 0 ? 0 : batch.offset[row];
    end[a] = t[a] < 0 ? 0 : batch.offset[row + 1];
  }
#pragma unroll
  for (int a = 0; a < AHEAD; a++) pairs += end[a] - begin[a];
  return pairs;
}
// A warp moves a damped row of the weights by its summed gradient, which it has just stored.
__device__ __forceinline__ void move_damped(float *weights, const float *sum, float learning_rate, float tau, long long pairs) {
  int lane = threadIdx.x % WARP;
  __syncwarp();
  float4 squares = zero4();  // of the sixteen lanes: each group of four threads does all of them
  for (int q = 4 * (lane % 4); q < DIMS; q += 16) squares = fma4(load4(sum + q), load4(sum + q), squares);
  float scale = damped_scale(learning_rate, tau, pairs, total(squares));
  for (int column = 4 * lane; column < DIMS; column += 4 * WARP)
    store4(weights + column, fma4(scale, load4(sum + column), load4(weights + column)));
}

// A warp a weight row: moves it by its summed gradient, once.
KERNEL update_weights(const int *packed, const int *count, const int *key, const int *entry, const int *level,
                      float *gradient, float *w_in, float *w_out, float tau, int vocabulary) {
  Rows batch = unpack(packed);
  int n = count[0], lane = threadIdx.x % WARP, stride = gridDim.x * (blockDim.x / WARP) * ENTRIES;
  for (int first = (blockIdx.x * blockDim.x + threadIdx.x) / WARP * ENTRIES; first < n; first += stride) {
    bool begins = lane < ENTRIES && first + lane < n && level[first + lane] == NEW_ROW;
    for (unsigned todo = __ballot_sync(ALL, begins); todo; todo &= todo - 1) {
      int start = first + __ffs((int)todo) - 1, row = key[start];
      bool is_output = row >= vocabulary, more;
      float *weights = is_output ? row_of(w_out, row - vocabulary) : row_of(w_in, row);
      int found = start + lane < n ? level[start + lane] : ALONE;
      unsigned mine = entries_of(level, n, start, start, JOINS, NEW_ROW, more);
      unsigned rows = __ballot_sync(ALL, found >= NEW_SUM) & mine, chunks = __ballot_sync(ALL, found >= NEW_CHUNK) & mine;
      long long pairs = pairs_of_entries(batch, entry, is_output, start, mine);
      bool row_is_long = more, reads_rows = is_output && !CBOW;
      long long later = 0, of_lane = 0;  // pairs of the entries behind the first ones
      for (int at = start + WARP; more; at += AHEAD * WARP) {
        unsigned masks[AHEAD];
        more = entries_ahead(level, n, start, at, JOINS, NEW_ROW, masks);
        if (reads_rows) of_lane += pairs_ahead(batch, entry, at, masks);
#pragma unroll
        for (int a = 0; a < AHEAD && !reads_rows; a++) later += pairs_of_entries(batch, entry, is_output, at, masks[a]);
      }
      if (row_is_long) pairs += reads_rows ? sum_of_lanes(of_lane) : later;
      bool damped = is_damped(pairs, tau);
#pragma unroll 1
      for (int stripe = 0; stripe < STRIPES; stripe++) {
        int column = 4 * (lane + WARP * stripe);
        float4 sum = zero4();
        if (row_is_long)
          sum = sum_of_chunks(level, n, gradient, start, column);
        else if (column < DIMS)
          sum = sum_of_row(row_of(gradient, start) + column, rows, chunks);
        float *moved = weights + column;
        if (column < DIMS && damped) store4(row_of(gradient, start) + column, sum);
        if (column < DIMS && !damped) store4(moved, fma4(batch.learning_rate, sum, load4(moved)));
      }
      if (damped) move_damped(weights, row_of(gradient, start), batch.learning_rate, tau, pairs);
    }
  }
}
