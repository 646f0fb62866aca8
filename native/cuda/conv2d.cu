// Convolution and its two gradients by plans, alone and with what a plan can do in the same pass. Depthwise
// ones that no library does by our own kernels.
#include "channels.h"
#include "depthwiseConvolution.h"
#include "planned.h"

namespace dw::cuda {
namespace {

constexpr uint32_t kAttributes = kConvolutionAttributes;

ConvolutionShape readNode(const Node& node, Direction direction) {
  node.expect(2, 1, direction == Direction::forward ? kAttributes : kAttributes + 2);
  switch (direction) {
    case Direction::forward:
      return readConvolution(node, node.input(0), node.input(1), node.output(0));
    case Direction::inputGrad:
      return readConvolution(node, node.output(0), node.input(1), node.input(0));
    default:
      return readConvolution(node, node.input(0), node.output(0), node.input(1));
  }
}

bool planned(const dw_device& device, const ConvolutionProblem& problem) {
  return device.plans->unsupported(problem).empty();
}

template <Direction kDirection>
void checkPlain(const dw_device& device, const Node& node) {
  const ConvolutionShape conv = readNode(node, kDirection);
  if (!conv.empty() && !conv.depthwise())
    expectPlan(device, node, problemOf(device, conv, node.input(0).dtype, kDirection));
}

KernelPointer makeZeros(const dw_aval& y) {
  return makeKernel([bytes = static_cast<size_t>(elements(y)) * byteSize(y.dtype)](const Launch& run) {
    if (bytes > 0) check(cudaMemsetAsync(run.outputs[0], 0, bytes, run.stream()), "cudaMemsetAsync");
  });
}

KernelPointer ownDepthwise(dw_device& device, const ConvolutionShape& conv, int32_t dtype,
                           Direction direction) {
  DepthwiseOperands at;
  if (direction == Direction::forward) at.x = 0, at.w = 1, at.y = 0;
  if (direction == Direction::inputGrad) at.g = 0, at.w = 1, at.dx = 0;
  if (direction == Direction::weightGrad) at.x = 0, at.g = 1, at.dw = 0;
  return prepareDepthwise(device, conv, dtype, at, false);
}

KernelPointer plainKernel(dw_device& device, const Node& node, const ConvolutionShape& conv,
                          Direction direction) {
  const int32_t dtype = node.input(0).dtype;
  const ConvolutionProblem problem = problemOf(device, conv, dtype, direction);
  if (!conv.depthwise()) return makePlanned(device.plans->plan(problem));
  KernelPointer own = ownDepthwise(device, conv, dtype, direction);
  if (!planned(device, problem)) return own;
  return fasterOf(device, node, tryPlanned(device, problem), std::move(own));
}

template <Direction kDirection>
KernelPointer preparePlain(dw_device& device, const Node& node) {
  const ConvolutionShape conv = readNode(node, kDirection);
  if (conv.empty()) return makeZeros(node.output(0));  // of a weight gradient; the others have no elements
  return plainKernel(device, node, conv, kDirection);
}

// A convolution, and the sums of its output after it.
class WithSums final : public dw_kernel {
 public:
  WithSums(KernelPointer convolution, KernelPointer sums)
      : convolution_(std::move(convolution)), sums_(std::move(sums)) {
    workspace = std::max(convolution_->workspace, sums_->workspace);
  }
  void run(const Launch& launch) override {
    convolution_->run(launch);
    const void* inputs[] = {launch.outputs[0]};
    sums_->run({launch.device, inputs, launch.outputs + 1, launch.workspace});
  }

