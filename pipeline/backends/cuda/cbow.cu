// CBOW: the gradient rows of a tile, from frozen weights. A block is a tile, a warp a row of the batch. Nothing here
// writes a row of the weights that another block reads.

// mean[t]: the row's contexts, added in order, times 1/m.
__device__ __forceinline__ void mean_of_contexts(const Rows &batch, int t, const float *w_in, float *mean) {
  int lane = threadIdx.x % WARP, begin = batch.offset[t], end = batch.offset[t + 1];
  float share = __fdiv_rn(1.f, __int2float_rn(end - begin));
  for (int column = 4 * lane; column < DIMS; column += 4 * WARP) {
    float4 sum = zero4();
    for (int i = begin; i < end; i++) sum = add4(sum, load4(row_of(w_in, batch.context[i]) + column));
    store4(row_of(mean, t) + column, scale4(sum, share));
  }
}

// Scores and gradient weights of the row's outputs: eight at a time, four threads each.
__device__ __forceinline__ void weigh_outputs(const int *out, const float *mean, const float *w_out, float *weight, float *scores,
                                              int zero_hits) {
  int lane = threadIdx.x % WARP, quarter = lane % 4;
  for (int part = 0; part < OUTPUTS; part += WARP / 4) {
    int mine = part + lane / 4, k = mine < OUTPUTS ? mine : OUTPUTS - 1;
    const float *y = row_of(w_out, out[k]);
    float4 sum = zero4();
#pragma unroll 4
    for (int q = 4 * quarter; q < DIMS; q += 16) sum = fma4(load4(mean + q), load4(y + q), sum);
    float score = total(sum);
    if (quarter == 0 && mine < OUTPUTS) {
      weight[k] = gradient_weight(score, k, out, zero_hits);
      if (scores) scores[k] = score;
    }
  }
}

// Gradient rows of the mean, which goes whole to each context, and of the outputs.
__device__ __forceinline__ void form_gradients(const Rows &batch, int t, const int *out, const int *places, const float *mean,
                                               float *mean_gradient, float *w_out, const float *weight, float *gradient) {
  for (int column = 4 * (threadIdx.x % WARP); column < DIMS; column += 4 * WARP) {
    float4 e = zero4(), h = load4(mean + column);
#pragma unroll 4
    for (int k = 0; k < OUTPUTS; k++) e = fma4(weight[k], load4(row_of(w_out, out[k]) + column), e);
    store4(mean_gradient + column, e);
    for (int k = 0; k < OUTPUTS; k++)
      place_output(batch, places[k], out[k], column, fma4(weight[k], h, zero4()), w_out, gradient);
  }
}

// T[tile, row]: a warp a context word of the tile. Its entries stand side by side among the sorted ones.
__device__ __forceinline__ void sum_contexts(int begin, int contexts, const int *owner, const int *count, const int *entry,
                                             const int *level, const int *place, const float *mean_gradient, float *gradient) {
  int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, warps = blockDim.x / WARP, n = count[0];
  for (int first = 0; first < contexts; first += WARP * warps) {
    int mine = first + lane * warps + warp, begins = mine < contexts ? place[begin + mine] : -1;
    for (unsigned todo = __ballot_sync(ALL, begins >= 0); todo; todo &= todo - 1) {
      int start = __shfl_sync(ALL, begins, __ffs((int)todo) - 1);
#pragma unroll 1
      for (int stripe = 0; stripe < STRIPES; stripe++) {
        int column = 4 * (lane + WARP * stripe);
        float4 sum = zero4();
        bool more = true;
        for (int at = start; more; at += WARP) {
          unsigned entries = entries_of(level, n, start, at, JOINS, NEW_SUM, more);
          int t = entries >> lane & 1 ? owner[entry[at + lane]] : 0;
          for (; entries; entries &= entries - 1) {
            int row = __shfl_sync(ALL, t, __ffs((int)entries) - 1);
            if (column < DIMS) sum = add4(sum, load4(row_of(mean_gradient, row) + column));
          }
        }
        if (column < DIMS) store4(row_of(gradient, start) + column, sum);
      }
    }
  }
}

BUSY_KERNEL sum_cbow_tiles(const int *packed, const int *owner, const int *output, const int *count, const int *entry,
                           const int *level, const int *place, const float *w_in, float *w_out, float *mean,
                           float *mean_gradient, float *weight, float *gradient, float *scores, int zero_hits) {
  Rows batch = unpack(packed);
  int tile = blockIdx.x, first = tile * TILE, last = first + TILE < batch.rows ? first + TILE : batch.rows;
  if (first >= last) return;
  int begin = batch.offset[first], contexts = batch.offset[last] - begin;
  float *sampled = tile % LOSS_TILES ? 0 : scores + batch.scores_at[tile / LOSS_TILES];
  for (int t = first + threadIdx.x / WARP; t < last; t += blockDim.x / WARP) {
    if (batch.offset[t] == batch.offset[t + 1]) continue;
    const int *out = output + t * PADDED_OUTPUTS;
    float *weights = weight + (long long)t * PADDED_OUTPUTS;
    mean_of_contexts(batch, t, w_in, mean);
    __syncwarp();
    weigh_outputs(out, row_of(mean, t), w_out, weights, sampled ? sampled + (t - first) * OUTPUTS : 0, zero_hits);
    __syncwarp();
    form_gradients(batch, t, out, place + batch.contexts + t * OUTPUTS, row_of(mean, t), row_of(mean_gradient, t), w_out,
                   weights, gradient);
  }
  __syncthreads();
  sum_contexts(begin, contexts, owner, count, entry, level, place, mean_gradient, gradient);
}
