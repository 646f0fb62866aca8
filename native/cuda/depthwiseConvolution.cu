// Depthwise convolutions by our own kernels: one filter for each channel, with an affine map and ReLU on
// load, and both gradients with the sums that the next normalization's gradient needs.
#include "channels.h"
#include "depthwiseConvolution.h"
#include "depthwiseWays.h"
#include "kernels/depthwise.cuh"

namespace dw::cuda {
namespace {

// Scratch memory: the taps, then the partial sums of whatever is summed up.
struct Layout {
  SumsGrid pixels, outputs;  // over the pixels of x, and over those of y
  size_t taps, partials, bytes;

  Layout(const ConvolutionShape& conv, int N, int multiprocessors)
      : pixels(sumsGrid(conv.n * conv.h * conv.w, conv.c, N, multiprocessors)),
        outputs(sumsGrid(conv.pixels(), conv.c, N, multiprocessors)),
        taps(0),
        partials(piece(static_cast<size_t>(conv.weights()) * sizeof(float))),
        bytes(partials + std::max(sumsBytes(pixels, conv.c), sumsBytes(outputs, conv.c))) {}
};

template <int N, class T>
class Depthwise final : public dw_kernel {
 public:
  Depthwise(const dw_device& device, const ConvolutionShape& conv, const DepthwiseOperands& at, bool relu)
      : conv_(conv), at_(at), relu_(relu), layout_(conv, N, device.multiprocessors) {
    workspace = layout_.bytes;
  }

  void run(const Launch& launch) override {
    const OnLoad map = {at_.scale < 0 ? nullptr : launch.in(at_.scale),
                        at_.shift < 0 ? nullptr : launch.in(at_.shift), relu_};
    if (at_.w >= 0) transpose(launch);
    if (at_.y >= 0) forward(launch, map);
    if (at_.dx >= 0) inputGrad(launch, map);
    if (at_.dw >= 0) weightGrad(launch, map);
  }

 private:
  int64_t tapCount() const { return conv_.kernelH * conv_.kernelW; }

  void transpose(const Launch& run) const {
    launch(transposeTaps<T>, blocksFor(conv_.weights(), run.device.multiprocessors), kThreads, 0,
           run.stream(), run.in<T>(at_.w), run.scratch(layout_.taps), conv_.c, tapCount(), false);
  }

  void forward(const Launch& run, const OnLoad& map) const {
    const int64_t count = conv_.pixels() * conv_.c / N;
    if (count == 0) return;
    launch(depthwise<N, T>, blocksFor(count, run.device.multiprocessors), kThreads, 0, run.stream(), conv_,
           map, run.in<T>(at_.x), run.scratch(layout_.taps), run.out<T>(at_.y));
  }

  void inputGrad(const Launch& run, const OnLoad& map) const {
    const int64_t rows = conv_.n * conv_.h * conv_.w;
    const DepthwiseGradTerms<T> terms = {conv_,
                                         map,
                                         run.in<T>(at_.g),
                                         at_.x < 0 ? nullptr : run.in<T>(at_.x),
                                         run.scratch(layout_.taps),
                                         at_.residual < 0 ? nullptr : run.in<T>(at_.residual),
                                         run.out<T>(at_.dx)};
    if (at_.sumG >= 0)
      launchSums<N>(run, terms, layout_.pixels, rows, conv_.c, run.scratch(layout_.partials),
                    run.out(at_.sumG), run.out(at_.sumGX));
    else if (rows > 0)
      launch(depthwiseInputGrad<N, T>, blocksFor(rows * conv_.c / N, run.device.multiprocessors), kThreads, 0,
             run.stream(), terms);
  }

  void weightGrad(const Launch& run, const OnLoad& map) const {
    float* partials = run.scratch(layout_.partials);
    const dim3 block = finishBlock(layout_.outputs.parts);
    for (int64_t tap = 0; tap < tapCount(); tap++) {
      const DepthwiseWeightTerms<T> terms = {
          conv_, map, run.in<T>(at_.x), run.in<T>(at_.g), tap / conv_.kernelW, tap % conv_.kernelW};
      launchPartialSums<N>(run, terms, layout_.outputs, conv_.pixels(), conv_.c, partials);
      launch(finishTap<T>, finishBlocks(conv_.c), block, block.x * block.y * sizeof(Sum), run.stream(),
             partials, layout_.outputs.parts, conv_.c, run.out<T>(at_.dw), tapCount(), tap);
    }
  }

