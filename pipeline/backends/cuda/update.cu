// From gradient rows to weights. Gradient row i is that of sorted entry i (plan.cu).
#define ENTRIES 8  // that a warp looks after at a time

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

// C[chunk, row]: where a chunk has several gradient rows for a weight row, their sum takes the place of the first.
KERNEL sum_chunks(const int *count, const int *level, float *gradient) {
  int n = count[0], lane = threadIdx.x % WARP, stride = gridDim.x * (blockDim.x / WARP) * ENTRIES;
  for (int first = (blockIdx.x * blockDim.x + threadIdx.x) / WARP * ENTRIES; first < n; first += stride) {
    int i = first + lane;
    bool begins = lane < ENTRIES && i + 1 < n && (level[i] == NEW_CHUNK || level[i] == NEW_ROW) && level[i + 1] < NEW_CHUNK;
    for (unsigned todo = __ballot_sync(ALL, begins); todo; todo &= todo - 1) {
      int start = first + __ffs((int)todo) - 1;
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

// (context, output) pairs that touch the weight row whose entries begin at `start`.
__device__ __forceinline__ long long pairs_of_row(const Rows &batch, const int *level, const int *entry, int count, int start) {
  int lane = threadIdx.x % WARP;
  long long pairs = 0;
  bool more = true;
  for (int at = start; more; at += WARP) {
    unsigned mine = entries_of(level, count, start, at, JOINS, NEW_ROW, more);
    if (mine >> lane & 1) {
      int output = entry[at + lane] - batch.contexts;  // negative: the entry is a context's
      pairs += output < 0 ? OUTPUTS : pairs_of_output(batch, output / OUTPUTS);
    }
  }
#pragma unroll
  for (int step = WARP / 2; step; step /= 2) pairs += __shfl_xor_sync(ALL, pairs, step);
  return pairs;
}

// D: the sums of a weight row's chunks, added in order. Its entries begin at `start`.
__device__ __forceinline__ float4 sum_of_chunks(const int *level, int count, const float *gradient, int start, int column) {
  float4 sum = zero4();
  bool more = true;
  for (int at = start; more; at += WARP) {
    unsigned rows = entries_of(level, count, start, at, NEW_CHUNK, NEW_ROW, more);
    if (column < DIMS) sum = add_rows(sum, row_of(gradient, at) + column, rows);
  }
  return sum;
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
      float *weights = row < vocabulary ? row_of(w_in, row) : row_of(w_out, row - vocabulary);
      long long pairs = pairs_of_row(batch, level, entry, n, start);
      bool damped = is_damped(pairs, tau);
#pragma unroll 1
      for (int stripe = 0; stripe < STRIPES; stripe++) {
        int column = 4 * (lane + WARP * stripe);
        float4 sum = sum_of_chunks(level, n, gradient, start, column);
        float *moved = weights + column;
        if (column < DIMS && damped) store4(row_of(gradient, start) + column, sum);
        if (column < DIMS && !damped) store4(moved, fma4(batch.learning_rate, sum, load4(moved)));
      }
      if (damped) move_damped(weights, row_of(gradient, start), batch.learning_rate, tau, pairs);
    }
  }
}
