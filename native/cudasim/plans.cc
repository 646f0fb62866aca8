// The plans of the simulation: plain loops on the host, queued on the stream like a library's kernels.
// Operands of any type are read into f32, computed with, and rounded once.
#include "plans.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <vector>

#include "check.h"
#include "device.h"
#include "script.h"
#include "timing.h"

namespace dw::cuda {
namespace {

// Compiled for newer processors too, where these are.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define DW_FAST __attribute__((target_clones("arch=x86-64-v3", "default"), noinline))
#else
#define DW_FAST
#endif

using Floats = std::vector<float>;

Floats read(const void* from, int64_t count, DataType type) {
  Floats values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); i++) {
    switch (type) {
      case DataType::f32:
        values[i] = static_cast<const float*>(from)[i];
        break;
      case DataType::f16:
        values[i] = __half2float(static_cast<const __half*>(from)[i]);
        break;
      case DataType::bf16:
        values[i] = __bfloat162float(static_cast<const __nv_bfloat16*>(from)[i]);
        break;
    }
  }
  return values;
}

void write(void* to, const Floats& values, DataType type) {
  for (size_t i = 0; i < values.size(); i++) {
    switch (type) {
      case DataType::f32:
        static_cast<float*>(to)[i] = values[i];
        break;
      case DataType::f16:
        static_cast<__half*>(to)[i] = __float2half_rn(values[i]);
        break;
      case DataType::bf16:
        static_cast<__nv_bfloat16*>(to)[i] = __float2bfloat16_rn(values[i]);
        break;
    }
  }
}

constexpr size_t kMostOperands = 9;  // of a convolution with everything before and after it

// A plan whose work is a function of the addresses, done when the stream gets there.
template <class Work>
class HostPlan final : public Plan {
 public:
  HostPlan(size_t inputs, size_t outputs, Work work, std::function<void()> count)
      : inputs_(inputs), outputs_(outputs), work_(std::move(work)), count_(std::move(count)) {
    description.library = "loops";
    description.engine = "plain";
  }
  void run(Stream stream, const void* const* inputs, void* const* outputs, void*) override {
    std::array<const void*, kMostOperands> from = {};
    std::array<void*, kMostOperands> to = {};
    std::copy_n(inputs, inputs_, from.begin());
    std::copy_n(outputs, outputs_, to.begin());
    const cudaError_t error = cudasimEnqueue(static_cast<cudaStream_t>(stream),
                                             [from, to, work = work_] { work(from.data(), to.data()); });
    // As a library says it, which does not show the cause.
    if (error != cudaSuccess) throw PlanError(PlanError::Kind::failed, "loops: execution failed");
    count_();
  }

 private:
  size_t inputs_, outputs_;
  Work work_;
  std::function<void()> count_;
};

// Convolutions.

int64_t imageSize(const ConvolutionProblem& p) { return p.n * p.h * p.w * p.c; }
int64_t resultSize(const ConvolutionProblem& p) { return p.n * p.oh * p.ow * p.o; }
int64_t filterSize(const ConvolutionProblem& p) { return p.o * p.kernelH * p.kernelW * (p.c / p.groups); }

// Calls visit(x, tap, y) for each pixel of y, each of its taps that lies in the image, and each group:
// positions of the group's channels in x and y, and the tap's number.
template <class Visit>
void forEachTap(const ConvolutionProblem& p, const Visit& visit) {
  const int64_t depth = p.c / p.groups, filters = p.o / p.groups;
  for (int64_t n = 0; n < p.n; n++) {
    for (int64_t i = 0; i < p.oh; i++) {
      for (int64_t j = 0; j < p.ow; j++) {
        const int64_t pixel = ((n * p.oh + i) * p.ow + j) * p.o;
        for (int64_t kh = 0; kh < p.kernelH; kh++) {
          const int64_t row = i * p.strideH - p.top + kh * p.dilationH;
          if (row < 0 || row >= p.h) continue;
          for (int64_t kw = 0; kw < p.kernelW; kw++) {
            const int64_t column = j * p.strideW - p.left + kw * p.dilationW;
            if (column < 0 || column >= p.w) continue;
            const int64_t corner = ((n * p.h + row) * p.w + column) * p.c;
            for (int64_t group = 0; group < p.groups; group++)
              visit(corner + group * depth, group, kh * p.kernelW + kw, pixel + group * filters);
          }
        }
      }
    }
  }
}

