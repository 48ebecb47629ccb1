// Skip-gram: the gradient rows of a tile, from frozen weights. A block is a tile, so that the rows it reads stay in the
// cache of its multiprocessor. Nothing here writes a row of the weights that another block reads.

#define STEPS 2  // of sixteen numbers, between two moves of the pointers: constants beside a pointer cost no instruction

// sum[c] += x times y[c], for so many times sixteen numbers, of which a thread has every fourth four. The pointers move on.
__device__ __forceinline__ void add_products(float4 *sum, const float *&x, const float **y, int steps) {
#pragma unroll
  for (int q = 0; q < 16 * steps; q += 16) {
    float4 value = load4(x + q);
#pragma unroll
    for (int c = 0; c < PART; c++) sum[c] = fma4(value, load4(y[c] + q), sum[c]);
  }
  x += 16 * steps;
#pragma unroll
  for (int c = 0; c < PART; c++) y[c] += 16 * steps;
}

// Scores and gradient weights of the tile's pairs. Four threads a context hold the sixteen lanes; eight contexts a warp.
__device__ __forceinline__ void weigh_pairs(const Rows &batch, int begin, int contexts, const int *owner, const int *output,
                                            const float *w_in, const float *w_out, float *weight, float *scores, int zero_hits) {
  int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, warps = blockDim.x / WARP, quarter = lane % 4;
  for (int first = warp * 8; first < contexts; first += warps * 8) {
    int mine = first + lane / 4, i = begin + (mine < contexts ? mine : contexts - 1);
    const int *out = output + owner[i] * PADDED_OUTPUTS;
    const float *x = row_of(w_in, batch.context[i]) + 4 * quarter;
#pragma unroll 1
    for (int part = 0; part < OUTPUTS; part += PART) {
      const float *y[PART];
      float4 sum[PART];
#pragma unroll
      for (int c = 0; c < PART; c++) {
        int k = part + c < OUTPUTS ? part + c : OUTPUTS - 1;
        y[c] = row_of(w_out, out[k]) + 4 * quarter;
        sum[c] = zero4();
      }
      const float *column = x;
#pragma unroll 1
      for (int i = 0; i < DIMS / (16 * STEPS); i++) add_products(sum, column, y, STEPS);
      add_products(sum, column, y, DIMS / 16 % STEPS);
      float score[PART];
#pragma unroll
      for (int c = 0; c < PART; c++) score[c] = total(sum[c]);
#pragma unroll
      for (int c = 0; c < PART; c += 4) {  // each of the four threads weighs every fourth output
        float own = score[c];
#pragma unroll
        for (int other = 1; other < 4; other++)
          if (c + other < PART && quarter == other) own = score[c + other];
        int k = part + c + quarter;
        if (mine < contexts && c + quarter < PART && k < OUTPUTS) {
          weight[(long long)i * PADDED_OUTPUTS + k] = gradient_weight(own, k, out, zero_hits);
          if (scores) scores[(long long)mine * OUTPUTS + k] = own;
        }
      }
    }
  }
}

// e of an input row: the pair's outputs, weighted.
__device__ __forceinline__ float4 context_gradient(const float *weight, const int *out, const float *w_out, int column) {
  float4 e = zero4();
#pragma unroll 4
  for (int k = 0; k < OUTPUTS; k += 4) {
    float4 g = load4(weight + k);
    int4 row = *(const int4 *)(out + k);
    e = fma4(g.x, load4(row_of(w_out, row.x) + column), e);
    if (k + 1 < OUTPUTS) e = fma4(g.y, load4(row_of(w_out, row.y) + column), e);
    if (k + 2 < OUTPUTS) e = fma4(g.z, load4(row_of(w_out, row.z) + column), e);
    if (k + 3 < OUTPUTS) e = fma4(g.w, load4(row_of(w_out, row.w) + column), e);
  }
  return e;
}

