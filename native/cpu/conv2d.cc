// Convolution and its two gradients: NHWC images, weights [o, kh, kw, c/groups] at the interface. Depthwise,
// pointwise and most 3x3 ones by our own loops, all others by oneDNN.
//
// oneDNN chooses the layout that it wants the weights in; reordering them costs little beside the
// convolution.
#include <cstring>

#include "convolution.h"
#include "depthwiseConvolution.h"
#include "descriptors.h"
#include "parts.h"
#include "pointwise.h"
#include "primitive.h"
#include "winograd.h"

namespace dw::cpu {
namespace {

constexpr uint32_t kAttributes = kConvolutionAttributes;

Convolution readForward(const Node& node) {
  node.expect(2, 1, kAttributes);
  return readConvolution(node, node.input(0), node.input(1), node.output(0));
}

Convolution readInputGrad(const Node& node) {
  node.expect(2, 1, kAttributes + 2);
  return readConvolution(node, node.output(0), node.input(1), node.input(0));
}

Convolution readWeightGrad(const Node& node) {
  node.expect(2, 1, kAttributes + 2);
  return readConvolution(node, node.input(0), node.output(0), node.input(1));
}

dnnl::convolution_forward::primitive_desc forwardDescriptor(const dw_device& device,
                                                            const Convolution& conv) {
  return onednn::convolutionForward(device.engine, describeImage(conv.n, conv.h, conv.w, conv.c),
                                    anyWeights(conv), describeImage(conv.n, conv.oh, conv.ow, conv.o),
                                    geometryOf(conv), userScratchpad());
}

// A convolution that reads weights: forward, and the input gradient.
class WithWeights final : public dw_kernel {
 public:
  template <class Descriptor>
  WithWeights(dw_device& device, const Convolution& conv, const Descriptor& descriptor, int from, int to,
              const onednn::Desc& fromDesc, const onednn::Desc& toDesc)
      : implementation_(descriptor.impl_info_str()) {
    WorkspaceLayout layout;
    const onednn::Desc here = describeWeights(conv), there = descriptor.weights_desc();
    convolution_ = Primitive(device, descriptor, layout);
    convolution_.add(device, from, fromDesc);
    convolution_.add(device, DNNL_ARG_WEIGHTS, there);
    convolution_.add(device, to, toDesc);
    if (there != here) {
      weights_ = layout.place(there.get_size());
      reorder_ = Primitive(device, reorderDescriptor(device, here, there), layout);
      reorder_.add(device, DNNL_ARG_FROM, here);
      reorder_.add(device, DNNL_ARG_TO, there);
    }
    workspace = layout.size();
  }

  void run(const Launch& launch) override {
    const void* weights = launch.inputs[1];
    if (reorder_) {
      void* reordered = static_cast<char*>(launch.workspace) + weights_;
      reorder_.at(1, weights);
      reorder_.at(2, reordered);
      reorder_.run(launch.device, launch.workspace);
      weights = reordered;
    }
    convolution_.at(1, launch.inputs[0]);
    convolution_.at(2, weights);
    convolution_.at(3, launch.outputs[0]);
    convolution_.run(launch.device, launch.workspace);
  }

  const char* implementation() const override { return implementation_; }

 private:
  Primitive convolution_, reorder_;
  size_t weights_ = 0;
  const char* implementation_;
};

// The weight gradient: the convolution first, then its result in the interface's layout.
class WeightGrad final : public dw_kernel {
 public:
  WeightGrad(dw_device& device, const Convolution& conv) {
    const onednn::Desc x = describeImage(conv.n, conv.h, conv.w, conv.c);
    const onednn::Desc g = describeImage(conv.n, conv.oh, conv.ow, conv.o);
    const auto descriptor =
        onednn::convolutionBackwardWeights(device.engine, x, anyWeights(conv), g, geometryOf(conv),
                                           userScratchpad(), forwardDescriptor(device, conv));
    implementation_ = descriptor.impl_info_str();
    WorkspaceLayout layout;
    const onednn::Desc here = describeWeights(conv), there = descriptor.diff_weights_desc();
    convolution_ = Primitive(device, descriptor, layout);
    convolution_.add(device, DNNL_ARG_SRC, x);
    convolution_.add(device, DNNL_ARG_DIFF_DST, g);
    convolution_.add(device, DNNL_ARG_DIFF_WEIGHTS, there);
    if (there != here) {
      weights_ = layout.place(there.get_size());
      reorder_ = Primitive(device, reorderDescriptor(device, there, here), layout);
      reorder_.add(device, DNNL_ARG_FROM, there);
      reorder_.add(device, DNNL_ARG_TO, here);
    }
    workspace = layout.size();
  }

  void run(const Launch& launch) override {
    void* gradient = reorder_ ? static_cast<char*>(launch.workspace) + weights_ : launch.outputs[0];
    convolution_.at(1, launch.inputs[0]);
    convolution_.at(2, launch.inputs[1]);
    convolution_.at(3, gradient);
    convolution_.run(launch.device, launch.workspace);
    if (!reorder_) return;
    reorder_.at(1, gradient);
    reorder_.at(2, launch.outputs[0]);
    reorder_.run(launch.device, launch.workspace);
  }