// Filters between [o][tap][depth], as they come, and [group][tap][rows][columns], where the channels of the
// image are the rows, or the columns. Loops over columns are then without gaps, which is what a compiler
// makes fast code of.
struct Arrangement {
  int64_t groups, filters, taps, depth;
  bool depthFirst;  // rows are the image's channels

  explicit Arrangement(const ConvolutionProblem& p, bool rowsAreDepth)
      : groups(p.groups),
        filters(p.o / p.groups),
        taps(p.kernelH * p.kernelW),
        depth(p.c / p.groups),
        depthFirst(rowsAreDepth) {}

  int64_t at(int64_t group, int64_t tap) const { return (group * taps + tap) * depth * filters; }
  template <class Move>
  void forEach(const Move& move) const {
    for (int64_t group = 0; group < groups; group++)
      for (int64_t tap = 0; tap < taps; tap++)
        for (int64_t o = 0; o < filters; o++)
          for (int64_t d = 0; d < depth; d++)
            move(((group * filters + o) * taps + tap) * depth + d,
                 at(group, tap) + (depthFirst ? d * filters + o : o * depth + d));
  }
  Floats arranged(const Floats& w) const {
    Floats result(w.size());
    forEach(
        [&](int64_t from, int64_t to) { result[static_cast<size_t>(to)] = w[static_cast<size_t>(from)]; });
    return result;
  }
  Floats restored(const Floats& w) const {
    Floats result(w.size());
    forEach(
        [&](int64_t to, int64_t from) { result[static_cast<size_t>(to)] = w[static_cast<size_t>(from)]; });
    return result;
  }
};

// to[columns] += the sum over the rows of from[rows] times matrix[rows][columns].
DW_FAST void addProduct(const float* __restrict__ from, const float* __restrict__ matrix,
                        float* __restrict__ to, int64_t rows, int64_t columns) {
  for (int64_t row = 0; row < rows; row++) {
    const float factor = from[row];
    for (int64_t column = 0; column < columns; column++)
      to[column] += factor * matrix[row * columns + column];
  }
}

// matrix[rows][columns] += a[rows] times b[columns].
DW_FAST void addOuter(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ matrix,
                      int64_t rows, int64_t columns) {
  for (int64_t row = 0; row < rows; row++) {
    const float factor = a[row];
    for (int64_t column = 0; column < columns; column++) matrix[row * columns + column] += factor * b[column];
  }
}

Floats convolve(const ConvolutionProblem& p, const Floats& x, const Floats& w) {
  const Arrangement arrangement(p, true);
  const Floats filters = arrangement.arranged(w);
  Floats y(static_cast<size_t>(resultSize(p)));
  forEachTap(p, [&](int64_t xAt, int64_t group, int64_t tap, int64_t yAt) {
    addProduct(x.data() + xAt, filters.data() + arrangement.at(group, tap), y.data() + yAt, arrangement.depth,
               arrangement.filters);
  });
  return y;
}

Floats inputGradient(const ConvolutionProblem& p, const Floats& g, const Floats& w) {
  const Arrangement arrangement(p, false);
  const Floats filters = arrangement.arranged(w);
  Floats dx(static_cast<size_t>(imageSize(p)));
  forEachTap(p, [&](int64_t xAt, int64_t group, int64_t tap, int64_t yAt) {
    addProduct(g.data() + yAt, filters.data() + arrangement.at(group, tap), dx.data() + xAt,
               arrangement.filters, arrangement.depth);
  });
  return dx;
}

Floats weightGradient(const ConvolutionProblem& p, const Floats& x, const Floats& g) {
  const Arrangement arrangement(p, false);
  Floats dw(static_cast<size_t>(filterSize(p)));
  forEachTap(p, [&](int64_t xAt, int64_t group, int64_t tap, int64_t yAt) {
    addOuter(g.data() + yAt, x.data() + xAt, dw.data() + arrangement.at(group, tap), arrangement.filters,
             arrangement.depth);
  });
  return arrangement.restored(dw);
}

// relu?(x*scale + shift), as a tensor of the problem's type would hold it.
Floats affine(const ConvolutionProblem& p, const void* x, const void* scale, const void* shift) {
  Floats values = read(x, imageSize(p), p.type);
  const auto *factor = static_cast<const float*>(scale), *offset = static_cast<const float*>(shift);
  const size_t c = static_cast<size_t>(p.c);
  for (size_t i = 0; i < values.size(); i++) {
    const float a = values[i] * factor[i % c] + offset[i % c];
    values[i] = p.relu && a < 0 ? 0 : a;
  }
  return values;
}

