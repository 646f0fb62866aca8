// Plans: the one interface behind which libraries (cuDNN, cuBLASLt) do work for the CUDA backend. Plain C++
// that knows no library's type; the simulation puts plain loops behind it.
//
// A problem says what is to be computed, at fixed shapes; a plan is an algorithm chosen for it. Making a plan
// is slow (heuristics, compilation, timing), running one is fast and allocates nothing. Tensors are dense
// NHWC, filters [o, kh, kw, c/groups], as in depthwise_ops.h. T is the problem's type; sums and per-channel
// operands are f32.
#ifndef DEPTHWISE_CUDA_PLANS_H
#define DEPTHWISE_CUDA_PLANS_H

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

namespace dw::cuda {

// A cudaStream_t; NULL is the default stream.
using Stream = void*;

enum class DataType : int32_t { f32 = 0, f16 = 1, bf16 = 2 };

enum class Direction : int32_t { forward = 0, inputGrad = 1, weightGrad = 2 };

// What is done in one pass with a convolution. Operands in order:
//
//   forward     none            x, w                                -> y
//               sums            x, w                                -> y, sum[o], sumSquares[o] of y
//               affineRelu      x, scale[c], shift[c], w            -> y = conv(relu?(x*scale + shift), w)
//               affineReluSums  x, scale, shift, w                  -> y, sum, sumSquares
//               bias            x, w, bias[o] (, residual like y)   -> y = relu?(conv(x, w) + bias)
//   inputGrad   none            g, w                                -> dx
//               affine2         g, y, p[o], q[o], r[o], w           -> dx of the gradient g*p + y*q + r
//               mask            g, w, x, scale[c], shift[c]         -> dx where x*scale + shift > 0, else 0;
//                                                                      sumG[c], sumGX[c] of dx and dx*x
//               affine2Mask     g, y, p, q, r, w, x, scale, shift   -> dx, sumG, sumGX
//   weightGrad  none            x, g                                -> dw
//               affine2         x, g, y, p, q, r                    -> dw of the gradient g*p + y*q + r
//               affineRelu      x, scale, shift, g                  -> dw for the activated input
//
// Padding is zero after what is done on load. Sums are taken in f32: of y as it is stored in T, of dx before
// it is rounded to T. With a residual, bias gives relu?(conv(x, w) + bias + residual).
enum class Fusion : int32_t {
  none = 0,
  sums = 1,
  affineRelu = 2,
  affineReluSums = 3,
  bias = 4,
  affine2 = 5,
  mask = 6,
  affine2Mask = 7,
};

struct ConvolutionProblem {
  Direction direction = Direction::forward;
  Fusion fusion = Fusion::none;
  DataType type = DataType::f32;       // of images and filters
  DataType result = DataType::f32;     // of y, dx or dw; `type`, or f32 for a dw that is summed up in f32
  int64_t n = 1, h = 1, w = 1, c = 1;  // x[n,h,w,c]
  int64_t o = 1, oh = 1, ow = 1;       // y[n,oh,ow,o]
  int64_t kernelH = 1, kernelW = 1;
  int64_t strideH = 1, strideW = 1;
  int64_t top = 0, bottom = 0, left = 0, right = 0;  // padding; need not be symmetric (TensorFlow's `same`)
  int64_t dilationH = 1, dilationW = 1;
  int64_t groups = 1;
  bool relu = false;      // fusions affineRelu, affineReluSums and bias
  bool residual = false;  // fusion bias
  bool tf32 = false;      // f32 products may be rounded to TF32
  bool deterministic = false;

