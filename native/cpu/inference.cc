// Ops of inference programs: convolutions with bias, residual and ReLU in the epilogue, and their filters in
// the layout that they are computed with, reordered once for all runs. Pointwise and
// most 3x3 ones by our own loops, all others by oneDNN.
#include <cstring>

#include "convolution.h"
#include "depthwiseConvolution.h"
#include "descriptors.h"
#include "pointwise.h"
#include "primitive.h"
#include "winograd.h"

namespace dw::cpu {
namespace {

// What determines the convolution, and with it the layout of its packed filters.
struct Fused {
  Convolution conv;
  bool relu, add;
};

// Attributes: conv, relu; then those of each op.
constexpr uint32_t kEpilogue = kConvolutionAttributes + 1;

void checkFused(const Node& node, const Fused& fused) {
  // A depthwise convolution computes too little for each result to hide a second pass less: our loops are as
  // fast.
  if (hasDepthwiseLoops(fused.conv)) node.unsupported("depthwise filters are not fused with a bias");
  // oneDNN 2.6.3 (brgconv) crashes in the epilogue of windows that see nothing but padding. Every window sees
  // the image where taps have no holes and the padding is less than the kernel.
  const Convolution& conv = fused.conv;
  const Window& window = conv.window;
  if (conv.dilationH > 1 || conv.dilationW > 1 || std::max(window.top, window.bottom) >= conv.kernelH ||
      std::max(window.left, window.right) >= conv.kernelW)
    node.unsupported(
        "convolutions with dilation, or with windows outside the image, are not fused with a bias");
}

bool reluOf(const Node& node) { return node.attribute(kConvolutionAttributes) != 0; }

// conv2dBias(x, w, bias) or conv2dBiasAdd(x, w, bias, residual)
Fused readBias(const Node& node, bool add) {
  node.expect(add ? 4 : 3, 1, kEpilogue);
  const Fused fused = {readConvolution(node, node.input(0), node.input(1), node.output(0)), reluOf(node),
                       add};
  node.expectShape(node.input(2), {fused.conv.o});
  if (add) node.expectSameShape(node.input(3), node.output(0));
  checkFused(node, fused);
  return fused;
}

dnnl::primitive_attr attributesOf(const Fused& fused) {
  dnnl::primitive_attr attributes = userScratchpad();
  dnnl::post_ops epilogue;
  if (fused.add) epilogue.append_sum(1.0f);
  if (fused.relu) onednn::appendRelu(epilogue);
  attributes.set_post_ops(epilogue);
  return attributes;
}

dnnl::convolution_forward::primitive_desc descriptorOf(const dnnl::engine& engine, const Fused& fused) {
  const Convolution& conv = fused.conv;
  return onednn::convolutionForward(engine, describeImage(conv.n, conv.h, conv.w, conv.c), anyWeights(conv),
                                    describeVector(conv.o), describeImage(conv.n, conv.oh, conv.ow, conv.o),
                                    geometryOf(conv), attributesOf(fused));
}

// relu?(the convolution + bias [+ residual]). The weights come as they are at the interface, or packed.
class WithEpilogue final : public dw_kernel {
 public:
  WithEpilogue(dw_device& device, const Fused& fused, bool packed)
      : fused_(fused), bytes_(fused.conv.pixels() * fused.conv.o * static_cast<int64_t>(sizeof(float))) {
    const auto descriptor = descriptorOf(device.engine, fused);
    implementation_ = descriptor.impl_info_str();
    WorkspaceLayout layout;
    const Convolution& conv = fused.conv;
    const onednn::Desc here = describeWeights(conv), there = descriptor.weights_desc();
    convolution_ = Primitive(device, descriptor, layout);
    convolution_.add(device, DNNL_ARG_SRC, describeImage(conv.n, conv.h, conv.w, conv.c));
    convolution_.add(device, DNNL_ARG_WEIGHTS, there);
    convolution_.add(device, DNNL_ARG_BIAS, describeVector(conv.o));
    convolution_.add(device, DNNL_ARG_DST, describeImage(conv.n, conv.oh, conv.ow, conv.o));
    if (!packed && there != here) {
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
    // oneDNN adds to what is there; programs mostly give the residual's memory to the result.
    if (fused_.add && launch.inputs[3] != launch.outputs[0]) copy(launch.outputs[0], launch.inputs[3]);
    convolution_.at(1, launch.inputs[0]);
    convolution_.at(2, weights);
    convolution_.at(3, launch.inputs[2]);
    convolution_.at(4, launch.outputs[0]);
    convolution_.run(launch.device, launch.workspace);
  }

  const char* implementation() const override { return implementation_; }

 private:
  void copy(void* to, const void* from) const {
    parallelFor(bytes_, 1, [&](int64_t begin, int64_t end) {
      std::memcpy(static_cast<char*>(to) + begin, static_cast<const char*>(from) + begin,
                  static_cast<size_t>(end - begin));
    });
  }

  Fused fused_;
  int64_t bytes_;
  Primitive convolution_, reorder_;
  size_t weights_ = 0;
  const char* implementation_;
};

// No network has such a one with a residual.
bool byWinograd(const Fused& fused) { return !fused.add && hasWinograd(fused.conv); }

KernelPointer prepare(dw_device& device, const Fused& fused, bool packed) {
  if (fused.conv.empty()) return makeKernel([](const Launch&) {});
  if (hasPointwiseLoops(fused.conv)) {
    PointwiseEpilogue epilogue;
    epilogue.bias = true, epilogue.residual = fused.add, epilogue.relu = fused.relu, epilogue.packed = packed;
    return preparePointwise(device, fused.conv, epilogue);
  }
  if (byWinograd(fused)) {
    WinogradEpilogue epilogue;
    epilogue.bias = true, epilogue.relu = fused.relu, epilogue.packed = packed;
    return prepareWinograd(device, fused.conv, epilogue);
  }
  return std::make_unique<WithEpilogue>(device, fused, packed);
}

template <bool kAdd>
KernelPointer prepareBias(dw_device& device, const Node& node) {
  return prepare(device, readBias(node, kAdd), false);
}

// Bytes of the filters as the convolution wants them; 0 where that is how they are.
size_t packedSize(const dnnl::engine& engine, const Fused& fused) {
  if (fused.conv.empty()) return 0;
  if (hasPointwiseLoops(fused.conv)) return packedPointwiseBytes(fused.conv);
  if (byWinograd(fused)) return packedWinogradBytes(fused.conv);
  const onednn::Desc there = descriptorOf(engine, fused).weights_desc();
  return there == describeWeights(fused.conv) ? 0 : there.get_size();
}

template <bool kAdd>
size_t packedBytes(dw_device& device, const Node& node) {
  return packedSize(device.engine, readBias(node, kAdd));
}

void checkPacked(const Node& node, const Fused& fused, const dw_aval& packed) {
  checkFused(node, fused);
  node.expectType(packed, DW_U8);
  node.expectRank(packed, 1);
  const size_t bytes = packedSize(dnnl::engine(dnnl::engine::kind::cpu, 0), fused);
  if (packed.dims[0] != static_cast<int64_t>(bytes))
    node.unsupported("such filters take %zu packed bytes, not %lld", bytes,
                     static_cast<long long>(packed.dims[0]));
}

dw_aval floats(std::initializer_list<int64_t> dims) {
  dw_aval aval = {DW_F32, 0, {}};
  for (int64_t extent : dims) aval.dims[aval.rank++] = extent;
  return aval;
}

// packFilters(w) [conv, relu, n, h, w, oh, ow, add, bytes]
Fused readPack(const Node& node) {
  node.expect(1, 1, kEpilogue + 7);
  const dw_aval& w = node.input(0);
  node.expectType(w, DW_F32);
  node.expectRank(w, 4);
  const auto extent = [&](uint32_t i) { return node.integer(kEpilogue + i, 0); };
  const int64_t groups = node.integer(kConvolutionAttributes - 1, 1);
  const dw_aval x = floats({extent(0), extent(1), extent(2), w.dims[3] * groups});
  const dw_aval y = floats({extent(0), extent(3), extent(4), w.dims[0]});
  const Fused fused = {readConvolution(node, x, w, y), reluOf(node), extent(5) != 0};
  node.expectShape(node.output(0), {extent(6)});
  checkPacked(node, fused, node.output(0));
  return fused;
}

// conv2dPacked(x, packed, bias) or conv2dPackedAdd(x, packed, bias, residual) [conv, relu, o, kh, kw, d]
Fused readPacked(const Node& node, bool add) {
  node.expect(add ? 4 : 3, 1, kEpilogue + 4);
  const dw_aval &x = node.input(0), &y = node.output(0);
  const auto extent = [&](uint32_t i) { return node.integer(kEpilogue + i, 1); };
  const dw_aval w = floats({extent(0), extent(1), extent(2), extent(3)});
  const Fused fused = {readConvolution(node, x, w, y), reluOf(node), add};
  node.expectType(node.input(2), DW_F32);
  node.expectShape(node.input(2), {fused.conv.o});
  if (add) node.expectSameShape(node.input(3), y);
  checkPacked(node, fused, node.input(1));
  return fused;
}

template <bool kAdd>
KernelPointer preparePacked(dw_device& device, const Node& node) {
  return prepare(device, readPacked(node, kAdd), true);
}

class PackFilters final : public dw_kernel {
 public:
  PackFilters(dw_device& device, const Fused& fused) {
    WorkspaceLayout layout;
    const onednn::Desc here = describeWeights(fused.conv);
    const onednn::Desc there = descriptorOf(device.engine, fused).weights_desc();
    reorder_ = Primitive(device, reorderDescriptor(device, here, there), layout);
    reorder_.add(device, DNNL_ARG_FROM, here);
    reorder_.add(device, DNNL_ARG_TO, there);
    workspace = layout.size();
  }

