// The host loops, each compiled once per instruction set; `selectKernels` picks one table when a device
// opens.
//
// Every function does one thread's share and allocates nothing. Where a function is elementwise, y may be x.
// Rows are contiguous: x[rows][c]. Ranges [begin, end) count what the name says.
#ifndef DEPTHWISE_CPU_KERNELS_H
#define DEPTHWISE_CPU_KERNELS_H

#include <cstdint>

namespace dw::cpu {

// A pooling window at fixed shapes; extents in elements, NHWC.
struct PoolShape {
  int64_t n, h, w, c, oh, ow;
  int64_t kernelH, kernelW, strideH, strideW, top, left;
  bool countPadding;
};

// A depthwise 3x3 convolution at stride 1, one filter per channel, and how its work is divided: a task is a
// block of channels of a strip of rows and columns of one image; blocks come first, then strips, then images.
struct DepthwiseShape {
  int64_t n, h, w, c, oh, ow, top, left;
  int64_t block, blocks;         // channels; a multiple of 16
  int64_t stripRows, rowStrips;  // of the output, or for gradients of the input
  int64_t stripColumns, columnStrips;
  int64_t images;     // that a strip of a gradient goes through one after the other, if it has them whole
  bool affine, relu;  // what the input passes first
  bool stream;        // results past the caches