// T[tile, row]: a warp a context word of the tile. The pairs of the word stand side by side among the sorted entries.
__device__ __forceinline__ void sum_contexts(int begin, int contexts, const int *owner, const int *output, const int *count,
                                             const int *entry, const int *level, const int *place, const float *w_out,
                                             const float *weight, float *gradient) {
  int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, warps = blockDim.x / WARP, n = count[0];
#pragma unroll 1
  for (int stripe = 0; stripe < STRIPES; stripe++) {  // the outermost loop: 128 numbers of each row fit the cache
    int column = 4 * (lane + WARP * stripe);
    for (int first = 0; first < contexts; first += WARP * warps) {
      int mine = first + lane * warps + warp, begins = mine < contexts ? place[begin + mine] : -1;
      for (unsigned todo = __ballot_sync(ALL, begins >= 0); todo; todo &= todo - 1) {
        int start = __shfl_sync(ALL, begins, __ffs((int)todo) - 1);
        float4 sum = zero4();
        bool more = true;
        for (int at = start; more; at += WARP) {
          unsigned pairs = entries_of(level, n, start, at, JOINS, NEW_SUM, more);
          int pair = at + lane < n ? entry[at + lane] : 0;
          for (; pairs; pairs &= pairs - 1) {
            int i = __shfl_sync(ALL, pair, __ffs((int)pairs) - 1);
            if (column < DIMS)
              sum = add4(sum, context_gradient(weight + (long long)i * PADDED_OUTPUTS, output + owner[i] * PADDED_OUTPUTS, w_out, column));
          }
        }
        if (column < DIMS) store4(row_of(gradient, start) + column, sum);
      }
    }
  }
}

// e of the output rows: a warp a row of the batch, PART of its outputs at a time.
__device__ __forceinline__ void sum_outputs(const Rows &batch, int t, const int *output, const int *place, const float *w_in,
                                            float *w_out, const float *weight, float *gradient) {
  int lane = threadIdx.x % WARP, begin = batch.offset[t], end = batch.offset[t + 1];
  const int *out = output + t * PADDED_OUTPUTS, *places = place + batch.contexts + t * OUTPUTS;
  if (begin == end) return;
#pragma unroll 1
  for (int column = 4 * lane; column < DIMS; column += 4 * WARP) {
#pragma unroll 1
    for (int part = 0; part < OUTPUTS; part += PART) {
      float4 e[PART];
#pragma unroll
      for (int c = 0; c < PART; c++) e[c] = zero4();
#pragma unroll 2
      for (int i = begin; i < end; i++) {
        float4 x = load4(row_of(w_in, batch.context[i]) + column);
        const float *g = weight + (long long)i * PADDED_OUTPUTS + part;
#pragma unroll
        for (int c = 0; c < PART; c += 4) {
          if (part + c >= OUTPUTS) continue;
          float4 four = load4(g + c);
          e[c] = fma4(four.x, x, e[c]);
          if (c + 1 < PART) e[c + 1] = fma4(four.y, x, e[c + 1]);
          if (c + 2 < PART) e[c + 2] = fma4(four.z, x, e[c + 2]);
          if (c + 3 < PART) e[c + 3] = fma4(four.w, x, e[c + 3]);
        }
      }
#pragma unroll
      for (int c = 0; c < PART; c++)
        if (part + c < OUTPUTS) place_output(batch, places[part + c], out[part + c], column, e[c], w_out, gradient);
    }
  }
}

BUSY_KERNEL sum_skipgram_tiles(const int *packed, const int *owner, const int *output, const int *count, const int *entry,
                               const int *level, const int *place, const float *w_in, float *w_out, float *weight,
                               float *gradient, float *scores, int zero_hits) {
  Rows batch = unpack(packed);
  int tile = blockIdx.x, first = tile * TILE, last = first + TILE < batch.rows ? first + TILE : batch.rows;
  if (first >= last) return;
  int begin = batch.offset[first], contexts = batch.offset[last] - begin;
  float *sampled = tile % LOSS_TILES ? 0 : scores + batch.scores_at[tile / LOSS_TILES];
  weigh_pairs(batch, begin, contexts, owner, output, w_in, w_out, weight, sampled, zero_hits);
  __syncthreads();
  sum_contexts(begin, contexts, owner, output, count, entry, level, place, w_out, weight, gradient);
  __syncthreads();  // from here on rows of w_out change, those that only this tile reads
  for (int t = first + threadIdx.x / WARP; t < last; t += blockDim.x / WARP)
    sum_outputs(batch, t, output, place, w_in, w_out, weight, gradient);
}
