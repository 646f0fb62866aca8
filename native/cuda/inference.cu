// Ops of inference programs: filters with the normalization folded into them, convolutions with bias,
// residual and ReLU.
#include "channels.h"
#include "kernels/filters.cuh"
#include "planned.h"
#include "steps.h"

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

// The convolution first, then what follows it, where the result is. Where a residual lies there, the
// convolution's own result is in scratch memory.
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
    T* y = launch.out<T>(0);
    const T* residual = kAdd ? launch.in<T>(3) : nullptr;
    T* product = kAdd && residual == y ? launch.scratch<T>(aside_) : y;
    void* outputs[] = {product};
    convolution_->run({launch.device, launch.inputs, outputs, launch.workspace});
    withWidth<T>(c_, [&](auto width) {
      constexpr int N = decltype(width)::value;
      if constexpr (kAdd) {
        const ChannelOperands<T, float, T, 2, 1> operands = {{product, residual}, {launch.in(2)}, y};
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

// The convolution as an op of its own: by whatever does it fastest.
KernelPointer plainConvolution(dw_device& device, const Node& node) {
  Steps steps(device, node);
  steps.add(DW_OP_conv2d, {steps.input(0), steps.input(1)}, {steps.output(0)},
            attributesOf(node, 0, kConvolutionAttributes));
  return steps.finish();
}

// cuDNN promises nothing of a residual that lies where the result is: it is moved aside.
class MovedAside final : public dw_kernel {
 public:
  MovedAside(KernelPointer fused, size_t bytes)
      : fused_(std::move(fused)), bytes_(bytes), aside_(piece(fused_->workspace)) {
    workspace = aside_ + bytes_;
  }
  void run(const Launch& launch) override {
    if (launch.inputs[3] != launch.outputs[0]) return fused_->run(launch);
    void* aside = launch.scratch<char>(aside_);
    check(cudaMemcpyAsync(aside, launch.inputs[3], bytes_, cudaMemcpyDeviceToDevice, launch.stream()),
          "cudaMemcpyAsync");
    const void* inputs[] = {launch.inputs[0], launch.inputs[1], launch.inputs[2], aside};
    fused_->run({launch.device, inputs, launch.outputs, launch.workspace});
  }

 private:
  KernelPointer fused_;
  size_t bytes_, aside_;
};

template <bool kAdd>
KernelPointer prepareBias(dw_device& device, const Node& node) {
  const Fused fused = readBias(node, kAdd);
  if (fused.conv.empty()) return makeNothing();
  ConvolutionProblem problem = plainProblem(device, node, fused);
  problem.fusion = Fusion::bias, problem.relu = fused.relu, problem.residual = kAdd;
  const size_t bytes = static_cast<size_t>(elements(node.output(0))) * byteSize(node.output(0).dtype);
  std::vector<Way> ways;
  if (isPlanned(device, problem))
    ways.push_back({"in one", [&]() -> KernelPointer {
                      KernelPointer planned = makePlanned(device.plans->plan(problem));
                      if (!kAdd) return planned;
                      return std::make_unique<MovedAside>(std::move(planned), bytes);
                    }});
  ways.push_back({"in steps", [&] {
                    return withType(node.input(0).dtype, [&](auto type) {
                      using T = typename decltype(type)::type;
                      return withEpilogue<T, kAdd>(plainConvolution(device, node), fused);
                    });
                  }});
  return fastestOf(device, node, ways);
}

}  // namespace

extern const Op op_filterMultiply, op_conv2dBias, op_conv2dBiasAdd;

const Op op_filterMultiply = {checkMultiply, prepareMultiply};
const Op op_conv2dBias = {checkBias<false>, prepareBias<false>};
const Op op_conv2dBiasAdd = {checkBias<true>, prepareBias<true>};

}  // namespace dw::cuda