  int64_t strips() const { return (n + images - 1) / images * rowStrips * columnStrips; }
};

// Operands of its gradients. taps [9][c] is the weight transposed. dx may be NULL; residual is NULL or added
// to dx. partials [strips][11][c]: sums of the taps' gradients, of dx and of dx*x, without the residual.
struct DepthwiseGradients {
  const float *g, *x, *scale, *shift, *taps, *residual;
  float* dx;
  double* partials;
};
constexpr int64_t kDepthwiseSums = 11;
// Tasks work on so many channels at a time. Scratch of a gradient, whose tasks have all channels: so many
// zeros, then [11] constants for each of these blocks, then [11] sums for each.
constexpr int64_t kDepthwiseBlock = 128;

// Tiles [begin, end) of an image, row by row, `across` in each: of 4x4 pixels that are read, two apart, the
// first beginning `top` rows and `left` columns before the image; or of 2x2 pixels of a result.
struct WinogradTiles {
  int64_t h, w, c;  // of the image
  int64_t across, begin, end;
  int64_t top, left;
};

// y [rows][n] = x [rows][k] times panels [..][k][tileColumns], the columns of the right matrix, tileColumns
// at a time and zeros beyond the last. Then + bias [n], + residual [rows][n] and ReLU, where wanted.
struct RowsProduct {
  const float *x, *panels;
  float* y;
  int64_t rows, k, n;
  int64_t stride;                 // from row to row of x
  int64_t firstPanel, lastPanel;  // the columns to compute
  bool copies;                    // rows of x go through scratch: to cache sets of their own
  float* scratch;                 // [tileRows][k + 16]
  const float *bias, *residual;
  bool relu;
  bool stream;             // past the caches; y is aligned and n a multiple of 16
  double *sums, *squares;  // [n], of y and y*y over the rows, added to; or NULL
};

// result [o][c] = the transpose of g [pixels][o] times x [pixels][c], some pixels after the other: x is
// packed, then g, some of its columns after the others.
struct ColumnsProduct {
  const float *g, *x;
  float* result;
  int64_t o, c;
  float *left, *right;  // heights of tiles of a call [..][depth][16]; panels [..][depth][tileColumns]
  bool adds;            // to the result
};
// Pixels that are packed at a time: with more, the result is gone over less often.
constexpr int64_t kProductDepth = 768;

// The scalars of an update rule; each rule reads its own. The rests 1 - rho, 1 - beta1 and 1 - beta2 come
// rounded from f64: 1 - 0.999 from f32 would be off by 1e-5 of itself.
struct UpdateRule {
  float learningRate, weightDecay, momentum, epsilon;
  float rho, restOfRho, restOfBeta1, restOfBeta2;
  bool nesterov, epsilonOutside;
  float factor = 1;  // of the gradient
};

// clang-format off
#define DW_KERNELS(X) \
  /* elementwise, n elements */ \
  X(relu, (const float* x, float* y, int64_t n)) \
  X(reluGrad, (const float* g, const float* y, float* dx, int64_t n)) \
  X(elu, (const float* x, float* y, int64_t n, float alpha)) \
  X(eluGrad, (const float* g, const float* y, float* dx, int64_t n, float alpha)) \
  X(sigmoid, (const float* x, float* y, int64_t n)) \
  X(sigmoidGrad, (const float* g, const float* y, float* dx, int64_t n)) \
  X(add, (const float* a, const float* b, float* y, int64_t n)) \
  X(subtract, (const float* a, const float* b, float* y, int64_t n)) \
  X(multiply, (const float* a, const float* b, float* y, int64_t n)) \
  X(scale, (const float* x, float* y, int64_t n, float factor)) \
  X(square, (const float* x, float* y, int64_t n)) \
  X(cast, (const void* x, int32_t from, void* y, int32_t to, int64_t n)) \
  /* elements [begin, end) of a whole tensor; begin is a multiple of 4 */ \
  X(dropout, (const float* x, float* y, int64_t begin, int64_t end, const uint32_t key[2], uint32_t step, \
              uint32_t threshold, float scale)) \
  /* rows of c channels */ \
  X(channelAffine, (const float* x, const float* scale, const float* shift, float* y, int64_t rows, \
                    int64_t c)) \
  X(channelMultiply, (const float* x, const float* scale, float* y, int64_t rows, int64_t c)) \
  X(addBias, (const float* x, const float* bias, float* y, int64_t rows, int64_t c)) \
  X(affineBytes, (const uint8_t* x, const float* scale, const float* shift, float* y, int64_t rows, \
                  int64_t c)) \
  /* the same with more in one pass; `stream`: past the caches where rows are cache lines */ \
  X(channelAffine2, (const float* a, const float* b, const float* p, const float* q, const float* r, \
                     float* y, int64_t rows, int64_t c, bool stream)) \
  X(affineRelu, (const float* x, const float* scale, const float* shift, float* y, int64_t rows, int64_t c, \
                 bool stream)) \
  X(affineAdd, (const float* x, const float* scale, const float* shift, const float* residual, float* y, \
                int64_t rows, int64_t c)) \
  X(affineReluGrad, (const float* g, const float* x, const float* scale, const float* shift, float* dx, \
                     int64_t rows, int64_t c, double* sumG, double* sumGX)) \
  /* sums[c] of x and squares[c] of x*x over rows that are `stride` apart; squares may be NULL */ \
  X(channelSums, (const float* x, int64_t rows, int64_t c, int64_t stride, double* sums, double* squares)) \
  X(channelGradSums, (const float* g, const float* x, int64_t rows, int64_t c, double* sumG, double* sumGX)) \
  X(sumRun, (const float* x, int64_t n, double* sum)) \
  X(sumSquares, (const float* x, int64_t n, double* sum)) \
  /* rows of c classes */ \
  X(softmax, (const float* x, float* y, int64_t rows, int64_t c)) \
  X(softmaxGrad, (const float* g, const float* y, float* dx, int64_t rows, int64_t c)) \
  X(softmaxCrossEntropy, (const float* logits, const int32_t* labels, float* loss, int64_t rows, int64_t c, \
                          double smoothing)) \
  X(softmaxCrossEntropyGrad, (const float* g, const float* logits, const int32_t* labels, float* dx, \
                              int64_t rows, int64_t c, double smoothing)) \
  X(sigmoidCrossEntropy, (const float* logits, const float* targets, float* loss, int64_t rows, int64_t c, \
                          double smoothing)) \
  X(sigmoidCrossEntropyGrad, (const float* g, const float* logits, const float* targets, float* dx, \
                              int64_t rows, int64_t c, double smoothing)) \
  /* rows [begin, end) of n*oh output rows, or of n*h input rows for gradients */ \
  X(maxPool, (const PoolShape& p, const float* x, float* y, uint8_t* argmax, int64_t begin, int64_t end)) \
  X(maxPoolGrad, (const PoolShape& p, const float* g, const uint8_t* argmax, float* dx, int64_t begin, \
                  int64_t end)) \
  X(affineMaxPoolAdd, (const PoolShape& p, const float* x, const float* scale, const float* shift, \
                       const float* residual, float* y, uint8_t* argmax, int64_t begin, int64_t end)) \
  X(maxPoolGradSums, (const PoolShape& p, const float* g, const uint8_t* argmax, const float* x, float* dx, \
                      int64_t begin, int64_t end, bool stream, double* sumG, double* sumGX)) \
  X(avgPool, (const PoolShape& p, const float* x, float* y, int64_t begin, int64_t end)) \
  X(avgPoolGrad, (const PoolShape& p, const float* g, float* dx, int64_t begin, int64_t end)) \
  /* tasks [begin, end) of a depthwise convolution; scratch is this thread's own */ \
  X(depthwise, (const DepthwiseShape& p, const float* x, const float* scale, const float* shift, \
                const float* taps, float* y, float* scratch, int64_t begin, int64_t end)) \
  X(depthwiseGrad, (const DepthwiseShape& p, const DepthwiseGradients& operands, float* scratch, \
                    int64_t begin, int64_t end)) \
  /* transforms of Winograd's 3x3 convolutions: [16][tiles][c]; zeros [c]; sums [c] are added to, or NULL */ \
  X(winogradInput, (const WinogradTiles& tiles, const float* x, const float* zeros, float* to)) \
  X(winogradGradient, (const WinogradTiles& tiles, const float* g, const float* zeros, float* to)) \
  X(winogradOutput, (const WinogradTiles& tiles, const float* products, const float* bias, bool relu, \
                     float* y, float* sums, float* squares)) \
  /* products of matrices; columns of w [k, n] by strides into panels [begin, end) of tileColumns */ \
  X(rowsProduct, (const RowsProduct& operands)) \
  /* x: the `depth` pixels from `first` on; then heights [begin, end) of tiles, while the next pixels are asked for */ \
  X(packColumns, (const ColumnsProduct& operands, int64_t first, int64_t depth)) \
  X(columnsProduct, (const ColumnsProduct& operands, int64_t first, int64_t depth, int64_t next, \
                     int64_t begin, int64_t end)) \
  X(packPanels, (const float* w, int64_t k, int64_t n, int64_t kStride, int64_t nStride, float* panels, \
                 int64_t begin, int64_t end)) \
  /* updates of n elements; each output may be the input it succeeds */ \
  X(sgdUpdate, (const UpdateRule& r, const float* w, const float* g, float* newW, int64_t n)) \
  X(momentumUpdate, (const UpdateRule& r, const float* w, const float* g, const float* m, float* newW, \
                     float* newM, int64_t n)) \
  X(rmspropUpdate, (const UpdateRule& r, const float* w, const float* g, const float* v, float* newW, \
                    float* newV, int64_t n)) \
  X(rmspropMomentumUpdate, (const UpdateRule& r, const float* w, const float* g, const float* v, \
                            const float* m, float* newW, float* newV, float* newM, int64_t n)) \
  X(adamUpdate, (const UpdateRule& r, const float* w, const float* g, const float* m, const float* v, \
                 float* newW, float* newM, float* newV, int64_t n)) \
  X(polyakUpdate, (const float* average, const float* w, float* newAverage, int64_t n, float decay))
// clang-format on

struct Kernels {
  const char* isa;                // "avx512", "avx2", "baseline"
  int64_t tileRows, tileColumns;  // of products
#define DW_KERNEL_MEMBER(name, arguments) void(*name) arguments;
  DW_KERNELS(DW_KERNEL_MEMBER)
#undef DW_KERNEL_MEMBER
};

constexpr int64_t kMostTileColumns = 32;  // a multiple of every tileColumns
inline int64_t panelsOf(const Kernels& kernels, int64_t columns) {
  return (columns + kernels.tileColumns - 1) / kernels.tileColumns;
}
inline int64_t heightsOf(const Kernels& kernels, int64_t rows) {
  return (rows + kernels.tileRows - 1) / kernels.tileRows;
}

// The table for `isa`, or for the best instruction set of this processor if it is NULL or empty.
// NULL where the processor or the build lacks it; `reason` says which.
const Kernels* selectKernels(const char* isa, const char** reason);

}  // namespace dw::cpu

// Inside the kernel sources: DW_ISA is the namespace of the instruction set being compiled for. Nothing from
// the standard library's headers that could be emitted out of line may be used there: the linker keeps one
// copy of such a function, and that could be one with instructions that the processor lacks.
#ifdef DW_ISA
namespace dw::cpu {
namespace DW_ISA {
#define DW_DECLARE_KERNEL(name, arguments) void name arguments;
DW_KERNELS(DW_DECLARE_KERNEL)
#undef DW_DECLARE_KERNEL
}  // namespace DW_ISA
}  // namespace dw::cpu
// Iterations are independent even where y is x, which the compiler cannot see.
#define DW_VECTORIZE _Pragma("omp simd")
#endif

#endif