 private:
  KernelPointer convolution_, sums_;
};

ConvolutionShape readForwardSums(const Node& node) {
  node.expect(2, 3, kAttributes);
  const ConvolutionShape conv = readConvolution(node, node.input(0), node.input(1), node.output(0));
  for (uint32_t i = 1; i < 3; i++) node.expectVector(node.output(i), conv.o);
  return conv;
}

void checkForwardSums(const dw_device& device, const Node& node) {
  const ConvolutionShape conv = readForwardSums(node);
  if (!conv.empty() && !conv.depthwise())
    expectPlan(device, node, problemOf(device, conv, node.input(0).dtype, Direction::forward));
}

KernelPointer prepareForwardSums(dw_device& device, const Node& node) {
  const ConvolutionShape conv = readForwardSums(node);
  const int32_t dtype = node.input(0).dtype;
  KernelPointer sums =
      sumsKernel(device, dtype, conv.pixels(), conv.o, 0, [c = conv.o](const Launch& run, auto type) {
        using T = typename decltype(type)::type;
        return SquareTerms<T>{run.in<T>(0), c};
      });
  if (conv.empty()) return std::make_unique<WithSums>(makeNothing(), std::move(sums));
  ConvolutionProblem fused = problemOf(device, conv, dtype, Direction::forward);
  fused.fusion = Fusion::sums;
  const bool fuses = planned(device, fused);
  if (fuses && device.plans->stopwatch() == nullptr) return makePlanned(device.plans->plan(fused));
  auto unfused =
      std::make_unique<WithSums>(plainKernel(device, node, conv, Direction::forward), std::move(sums));
  if (!fuses) return unfused;
  return fasterOf(device, node, tryPlanned(device, fused), std::move(unfused));
}

// The gradients of a convolution whose result's gradient is g*p + y*q + r, where a plan takes that on load.
// Elsewhere programs take it in a pass of its own.
template <Direction kDirection>
ConvolutionProblem readAffine2(const dw_device& device, const Node& node) {
  node.expect(6, 1, kAttributes + 2);
  constexpr bool kInput = kDirection == Direction::inputGrad;
  constexpr uint32_t kG = kInput ? 0 : 1;
  const ConvolutionShape conv = kInput ? readConvolution(node, node.output(0), node.input(5), node.input(0))
                                       : readConvolution(node, node.input(0), node.output(0), node.input(1));
  node.expectSame(node.input(kG + 1), node.input(kG));
  for (uint32_t i = kG + 2; i < kG + 5; i++) node.expectVector(node.input(i), conv.o);
  ConvolutionProblem problem = problemOf(device, conv, node.output(0).dtype, kDirection);
  problem.fusion = Fusion::affine2;
  return problem;
}

template <Direction kDirection>
void checkAffine2(const dw_device& device, const Node& node) {
  const ConvolutionProblem problem = readAffine2<kDirection>(device, node);
  if (problem.n > 0) expectPlan(device, node, problem);
}

// That pass, and the plain gradient after it: where the plan that does both cannot be built after all.
template <int N, class T, Direction kDirection>
class AfterAffine2 final : public dw_kernel {
 public:
  AfterAffine2(KernelPointer convolution, int64_t rows, int64_t c)
      : convolution_(std::move(convolution)), rows_(rows), c_(c), gradient_(piece(convolution_->workspace)) {
    workspace = gradient_ + static_cast<size_t>(rows_ * c_) * sizeof(T);
  }
  void run(const Launch& launch) override {
    constexpr bool kInput = kDirection == Direction::inputGrad;
    constexpr int kG = kInput ? 0 : 1;
    T* gradient = launch.scratch<T>(gradient_);
    const ChannelOperands<T, float, T, 2, 3> operands = {
        {launch.in<T>(kG), launch.in<T>(kG + 1)},
        {launch.in(kG + 2), launch.in(kG + 3), launch.in(kG + 4)},
        gradient};
    launchChannelMap<N>(launch, Affine2Map{}, operands, rows_, c_);
    const void* inputs[] = {launch.inputs[0], launch.inputs[5]};
    inputs[kG] = gradient;
    convolution_->run({launch.device, inputs, launch.outputs, launch.workspace});
  }

 private:
  KernelPointer convolution_;
  int64_t rows_, c_;
  size_t gradient_;
};

template <Direction kDirection>
KernelPointer prepareAffine2(dw_device& device, const Node& node) {
  ConvolutionProblem problem = readAffine2<kDirection>(device, node);
  if (problem.n == 0) return makeZeros(node.output(0));
  if (KernelPointer fused = tryPlanned(device, problem)) return fused;
  problem.fusion = Fusion::none;
  KernelPointer plain = makePlanned(device.plans->plan(problem));
  const int64_t rows = problem.n * problem.oh * problem.ow, c = problem.o;
  return withType(node.output(0).dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    return withWidth<T>(c, [&](auto width) -> KernelPointer {
      constexpr int N = decltype(width)::value;
      return std::make_unique<AfterAffine2<N, T, kDirection>>(std::move(plain), rows, c);
    });
  });
}

}  // namespace

extern const Op op_conv2d, op_conv2dInputGrad, op_conv2dWeightGrad, op_conv2dSums, op_conv2dInputGradAffine2,
    op_conv2dWeightGradAffine2;

const Op op_conv2d = {checkPlain<Direction::forward>, preparePlain<Direction::forward>};
const Op op_conv2dInputGrad = {checkPlain<Direction::inputGrad>, preparePlain<Direction::inputGrad>};
const Op op_conv2dWeightGrad = {checkPlain<Direction::weightGrad>, preparePlain<Direction::weightGrad>};
const Op op_conv2dSums = {checkForwardSums, prepareForwardSums};
const Op op_conv2dInputGradAffine2 = {checkAffine2<Direction::inputGrad>,
                                      prepareAffine2<Direction::inputGrad>};
const Op op_conv2dWeightGradAffine2 = {checkAffine2<Direction::weightGrad>,
                                       prepareAffine2<Direction::weightGrad>};

}  // namespace dw::cuda
