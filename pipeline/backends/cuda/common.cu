// What the kernels of the training step share. The numbers are those of docs/definition.md, "The training
// step": every float operation is an intrinsic that rounds once (_rn), so neither contraction, nor the size of a
// block, nor the order in which threads run can change a bit. One flag could: -ftz=true makes zeros of denormal
// numbers (launcher.py gives -ftz=false). Warps always work with all 32 threads.
//
// DIMS       numbers in a row of the weights, a multiple of 16
// NEGATIVES  negatives of a row of the batch
// CBOW       1: the mean of the contexts predicts the target; 0: each of them does
// TILE, CHUNK, LOSS_TILES   as in pipeline/backends/backend.py
#define OUTPUTS (NEGATIVES + 1)                    // of a row: its target, then its negatives
#define PADDED_OUTPUTS ((OUTPUTS + 3) / 4 * 4)
#define PART (OUTPUTS < 8 ? OUTPUTS : 8)           // outputs that a thread holds in registers at a time
#define STRIPES ((DIMS + 127) / 128)               // a warp takes 128 numbers of a row at a time, four a thread

// ---- a step's rows, as the host packs them (or a kernel, for rows that are made on the device)

struct Rows {
  int rows;              // n
  int contexts;          // of all rows together
  float learning_rate;
  const int *target;     // [n]
  const int *offset;     // [n + 1] from 0: row t's contexts are context[offset[t]] to context[offset[t + 1] - 1]
  const int *context;    // [contexts]
  const int *negatives;  // [n NEGATIVES]
  const int *scores_at;  // [tiles / LOSS_TILES, rounded up]: where the scores of a tile go whose loss is taken
};
__device__ __forceinline__ Rows unpack(const int *packed) {  // packed[3..7]: where the arrays begin
  Rows batch;
  batch.rows = packed[0];
  batch.contexts = packed[1];
  batch.learning_rate = __int_as_float(packed[2]);
  batch.target = packed + packed[3];
  batch.offset = packed + packed[4];
  batch.context = packed + packed[5];
  batch.negatives = packed + packed[6];
  batch.scores_at = packed + packed[7];
  return batch;
}
// An entry is one (row, context) or (row, output) of the step, numbered in that order: `contexts` of the former, then
// rows * OUTPUTS of the latter. (context, output) pairs that an output's entry stands for:
__device__ __forceinline__ int pairs_of_output(const Rows &batch, int t) {
  return CBOW ? 1 : batch.offset[t + 1] - batch.offset[t];
}

// ---- four numbers of a row at a time

__device__ __forceinline__ const float *row_of(const float *weights, int row) { return weights + (long long)row * DIMS; }
__device__ __forceinline__ float *row_of(float *weights, int row) { return weights + (long long)row * DIMS; }
__device__ __forceinline__ float4 load4(const float *p) { return *(const float4 *)p; }
__device__ __forceinline__ void store4(float *p, float4 v) { *(float4 *)p = v; }
__device__ __forceinline__ float4 zero4() { return make_float4(0.f, 0.f, 0.f, 0.f); }
__device__ __forceinline__ float4 add4(float4 a, float4 b) {
  return make_float4(__fadd_rn(a.x, b.x), __fadd_rn(a.y, b.y), __fadd_rn(a.z, b.z), __fadd_rn(a.w, b.w));
}
__device__ __forceinline__ float4 scale4(float4 a, float s) {
  return make_float4(__fmul_rn(a.x, s), __fmul_rn(a.y, s), __fmul_rn(a.z, s), __fmul_rn(a.w, s));
}
__device__ __forceinline__ float4 fma4(float4 a, float4 b, float4 c) {
  return make_float4(__fmaf_rn(a.x, b.x, c.x), __fmaf_rn(a.y, b.y, c.y), __fmaf_rn(a.z, b.z, c.z), __fmaf_rn(a.w, b.w, c.w));
}
__device__ __forceinline__ float4 fma4(float s, float4 b, float4 c) { return fma4(make_float4(s, s, s, s), b, c); }

// ---- the arithmetic of the definition

// dot(x, y) of the sixteen lanes: four threads hold four each. Thread 4j + q has lanes 4q to 4q + 3 of sum j.
__device__ __forceinline__ float4 fold4(float4 s, int threads) {
  return make_float4(__fadd_rn(s.x, __shfl_xor_sync(ALL, s.x, threads)), __fadd_rn(s.y, __shfl_xor_sync(ALL, s.y, threads)),
                     __fadd_rn(s.z, __shfl_xor_sync(ALL, s.z, threads)), __fadd_rn(s.w, __shfl_xor_sync(ALL, s.w, threads)));
}
__device__ __forceinline__ float total(float4 s) {
  s = fold4(s, 2);                                           // lanes l and l + 8
  s = fold4(s, 1);                                           // l and l + 4
  return __fadd_rn(__fadd_rn(s.x, s.z), __fadd_rn(s.y, s.w));  // l and l + 2, then 0 and 1
}
__device__ __forceinline__ float horner(float u, float sum, float coefficient) {
  return __fadd_rn(coefficient, __fmul_rn(u, sum));
}
// -sigmoid(score) by a rational tanh(score / 2); the coefficients are those of arithmetic.py
__device__ __forceinline__ float minus_sigmoid(float score) {
  float h = __fmul_rn(score, 0.5f);
  h = h < -7.9f ? -7.9f : h;
  h = h > 7.9f ? 7.9f : h;
  float u = __fmul_rn(h, h);
  float p = horner(u, -2.76076847742355e-16f, 2.00018790482477e-13f);
  p = horner(u, p, -8.60467152213735e-11f);
  p = horner(u, p, 5.12229709037114e-08f);
  p = horner(u, p, 1.48572235717979e-05f);
  p = horner(u, p, 6.37261928875436e-04f);
  p = __fmul_rn(h, horner(u, p, 4.89352455891786e-03f));
  float q = horner(u, 1.19825839466702e-06f, 1.18534705686654e-04f);
  q = horner(u, q, 2.26843463243900e-03f);
  q = horner(u, q, 4.89352518554385e-03f);
  return __fsub_rn(-0.5f, __fmul_rn(0.5f, __fdiv_rn(p, q)));
}
// what output k of a row weighs in the gradients
__device__ __forceinline__ float gradient_weight(float score, int k, const int *output, int zero_hits) {
  float g = minus_sigmoid(score);
  if (k == 0) return __fadd_rn(g, 1.f);
  return zero_hits && output[k] == output[0] ? 0.f : g;
}
__device__ __forceinline__ bool is_damped(long long pairs, float tau) { return __ll2float_rn(pairs) > tau; }
// how far a damped row moves, by a length of 1 at most; `squares` is its summed gradient times itself
__device__ __forceinline__ float damped_scale(float learning_rate, float tau, long long pairs, float squares) {
  float scale = __fdiv_rn(__fmul_rn(learning_rate, tau), __ll2float_rn(pairs));
  float move = __fmul_rn(scale, __fsqrt_rn(squares));
  return move > 1.f ? __fdiv_rn(scale, move) : scale;
}