// g*p + y*q + r
Floats affine2(const ConvolutionProblem& problem, const void* const* operands) {
  Floats g = read(operands[0], resultSize(problem), problem.type);
  const Floats y = read(operands[1], resultSize(problem), problem.type);
  const auto *p = static_cast<const float*>(operands[2]), *q = static_cast<const float*>(operands[3]),
             *r = static_cast<const float*>(operands[4]);
  const size_t o = static_cast<size_t>(problem.o);
  for (size_t i = 0; i < g.size(); i++) g[i] = g[i] * p[i % o] + y[i] * q[i % o] + r[i % o];
  return g;
}

// Sums of a and of a*b over rows of c.
void writeSums(const Floats& a, const Floats& b, int64_t c, void* first, void* second) {
  std::vector<double> sums(static_cast<size_t>(c)), products(static_cast<size_t>(c));
  for (size_t i = 0; i < a.size(); i++) {
    sums[i % sums.size()] += a[i];
    products[i % sums.size()] += static_cast<double>(a[i]) * b[i];
  }
  std::copy(sums.begin(), sums.end(), static_cast<float*>(first));
  std::copy(products.begin(), products.end(), static_cast<float*>(second));
}

void runForward(const ConvolutionProblem& p, const void* const* in, void* const* out) {
  const bool onLoad = p.fusion == Fusion::affineRelu || p.fusion == Fusion::affineReluSums;
  const Floats x = onLoad ? affine(p, in[0], in[1], in[2]) : read(in[0], imageSize(p), p.type);
  Floats y = convolve(p, x, read(in[onLoad ? 3 : 1], filterSize(p), p.type));
  if (p.fusion == Fusion::sums || p.fusion == Fusion::affineReluSums) writeSums(y, y, p.o, out[1], out[2]);
  if (p.fusion == Fusion::bias) {
    const auto* bias = static_cast<const float*>(in[2]);
    const Floats residual = p.residual ? read(in[3], resultSize(p), p.type) : Floats();
    for (size_t i = 0; i < y.size(); i++) {
      y[i] += bias[i % static_cast<size_t>(p.o)] + (p.residual ? residual[i] : 0);
      if (p.relu && y[i] < 0) y[i] = 0;
    }
  }
  write(out[0], y, p.result);
}

void runInputGrad(const ConvolutionProblem& p, const void* const* in, void* const* out) {
  const bool onLoad = p.fusion == Fusion::affine2 || p.fusion == Fusion::affine2Mask;
  const Floats g = onLoad ? affine2(p, in) : read(in[0], resultSize(p), p.type);
  const int w = onLoad ? 5 : 1;
  Floats dx = inputGradient(p, g, read(in[w], filterSize(p), p.type));
  if (p.fusion == Fusion::mask || p.fusion == Fusion::affine2Mask) {
    const Floats x = read(in[w + 1], imageSize(p), p.type);
    const auto *scale = static_cast<const float*>(in[w + 2]), *shift = static_cast<const float*>(in[w + 3]);
    const size_t c = static_cast<size_t>(p.c);
    for (size_t i = 0; i < dx.size(); i++)
      if (!(x[i] * scale[i % c] + shift[i % c] > 0)) dx[i] = 0;
    writeSums(dx, x, p.c, out[1], out[2]);
  }
  write(out[0], dx, p.result);
}

void runWeightGrad(const ConvolutionProblem& p, const void* const* in, void* const* out) {
  const bool onLoad = p.fusion == Fusion::affineRelu;
  const Floats x = onLoad ? affine(p, in[0], in[1], in[2]) : read(in[0], imageSize(p), p.type);
  const Floats g =
      p.fusion == Fusion::affine2 ? affine2(p, in + 1) : read(in[onLoad ? 3 : 1], resultSize(p), p.type);
  write(out[0], weightGradient(p, x, g), p.result);
}

// Products of matrices.