  bool depthwise() const { return groups > 1 && groups == c; }
  bool pointwise() const {
    return kernelH == 1 && kernelW == 1 && groups == 1 && strideH == 1 && strideW == 1 && top == 0 &&
           bottom == 0 && left == 0 && right == 0;
  }
};

// c[m,n] = relu?(a*b (+ bias[n])), row-major. a is [m,k], or [k,m] if transposeA; b is [k,n], or [n,k] if
// transposeB. Operands: a, b (, bias f32[n]) -> c. A linear layer: a = x[n,i], b = w[o,i] with transposeB.
struct MatrixProblem {
  int64_t m = 1, n = 1, k = 1;
  bool transposeA = false, transposeB = false;
  DataType type = DataType::f32;    // of a and b
  DataType result = DataType::f32;  // of c: `type`, or f32
  bool bias = false, relu = false;
  bool tf32 = false;
  bool deterministic = false;
};

// Batch normalization over n, h and w. Operands; stat is f32[c]:
//
//   training   x, gamma, beta, runningMean, runningVariance
//                -> y, mean, inverseDeviation, newRunningMean, newRunningVariance
//              newRunning = momentum*running + (1 - momentum)*batch, with the unbiased variance of the batch
//   inference  x, mean, inverseDeviation, gamma, beta       -> y
//   backward   g, x, mean, inverseDeviation, gamma          -> dx, dGamma, dBeta
//   With relu, y is relu(normalized). A residual (the last input) is added before the ReLU. Forward only.
enum class NormalizationPhase : int32_t { training = 0, inference = 1, backward = 2 };

struct NormalizationProblem {
  NormalizationPhase phase = NormalizationPhase::training;
  DataType type = DataType::f32;
  int64_t n = 1, h = 1, w = 1, c = 1;
  double epsilon = 1e-3;
  double momentum = 0.99;
  bool relu = false;
  bool residual = false;
};

// Operands:
//   max      forward   x          -> y, argmax u8[n,oh,ow,c]: row*kernelW + column of the first largest
//            backward  g, argmax  -> dx
//   average  forward   x          -> y
//            backward  g          -> dx
enum class Pooling : int32_t { max = 0, average = 1, averageCountingPadding = 2 };

struct PoolingProblem {
  Pooling pooling = Pooling::max;
  bool backward = false;
  DataType type = DataType::f32;
  int64_t n = 1, h = 1, w = 1, c = 1, oh = 1, ow = 1;
  int64_t kernelH = 1, kernelW = 1, strideH = 1, strideW = 1;
  int64_t top = 0, bottom = 0, left = 0, right = 0;
  bool deterministic = false;
};

// Why a library cannot do something, or that it failed.
class PlanError : public std::runtime_error {
 public:
  enum class Kind { unsupported, failed };
  PlanError(Kind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  Kind kind() const { return kind_; }

 private:
  Kind kind_;
};

// What was chosen, for people.
struct PlanDescription {
  std::string library;       // "cuDNN 9.24.0", "cuBLASLt 13.1.1", "loops"
  std::string engine;        // the library's own name: "engine 38, tile 128x64, split 2"
  std::string notes;         // numerical notes, comma-separated: "tensor cores, TF32, nondeterministic"
  double milliseconds = -1;  // median of the runs that chose it; below 0 where nothing was timed
  int candidates = 0;        // how many were looked at
};

class Plan {
 public:
  virtual ~Plan() = default;
  // Queues the work on `stream`. `workspace`: `workspaceBytes` of device memory, aligned to 256 bytes; NULL
  // where that is 0. Throws PlanError.
  virtual void run(Stream stream, const void* const* inputs, void* const* outputs, void* workspace) = 0;

  size_t workspaceBytes = 0;
  PlanDescription description;
};

// What is needed of a device in order to time plans.
class Stopwatch {
 public:
  virtual ~Stopwatch() = default;
  // Device memory, aligned to 256 bytes; NULL where there is not enough. Filled with zeros.
  virtual void* allocate(size_t bytes) = 0;
  virtual void release(void* memory) = 0;
  // The stream on which `measure` times.
  virtual Stream stream() = 0;
  // The milliseconds that so many calls of `launch`, which queue work on `stream`, take together.
  virtual double measure(int repeats, const std::function<void()>& launch) = 0;
};

struct Timing;

class Plans {
 public:
  virtual ~Plans() = default;
  // "" if there is some algorithm, or the reason why not, in the library's words. Takes milliseconds for a
  // fused problem that was not met before and builds nothing: making the plan may still fail.
  virtual std::string unsupported(const ConvolutionProblem& problem) = 0;
  virtual std::string unsupported(const MatrixProblem& problem) = 0;
  virtual std::string unsupported(const NormalizationProblem& problem) = 0;
  virtual std::string unsupported(const PoolingProblem& problem) = 0;

  // The best algorithm found: timed on a device, the first of the heuristics' elsewhere. Throws PlanError.
  virtual std::unique_ptr<Plan> plan(const ConvolutionProblem& problem) = 0;
  virtual std::unique_ptr<Plan> plan(const MatrixProblem& problem) = 0;
  virtual std::unique_ptr<Plan> plan(const NormalizationProblem& problem) = 0;
  virtual std::unique_ptr<Plan> plan(const PoolingProblem& problem) = 0;

  // What is needed to choose by time among plans, and between a fused plan and the kernels that it stands
  // for; NULL where nothing can be timed (described devices).
  virtual Timing* timing() { return nullptr; }
};

}  // namespace dw::cuda

#endif
