// Ops of inference programs: filters with the normalization folded into them, convolutions with bias,
// residual and ReLU.
#include "channels.h"
#include "depthwiseConvolution.h"
#include "kernels/filters.cuh"
#include "planned.h"

namespace dw::cuda {
namespace {

void checkMultiply(const dw_device&, const Node& node) {
  node.expect(2, 1, 0);
  node.expectFloating(node.input(0));
  node.expectRank(node.input(0), 4);
  node.expectVector(node.input(1), node.input(0).dims[0]);
  node.expectSame(node.output(0), node.input(0));
}

KernelPointer prepareMultiply(dw_device&, const Node& node) {
  const int64_t count = elements(node.input(0)), o = node.input(0).dims[0];
  if (count == 0) return makeNothing();
  return withType(node.input(0).dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    return makeKernel([=](const Launch& run) {
      launch(filterMultiply<T>, blocksFor(count, run.device.multiprocessors), kThreads, 0, run.stream(),
             run.in<T>(0), run.in(1), run.out<T>(0), o, count / o);
    });
  });
}

// relu?(the convolution + bias [+ residual])
struct Fused {
  ConvolutionShape conv;
  bool relu, add;
};

Fused readBias(const Node& node, bool add) {
  node.expect(add ? 4 : 3, 1, kConvolutionAttributes + 1);
  const Fused fused = {readConvolution(node, node.input(0), node.input(1), node.output(0)),
                       node.attribute(kConvolutionAttributes) != 0, add};
  node.expectVector(node.input(2), fused.conv.o);
  if (add) node.expectSame(node.input(3), node.output(0));
  return fused;
}

ConvolutionProblem plainProblem(const dw_device& device, const Node& node, const Fused& fused) {
  return problemOf(device, fused.conv, node.input(0).dtype, Direction::forward);
}

template <bool kAdd>
void checkBias(const dw_device& device, const Node& node) {
  const Fused fused = readBias(node, kAdd);
  if (!fused.conv.empty() && !fused.conv.depthwise())
    expectPlan(device, node, plainProblem(device, node, fused));
}

// The convolution first, then what follows it, where the result is. A residual that lies there too is moved
// aside.
template <class T, bool kRelu, bool kAdd>
class WithEpilogue final : public dw_kernel {
 public:
  WithEpilogue(KernelPointer convolution, const ConvolutionShape& conv)
      : convolution_(std::move(convolution)),
        rows_(conv.pixels()),
        c_(conv.o),
        aside_(piece(convolution_->workspace)) {
    workspace = aside_ + (kAdd ? bytes() : 0);
  }

  void run(const Launch& launch) override {
    const void* residual = kAdd ? launch.inputs[3] : nullptr;
    if (kAdd && residual == launch.outputs[0]) {
      void* aside = launch.scratch<char>(aside_);
      check(cudaMemcpyAsync(aside, residual, bytes(), cudaMemcpyDeviceToDevice, launch.stream()),
            "cudaMemcpyAsync");
      residual = aside;
    }
    convolution_->run(launch);
    withWidth<T>(c_, [&](auto width) {
      constexpr int N = decltype(width)::value;
      T* y = launch.out<T>(0);
      if constexpr (kAdd) {
        const ChannelOperands<T, float, T, 2, 1> operands = {
            {y, static_cast<const T*>(residual)}, {launch.in(2)}, y};
        launchChannelMap<N>(launch, BiasAddMap<kRelu>{}, operands, rows_, c_);
      } else {
        const ChannelOperands<T, float, T, 1, 1> operands = {{y}, {launch.in(2)}, y};
        launchChannelMap<N>(launch, BiasReluMap<kRelu>{}, operands, rows_, c_);
      }
    });
  }

 private:
  size_t bytes() const { return static_cast<size_t>(rows_ * c_) * sizeof(T); }

  KernelPointer convolution_;
  int64_t rows_, c_;
  size_t aside_;
};

template <class T, bool kAdd>
KernelPointer withEpilogue(KernelPointer convolution, const Fused& fused) {
  if (fused.relu) return std::make_unique<WithEpilogue<T, true, kAdd>>(std::move(convolution), fused.conv);
  return std::make_unique<WithEpilogue<T, false, kAdd>>(std::move(convolution), fused.conv);
}

KernelPointer plainConvolution(dw_device& device, const Node& node, const Fused& fused) {
  const ConvolutionProblem problem = plainProblem(device, node, fused);
  if (!fused.conv.depthwise()) return makePlanned(device.plans->plan(problem));
  DepthwiseOperands at;
  at.x = 0, at.w = 1, at.y = 0;
  KernelPointer own = prepareDepthwise(device, fused.conv, node.input(0).dtype, at, false);
  if (!device.plans->unsupported(problem).empty()) return own;
  return fasterOf(device, node, tryPlanned(device, problem), std::move(own));
}

template <bool kAdd>
KernelPointer prepareBias(dw_device& device, const Node& node) {
  const Fused fused = readBias(node, kAdd);
  if (fused.conv.empty()) return makeNothing();
  ConvolutionProblem problem = plainProblem(device, node, fused);
  problem.fusion = Fusion::bias, problem.relu = fused.relu, problem.residual = kAdd;
  const bool fuses = device.plans->unsupported(problem).empty();
  if (fuses && device.plans->stopwatch() == nullptr) return makePlanned(device.plans->plan(problem));
  KernelPointer unfused = withType(node.input(0).dtype, [&](auto type) {
    return withEpilogue<typename decltype(type)::type, kAdd>(plainConvolution(device, node, fused), fused);
  });
  if (!fuses) return unfused;
  return fasterOf(device, node, tryPlanned(device, problem), std::move(unfused));
}

}  // namespace

extern const Op op_filterMultiply, op_conv2dBias, op_conv2dBiasAdd;

const Op op_filterMultiply = {checkMultiply, prepareMultiply};
const Op op_conv2dBias = {checkBias<false>, prepareBias<false>};
const Op op_conv2dBiasAdd = {checkBias<true>, prepareBias<true>};

}  // namespace dw::cuda