void runProduct(const MatrixProblem& p, const void* const* in, void* const* out) {
  const Floats a = read(in[0], p.m * p.k, p.type), b = read(in[1], p.k * p.n, p.type);
  const auto at = [](const Floats& matrix, int64_t row, int64_t column, int64_t rows, int64_t columns,
                     bool transposed) {
    return matrix[static_cast<size_t>(transposed ? column * rows + row : row * columns + column)];
  };
  Floats c(static_cast<size_t>(p.m * p.n));
  for (int64_t i = 0; i < p.m; i++) {
    for (int64_t j = 0; j < p.n; j++) {
      float sum = p.bias ? static_cast<const float*>(in[2])[j] : 0;
      for (int64_t k = 0; k < p.k; k++)
        sum += at(a, i, k, p.m, p.k, p.transposeA) * at(b, k, j, p.k, p.n, p.transposeB);
      c[static_cast<size_t>(i * p.n + j)] = p.relu && sum < 0 ? 0 : sum;
    }
  }
  write(out[0], c, p.result);
}

class Loops final : public Plans {
 public:
  explicit Loops(dw_device& device)
      : stopwatch_(device.stream, device.lent),
        timing_(stopwatch_, secondsForChoosing(), "simulation, kernels " DW_KERNELS, keptIn()) {}

  // What cuDNN does on no device is not done here either: fusions around grouped convolutions.
  std::string unsupported(const ConvolutionProblem& problem) override {
    if (problem.fusion != Fusion::none && problem.groups > 1)
      return "loops: grouped convolutions are not fused";
    return "";
  }
  std::string unsupported(const MatrixProblem&) override { return ""; }
  // The backend has kernels of its own for these.
  std::string unsupported(const NormalizationProblem&) override { return "loops: no normalization"; }
  std::string unsupported(const PoolingProblem&) override { return "loops: no pooling"; }

  std::unique_ptr<Plan> plan(const ConvolutionProblem& problem) override {
    refuse(unsupported(problem));
    return makePlan(keyOf(problem), inputsOf(problem), outputsOf(problem),
                    [problem](const void* const* in, void* const* out) {
                      if (problem.direction == Direction::forward) runForward(problem, in, out);
                      if (problem.direction == Direction::inputGrad) runInputGrad(problem, in, out);
                      if (problem.direction == Direction::weightGrad) runWeightGrad(problem, in, out);
                    });
  }
  std::unique_ptr<Plan> plan(const MatrixProblem& problem) override {
    return makePlan(keyOf(problem), problem.bias ? 3 : 2, 1,
                    [problem](const void* const* in, void* const* out) { runProduct(problem, in, out); });
  }
  std::unique_ptr<Plan> plan(const NormalizationProblem& problem) override {
    refuse(unsupported(problem));
    return nullptr;
  }
  std::unique_ptr<Plan> plan(const PoolingProblem& problem) override {
    refuse(unsupported(problem));
    return nullptr;
  }

  Timing* timing() override { return script_.given() ? &timing_ : nullptr; }

 private:
  // Nothing beside what a test names: the user's own folder is for real devices.
  static std::string keptIn() {
    return std::getenv("DEPTHWISE_PLAN_CACHE") != nullptr ? folderForChoices() : "";
  }

  template <class Work>
  std::unique_ptr<Plan> makePlan(const std::string& key, size_t inputs, size_t outputs, Work work) {
    const double milliseconds = script_.millisecondsOf(key);
    return std::make_unique<HostPlan<Work>>(inputs, outputs, std::move(work),
                                            [this, milliseconds] { stopwatch_.add(milliseconds); });
  }

  static void refuse(const std::string& reason) {
    if (!reason.empty()) throw PlanError(PlanError::Kind::unsupported, reason);
  }

  static size_t inputsOf(const ConvolutionProblem& problem) {
    switch (problem.fusion) {
      case Fusion::affineRelu:
      case Fusion::affineReluSums:
        return 4;
      case Fusion::bias:
        return problem.residual ? 4 : 3;
      case Fusion::affine2:
        return 6;
      case Fusion::mask:
        return 5;
      case Fusion::affine2Mask:
        return 9;
      default:
        return 2;
    }
  }
  static size_t outputsOf(const ConvolutionProblem& problem) {
    switch (problem.fusion) {
      case Fusion::sums:
      case Fusion::affineReluSums:
      case Fusion::mask:
      case Fusion::affine2Mask:
        return 3;
      default:
        return 1;
    }
  }

  Script script_;
  SimulatedStopwatch stopwatch_;
  Timing timing_;
};

}  // namespace

std::unique_ptr<Plans> openPlans(dw_device& device, const dw_options&) {
  return std::make_unique<Loops>(device);
}

}  // namespace dw::cuda