  const char* implementation() const override { return implementation_; }

 private:
  Primitive convolution_, reorder_;
  size_t weights_ = 0;
  const char* implementation_;
};

KernelPointer inputGradKernel(dw_device& device, const Convolution& conv);
KernelPointer weightGradKernel(dw_device& device, const Convolution& conv);

// The gradients of a pointwise convolution with strides: those of one without, on the pixels that it reads,
// packed. oneDNN's own are slower (64 to 128 channels on 8 images of 147x147, one core of Zen 4: 16 and 15 ms
// against 12 and 11.5; its convolution itself is faster than packing).
class StridedPointwiseGrad final : public dw_kernel {
 public:
  enum class Direction { inputGrad, weightGrad };

  StridedPointwiseGrad(dw_device& device, const Convolution& conv, Direction direction)
      : conv_(conv), direction_(direction) {
    Convolution packed = conv;
    packed.h = conv.oh, packed.w = conv.ow;
    packed.window = {1, 1, 0, 0, 0, 0};
    inner_ = direction == Direction::inputGrad ? inputGradKernel(device, packed)
                                               : weightGradKernel(device, packed);
    packed_ = (inner_->workspace + 63) / 64 * 64;
    workspace = packed_ + static_cast<size_t>(conv.pixels() * conv.c) * sizeof(float);
  }

  static bool fits(const Convolution& conv) {
    const Window& window = conv.window;
    return conv.kernelH == 1 && conv.kernelW == 1 && conv.groups == 1 &&
           (window.strideH > 1 || window.strideW > 1) && window.top == 0 && window.bottom == 0 &&
           window.left == 0 && window.right == 0;
  }

  void run(const Launch& launch) override {
    float* packed = reinterpret_cast<float*>(static_cast<char*>(launch.workspace) + packed_);
    if (direction_ == Direction::inputGrad) {
      void* outputs[] = {packed};
      inner_->run({launch.device, launch.inputs, outputs, launch.workspace});
      unpack(packed, launch.out(0));
      return;
    }
    pack(launch.in(0), packed);
    const void* inputs[] = {packed, launch.inputs[1]};
    inner_->run({launch.device, inputs, launch.outputs, launch.workspace});
  }

  const char* implementation() const override { return inner_->implementation(); }

 private:
  size_t pixelBytes() const { return static_cast<size_t>(conv_.c) * sizeof(float); }

  void pack(const float* x, float* packed) const {
    const Window& window = conv_.window;
    parallelFor(conv_.n * conv_.oh, conv_.ow * conv_.c, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        const int64_t line = (row / conv_.oh * conv_.h + row % conv_.oh * window.strideH) * conv_.w;
        for (int64_t i = 0; i < conv_.ow; i++)
          std::memcpy(packed + (row * conv_.ow + i) * conv_.c, x + (line + i * window.strideW) * conv_.c,
                      pixelBytes());
      }
    });
  }

  // Zeros between the packed pixels.
  void unpack(const float* packed, float* x) const {
    const Window& window = conv_.window;
    parallelFor(conv_.n * conv_.h, conv_.w * conv_.c, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++) {
        const int64_t image = row / conv_.h, line = row % conv_.h, from = line / window.strideH;
        float* to = x + row * conv_.w * conv_.c;
        if (line % window.strideH != 0 || from >= conv_.oh) {
          std::memset(to, 0, static_cast<size_t>(conv_.w) * pixelBytes());
          continue;
        }
        for (int64_t i = 0; i < conv_.w; i++) {
          const int64_t column = i / window.strideW;
          if (i % window.strideW != 0 || column >= conv_.ow)
            std::memset(to + i * conv_.c, 0, pixelBytes());
          else
            std::memcpy(to + i * conv_.c, packed + ((image * conv_.oh + from) * conv_.ow + column) * conv_.c,
                        pixelBytes());
        }
      }
    });
  }

  Convolution conv_;
  Direction direction_;
  KernelPointer inner_;
  size_t packed_;
};

KernelPointer forwardKernel(dw_device& device, const Convolution& conv) {
  if (conv.empty()) return makeKernel([](const Launch&) {});
  if (hasDepthwiseLoops(conv)) return prepareDepthwise(device, conv);
  if (hasPointwiseLoops(conv)) return preparePointwise(device, conv, {});
  if (hasWinograd(conv)) return prepareWinograd(device, conv, {});
  return std::make_unique<WithWeights>(device, conv, forwardDescriptor(device, conv), DNNL_ARG_SRC,
                                       DNNL_ARG_DST, describeImage(conv.n, conv.h, conv.w, conv.c),
                                       describeImage(conv.n, conv.oh, conv.ow, conv.o));
}