  ConvolutionShape conv_;
  DepthwiseOperands at_;
  bool relu_;
  Layout layout_;
};

bool hasRelu(const Node& node) { return node.attribute(kConvolutionAttributes) != 0; }

ConvolutionShape readFused(const Node& node, const dw_aval& x, const dw_aval& w, const dw_aval& y) {
  const ConvolutionShape conv = readConvolution(node, x, w, y);
  if (conv.groups != conv.c) node.invalid("expected a group for each channel");
  if (!conv.depthwise()) node.unsupported("only one filter for each channel is fused");
  return conv;
}

ConvolutionShape readAffine(const Node& node) {
  node.expect(4, 1, kConvolutionAttributes + 1);
  const ConvolutionShape conv = readFused(node, node.input(0), node.input(3), node.output(0));
  for (uint32_t i = 1; i < 3; i++) node.expectVector(node.input(i), conv.c);
  return conv;
}

ConvolutionShape readRelu(const Node& node) {
  node.expect(2, 1, kConvolutionAttributes + 1);
  if (!hasRelu(node)) node.invalid("expected a ReLU");
  return readFused(node, node.input(0), node.input(1), node.output(0));
}

ConvolutionShape readAffineGrad(const Node& node) {
  node.expect(5, 4, kConvolutionAttributes + 1);
  const ConvolutionShape conv = readFused(node, node.input(1), node.input(4), node.input(0));
  node.expectSame(node.output(0), node.input(1));
  node.expectSame(node.output(1), node.input(4));
  for (uint32_t i = 2; i < 4; i++) {
    node.expectVector(node.input(i), conv.c);
    node.expectVector(node.output(i), conv.c);
  }
  return conv;
}

ConvolutionShape readReluGrad(const Node& node) {
  node.expect(4, 2, kConvolutionAttributes + 1);
  if (!hasRelu(node)) node.invalid("expected a ReLU");
  const ConvolutionShape conv = readFused(node, node.input(1), node.input(2), node.input(0));
  node.expectSame(node.output(0), node.input(1));
  node.expectSame(node.input(3), node.input(1));
  node.expectSame(node.output(1), node.input(2));
  return conv;
}

KernelPointer prepareAffine(dw_device& device, const Node& node) {
  DepthwiseOperands at;
  at.x = 0, at.scale = 1, at.shift = 2, at.w = 3, at.y = 0;
  return fastestDepthwise(device, node, [&] {
    return prepareDepthwise(device, readAffine(node), node.input(0).dtype, at, hasRelu(node));
  });
}

KernelPointer prepareRelu(dw_device& device, const Node& node) {
  DepthwiseOperands at;
  at.x = 0, at.w = 1, at.y = 0;
  return fastestDepthwise(device, node, [&] {
    return prepareDepthwise(device, readRelu(node), node.input(0).dtype, at, true);
  });
}

KernelPointer prepareAffineGrad(dw_device& device, const Node& node) {
  DepthwiseOperands at;
  at.g = 0, at.x = 1, at.scale = 2, at.shift = 3, at.w = 4;
  at.dx = 0, at.dw = 1, at.sumG = 2, at.sumGX = 3;
  return fastestDepthwise(device, node, [&] {
    return prepareDepthwise(device, readAffineGrad(node), node.input(0).dtype, at, hasRelu(node));
  });
}

KernelPointer prepareReluGrad(dw_device& device, const Node& node) {
  DepthwiseOperands at;
  at.g = 0, at.x = 1, at.w = 2, at.residual = 3, at.dx = 0, at.dw = 1;
  return fastestDepthwise(device, node, [&] {
    return prepareDepthwise(device, readReluGrad(node), node.input(0).dtype, at, true);
  });
}

}  // namespace

KernelPointer prepareDepthwise(dw_device& device, const ConvolutionShape& conv, int32_t dtype,
                               const DepthwiseOperands& operands, bool relu) {
  if (KernelPointer kernel = prepareDepthwise3x3(device, conv, dtype, operands, relu)) return kernel;
  return withType(dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    return withWidth<T>(conv.c, [&](auto width) -> KernelPointer {
      return std::make_unique<Depthwise<decltype(width)::value, T>>(device, conv, operands, relu);
    });
  });
}

extern const Op op_depthwiseAffine, op_depthwiseRelu, op_depthwiseAffineGrad, op_depthwiseReluGrad;

const Op op_depthwiseAffine = {[](const dw_device&, const Node& node) { readAffine(node); }, prepareAffine};
const Op op_depthwiseRelu = {[](const dw_device&, const Node& node) { readRelu(node); }, prepareRelu};
const Op op_depthwiseAffineGrad = {[](const dw_device&, const Node& node) { readAffineGrad(node); },
                                   prepareAffineGrad};
const Op op_depthwiseReluGrad = {[](const dw_device&, const Node& node) { readReluGrad(node); },
                                 prepareReluGrad};

}  // namespace dw::cuda