  void run(const Launch& launch) override {
    reorder_.at(1, launch.inputs[0]);
    reorder_.at(2, launch.outputs[0]);
    reorder_.run(launch.device, launch.workspace);
  }

 private:
  Primitive reorder_;
};

KernelPointer preparePack(dw_device& device, const Node& node) {
  const Fused fused = readPack(node);
  if (hasPointwiseLoops(fused.conv)) return preparePackPointwise(device, fused.conv);
  if (byWinograd(fused)) return preparePackWinograd(device, fused.conv);
  return std::make_unique<PackFilters>(device, fused);
}

void checkMultiply(const Node& node) {
  node.expect(2, 1, 0);
  node.expectFloats();
  node.expectRank(node.input(0), 4);
  node.expectShape(node.input(1), {node.input(0).dims[0]});
  node.expectSameShape(node.output(0), node.input(0));
}

KernelPointer prepareMultiply(dw_device&, const Node& node) {
  checkMultiply(node);
  const int64_t filters = node.input(1).dims[0];
  const int64_t size = filters > 0 ? elements(node.input(0)) / filters : 0;
  return makeKernel([filters, size](const Launch& launch) {
    const float *w = launch.in(0), *scale = launch.in(1);
    float* y = launch.out(0);
    parallelFor(filters, size, [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; o++)
        for (int64_t i = 0; i < size; i++) y[o * size + i] = w[o * size + i] * scale[o];
    });
  });
}

}  // namespace

extern const Op op_filterMultiply, op_conv2dBias, op_conv2dBiasAdd, op_packFilters, op_conv2dPacked,
    op_conv2dPackedAdd;

const Op op_filterMultiply = {checkMultiply, prepareMultiply};
const Op op_conv2dBias = {[](const Node& node) { readBias(node, false); }, prepareBias<false>,
                          packedBytes<false>};
const Op op_conv2dBiasAdd = {[](const Node& node) { readBias(node, true); }, prepareBias<true>,
                             packedBytes<true>};
const Op op_packFilters = {[](const Node& node) { readPack(node); }, preparePack};
const Op op_conv2dPacked = {[](const Node& node) { readPacked(node, false); }, preparePacked<false>};
const Op op_conv2dPackedAdd = {[](const Node& node) { readPacked(node, true); }, preparePacked<true>};

}  // namespace dw::cpu