KernelPointer prepareForward(dw_device& device, const Node& node) {
  return forwardKernel(device, readForward(node));
}

KernelPointer inputGradKernel(dw_device& device, const Convolution& conv) {
  if (conv.empty()) return makeKernel([](const Launch&) {});
  if (hasDepthwiseLoops(conv)) return prepareDepthwiseInputGrad(device, conv);
  if (hasPointwiseLoops(conv)) return preparePointwiseInputGrad(device, conv);
  if (hasWinograd(conv)) return prepareWinogradInputGrad(device, conv);
  if (StridedPointwiseGrad::fits(conv))
    return std::make_unique<StridedPointwiseGrad>(device, conv, StridedPointwiseGrad::Direction::inputGrad);
  const onednn::Desc x = describeImage(conv.n, conv.h, conv.w, conv.c);
  const onednn::Desc g = describeImage(conv.n, conv.oh, conv.ow, conv.o);
  const auto descriptor =
      onednn::convolutionBackwardData(device.engine, x, anyWeights(conv), g, geometryOf(conv),
                                      userScratchpad(), forwardDescriptor(device, conv));
  return std::make_unique<WithWeights>(device, conv, descriptor, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_SRC, g, x);
}

KernelPointer weightGradKernel(dw_device& device, const Convolution& conv) {
  if (conv.empty()) {
    return makeKernel([count = conv.o * conv.kernelH * conv.kernelW * conv.c /
                               conv.groups](const Launch& run) { std::fill_n(run.out(0), count, 0.0f); });
  }
  if (hasDepthwiseLoops(conv)) return prepareDepthwiseWeightGrad(device, conv);
  if (hasPointwiseWeightGradLoops(conv)) return preparePointwiseWeightGrad(device, conv);
  if (hasWinograd(conv)) return prepareWinogradWeightGrad(device, conv);
  if (StridedPointwiseGrad::fits(conv))
    return std::make_unique<StridedPointwiseGrad>(device, conv, StridedPointwiseGrad::Direction::weightGrad);
  return std::make_unique<WeightGrad>(device, conv);
}

KernelPointer prepareInputGrad(dw_device& device, const Node& node) {
  return inputGradKernel(device, readInputGrad(node));
}

KernelPointer prepareWeightGrad(dw_device& device, const Node& node) {
  return weightGradKernel(device, readWeightGrad(node));
}

// A convolution, and the sums of its output right after it.
class WithSums final : public dw_kernel {
 public:
  WithSums(const dw_device& device, KernelPointer convolution, const Convolution& conv)
      : convolution_(std::move(convolution)),
        kernel_(device.kernels->channelSums),
        rows_(conv.pixels()),
        c_(conv.o),
        sums_((convolution_->workspace + 63) / 64 * 64) {
    workspace = sums_ + partsWorkspace(partsOf(rows_), c_);
  }

  void run(const Launch& launch) override {
    convolution_->run(launch);
    const float* y = launch.out(0);
    reduceParts(partsOf(rows_), rows_, c_, static_cast<char*>(launch.workspace) + sums_, launch.out(1),
                launch.out(2), [&](int64_t first, int64_t rows, double* sums, double* squares) {
                  kernel_(y + first * c_, rows, c_, c_, sums, squares);
                });
  }

  const char* implementation() const override { return convolution_->implementation(); }

 private:
  KernelPointer convolution_;
  decltype(Kernels::channelSums) kernel_;
  int64_t rows_, c_;
  size_t sums_;
};

Convolution readForwardSums(const Node& node) {
  node.expect(2, 3, kAttributes);
  const Convolution conv = readConvolution(node, node.input(0), node.input(1), node.output(0));
  for (uint32_t i = 1; i < 3; i++) node.expectShape(node.output(i), {conv.o});
  return conv;
}

KernelPointer prepareForwardSums(dw_device& device, const Node& node) {
  const Convolution conv = readForwardSums(node);
  if (hasPointwiseLoops(conv)) {
    PointwiseEpilogue epilogue;
    epilogue.sums = true;
    return preparePointwise(device, conv, epilogue);
  }
  if (!conv.empty() && hasWinograd(conv)) {
    WinogradEpilogue epilogue;
    epilogue.sums = true;
    return prepareWinograd(device, conv, epilogue);
  }
  return std::make_unique<WithSums>(device, forwardKernel(device, conv), conv);
}

}  // namespace

extern const Op op_conv2dSums;
const Op op_conv2dSums = {[](const Node& node) { readForwardSums(node); }, prepareForwardSums};

extern const Op op_conv2d, op_conv2dInputGrad, op_conv2dWeightGrad;

const Op op_conv2d = {[](const Node& node) { readForward(node); }, prepareForward};
const Op op_conv2dInputGrad = {[](const Node& node) { readInputGrad(node); }, prepareInputGrad};
const Op op_conv2dWeightGrad = {[](const Node& node) { readWeightGrad(node); }, prepareWeightGrad};

}  // namespace dw::cpu
