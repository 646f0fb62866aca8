// Depthwise convolutions by our own loops, plain and fused with the normalization and the ReLU before them.
#include "depthwiseConvolution.h"

#include "primitive.h"

namespace dw::cpu {
namespace {

constexpr int64_t kTaps = 9;
constexpr int64_t kVector = 16;  // channels that blocks are multiples of: the widest vector
// Channels up to which a pixel is not divided: memory is read and written in long runs.
constexpr int64_t kMostChannels = 1536;
// Bytes of scratch rows per thread: they stay in the second-level cache beside what streams through it. A
// fourth of this was slower by a third where strips then had fewer columns.
constexpr int64_t kScratchBytes = 384 << 10;
constexpr int64_t kScratchRows = 4;
// Bytes of a row of a gradient's strip: three rows of g, one of x and one of dx, and those that come next,
// stay in the second-level cache.
constexpr int64_t kRowBytes = 96 << 10;
// Tasks below which images are cut into strips of rows, and the fewest rows of a strip: each strip reads two
// rows again.
constexpr int64_t kFewTasks = 16, kFewRows = 8;
// Pixels up to which a strip of a gradient takes more images: its sums, which are added up in f64, are then
// many beside what it reads.
constexpr int64_t kFewPixels = 256;
// Results of more bytes than this do not stay in caches until they are read.
constexpr int64_t kStreamBytes = 32 << 20;

int64_t ceilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Extents of parts, multiples of `unit`, that divide `extent` into as few as parts of at most `most` would.
int64_t evenParts(int64_t extent, int64_t most, int64_t unit) {
  return ceilDivide(ceilDivide(extent, ceilDivide(extent, most)), unit) * unit;
}

// `rows` by `columns` are the results of one image. The division depends on shapes alone, so sums do not
// depend on the number of threads. Gradients take whole pixels: they copy no rows, and memory is read in the
// longest runs there are.
DepthwiseShape divide(const Convolution& conv, int64_t rows, int64_t columns, bool gradient) {
  DepthwiseShape p = {};
  p.n = conv.n, p.h = conv.h, p.w = conv.w, p.c = conv.c, p.oh = conv.oh, p.ow = conv.ow;
  p.top = conv.window.top, p.left = conv.window.left;
  p.block = evenParts(p.c, gradient ? p.c : kMostChannels, kVector);
  p.blocks = ceilDivide(p.c, p.block);
  const int64_t pixel = p.block * static_cast<int64_t>(sizeof(float));
  const int64_t mostColumns = gradient ? kRowBytes / pixel : kScratchBytes / (kScratchRows * pixel) - 2;
  p.stripColumns = evenParts(columns, std::max<int64_t>(kVector, mostColumns), 4);
  p.columnStrips = ceilDivide(columns, p.stripColumns);
  const int64_t wanted =
      std::max<int64_t>(1, kFewTasks / std::max<int64_t>(1, p.n * p.columnStrips * p.blocks));
  p.stripRows = std::max(std::min(kFewRows, rows), ceilDivide(rows, wanted));
  p.rowStrips = ceilDivide(rows, p.stripRows);
  const bool whole = gradient && p.rowStrips == 1 && p.columnStrips == 1;
  p.images = whole ? std::max<int64_t>(1, std::min(kFewPixels / (rows * columns), p.n / kFewTasks)) : 1;
  p.stream = p.c % kVector == 0 && p.n * rows * columns * p.c * 4 > kStreamBytes;
  return p;
}

bool aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 64 == 0; }

// The weights [c][9] as [9][c]; turned by 180 degrees for the gradient of the input.
void transposeTaps(const float* w, int64_t c, bool turned, float* taps) {
  for (int64_t j = 0; j < c; j++)
    for (int64_t k = 0; k < kTaps; k++) taps[k * c + j] = w[j * kTaps + (turned ? kTaps - 1 - k : k)];
}

// y = the convolution of relu?(affine?(x)). Inputs x, [scale, shift], w.
class Forward final : public dw_kernel {
 public:
  Forward(const dw_device& device, const DepthwiseShape& shape, bool turned)
      : shape_(shape), turned_(turned), kernel_(device.kernels->depthwise) {
    WorkspaceLayout layout;
    taps_ = layout.place(static_cast<size_t>(kTaps * shape.c) * sizeof(float));
    scratchBytes_ =
        static_cast<size_t>(kScratchRows * (shape.stripColumns + 2) * shape.block) * sizeof(float);
    scratch_ = layout.place(scratchBytes_ * static_cast<size_t>(device.threads));
    workspace = layout.size();
  }

  void run(const Launch& launch) override {
    char* base = static_cast<char*>(launch.workspace);
    float* taps = reinterpret_cast<float*>(base + taps_);
    transposeTaps(launch.in(shape_.affine ? 3 : 1), shape_.c, turned_, taps);
    DepthwiseShape shape = shape_;
    shape.stream = shape.stream && aligned(launch.outputs[0]);
    const float* scale = shape.affine ? launch.in(1) : nullptr;
    const float* shift = shape.affine ? launch.in(2) : nullptr;
    parallelFor(shape.strips() * shape.blocks, shape.stripRows * shape.stripColumns * shape.block,
                [&](int64_t begin, int64_t end) {
                  char* scratch = base + scratch_ + static_cast<size_t>(omp_get_thread_num()) * scratchBytes_;
                  kernel_(shape, launch.in(0), scale, shift, taps, launch.out(0),
                          reinterpret_cast<float*>(scratch), begin, end);
                });
  }

 private:
  DepthwiseShape shape_;
  bool turned_;
  decltype(Kernels::depthwise) kernel_;
  size_t taps_, scratch_, scratchBytes_;
};

// Which operands a gradient has, by their place; -1: none.
struct Places {
  int g, x, scale, shift, w, residual;  // inputs
  int dx, dw, sumG, sumGX;              // outputs
};

// The weights' gradient and, with `dx`, that of the input, masked by the ReLU.
class Gradient final : public dw_kernel {
 public:
  Gradient(const dw_device& device, const DepthwiseShape& shape, const Places& places)
      : shape_(shape), places_(places), kernel_(device.kernels->depthwiseGrad) {
    WorkspaceLayout layout;
    taps_ = layout.place(static_cast<size_t>(kTaps * shape.c) * sizeof(float));
    parts_ = std::max<int64_t>(1, shape.strips());
    partials_ = layout.place(static_cast<size_t>(parts_ * kDepthwiseSums * shape.c) * sizeof(double));
    const int64_t blocks = ceilDivide(shape.c, kDepthwiseBlock);
    scratchBytes_ = static_cast<size_t>((1 + 2 * blocks * kDepthwiseSums) * kDepthwiseBlock) * sizeof(float);
    scratch_ = layout.place(scratchBytes_ * static_cast<size_t>(device.threads));
    workspace = layout.size();
  }

  void run(const Launch& launch) override {
    char* base = static_cast<char*>(launch.workspace);
    float* taps = reinterpret_cast<float*>(base + taps_);
    if (places_.dx >= 0) transposeTaps(launch.in(places_.w), shape_.c, false, taps);
    const auto in = [&](int place) { return place < 0 ? nullptr : launch.in(place); };
    const DepthwiseGradients operands = {in(places_.g),
                                         in(places_.x),
                                         in(places_.scale),
                                         in(places_.shift),
                                         taps,
                                         in(places_.residual),
                                         places_.dx < 0 ? nullptr : launch.out(places_.dx),
                                         reinterpret_cast<double*>(base + partials_)};
    DepthwiseShape shape = shape_;
    shape.stream = shape.stream && aligned(operands.dx);
    if (shape.n == 0) std::fill_n(operands.partials, kDepthwiseSums * shape.c, 0.0);
    parallelFor(shape.strips() * shape.blocks, 3 * shape.stripRows * shape.stripColumns * shape.block,
                [&](int64_t begin, int64_t end) {
                  char* scratch = base + scratch_ + static_cast<size_t>(omp_get_thread_num()) * scratchBytes_;
                  kernel_(shape, operands, reinterpret_cast<float*>(scratch), begin, end);
                });
    parallelFor(shape.c, parts_ * kDepthwiseSums,
                [&](int64_t begin, int64_t end) { merge(launch, operands.partials, begin, end); });
  }

 private:
  // Adds up the parts of channels [begin, end), in order.
  void merge(const Launch& launch, double* partials, int64_t begin, int64_t end) const {
    const int64_t c = shape_.c;
    for (int64_t part = 1; part < parts_; part++) {
      for (int64_t k = 0; k < kDepthwiseSums; k++) {
        const double* from = partials + (part * kDepthwiseSums + k) * c;
        for (int64_t j = begin; j < end; j++) partials[k * c + j] += from[j];
      }
    }
    float* dw = launch.out(places_.dw);
    for (int64_t j = begin; j < end; j++)
      for (int64_t k = 0; k < kTaps; k++) dw[j * kTaps + k] = static_cast<float>(partials[k * c + j]);
    if (places_.sumG < 0) return;
    float *sumG = launch.out(places_.sumG), *sumGX = launch.out(places_.sumGX);
    for (int64_t j = begin; j < end; j++) {
      sumG[j] = static_cast<float>(partials[kTaps * c + j]);
      sumGX[j] = static_cast<float>(partials[(kTaps + 1) * c + j]);
    }
  }

  DepthwiseShape shape_;
  Places places_;
  decltype(Kernels::depthwiseGrad) kernel_;
  int64_t parts_;
  size_t taps_, partials_, scratch_, scratchBytes_;
};

// Operands of the fused ops.
struct Fused {
  const dw_aval &x, &w, &y;
  int scale;  // input that scale is, shift follows; 0: none
};

Convolution readFused(const Node& node, const Fused& fused) {
  const Convolution conv = readConvolution(node, fused.x, fused.w, fused.y);
  if (conv.groups != conv.c) node.invalid("expected a group for each channel");
  if (fused.scale > 0) {
    node.expectShape(node.input(static_cast<uint32_t>(fused.scale)), {conv.c});
    node.expectShape(node.input(static_cast<uint32_t>(fused.scale) + 1), {conv.c});
  }
  if (!hasDepthwiseLoops(conv))
    node.unsupported("only 3x3 filters, one for each channel, at stride 1 are fused");
  return conv;
}

bool hasRelu(const Node& node) { return node.attribute(kConvolutionAttributes) != 0; }

Convolution readAffine(const Node& node) {
  node.expect(4, 1, kConvolutionAttributes + 1);
  return readFused(node, {node.input(0), node.input(3), node.output(0), 1});
}

Convolution readRelu(const Node& node) {
  node.expect(2, 1, kConvolutionAttributes + 1);
  if (!hasRelu(node)) node.invalid("expected a ReLU");
  return readFused(node, {node.input(0), node.input(1), node.output(0), 0});
}

Convolution readAffineGrad(const Node& node) {
  node.expect(5, 4, kConvolutionAttributes + 1);
  const Convolution conv = readFused(node, {node.input(1), node.input(4), node.input(0), 2});
  node.expectSameShape(node.output(0), node.input(1));
  node.expectSameShape(node.output(1), node.input(4));
  for (uint32_t i = 2; i < 4; i++) node.expectShape(node.output(i), {conv.c});
  return conv;
}

Convolution readReluGrad(const Node& node) {
  node.expect(4, 2, kConvolutionAttributes + 1);
  if (!hasRelu(node)) node.invalid("expected a ReLU");
  const Convolution conv = readFused(node, {node.input(1), node.input(2), node.input(0), 0});
  node.expectSameShape(node.output(0), node.input(1));
  node.expectSameShape(node.input(3), node.input(1));
  node.expectSameShape(node.output(1), node.input(2));
  return conv;
}

KernelPointer prepareFused(dw_device& device, const Convolution& conv, bool affine, bool relu) {
  DepthwiseShape shape = divide(conv, conv.oh, conv.ow, false);
  shape.affine = affine, shape.relu = relu;
  return std::make_unique<Forward>(device, shape, false);
}

KernelPointer prepareAffine(dw_device& device, const Node& node) {
  return prepareFused(device, readAffine(node), true, hasRelu(node));
}

KernelPointer prepareRelu(dw_device& device, const Node& node) {
  return prepareFused(device, readRelu(node), false, true);
}

KernelPointer prepareAffineGrad(dw_device& device, const Node& node) {
  const Convolution conv = readAffineGrad(node);
  DepthwiseShape shape = divide(conv, conv.h, conv.w, true);
  shape.affine = true, shape.relu = hasRelu(node);
  return std::make_unique<Gradient>(device, shape, Places{0, 1, 2, 3, 4, -1, 0, 1, 2, 3});
}

KernelPointer prepareReluGrad(dw_device& device, const Node& node) {
  const Convolution conv = readReluGrad(node);
  DepthwiseShape shape = divide(conv, conv.h, conv.w, true);
  shape.relu = true;
  return std::make_unique<Gradient>(device, shape, Places{0, 1, -1, -1, 2, 3, 0, 1, -1, -1});
}

}  // namespace

bool hasDepthwiseLoops(const Convolution& conv) {
  const Window& window = conv.window;
  return conv.groups == conv.c && conv.o == conv.c && conv.kernelH == 3 && conv.kernelW == 3 &&
         window.strideH == 1 && window.strideW == 1 && conv.dilationH == 1 && conv.dilationW == 1 &&
         window.top <= 2 && window.left <= 2 && window.bottom <= 2 && window.right <= 2;
}

KernelPointer prepareDepthwise(dw_device& device, const Convolution& conv) {
  return prepareFused(device, conv, false, false);
}

// The convolution of g with the filters turned, padded so that the input comes out.
KernelPointer prepareDepthwiseInputGrad(dw_device& device, const Convolution& conv) {
  Convolution turned = conv;
  turned.h = conv.oh, turned.w = conv.ow, turned.oh = conv.h, turned.ow = conv.w;
  turned.window.top = 2 - conv.window.top, turned.window.left = 2 - conv.window.left;
  return std::make_unique<Forward>(device, divide(turned, turned.oh, turned.ow, false), true);
}

KernelPointer prepareDepthwiseWeightGrad(dw_device& device, const Convolution& conv) {
  return std::make_unique<Gradient>(device, divide(conv, conv.h, conv.w, true),
                                    Places{1, 0, -1, -1, -1, -1, -1, 0, -1, -1});
}

extern const Op op_depthwiseAffine, op_depthwiseRelu, op_depthwiseAffineGrad, op_depthwiseReluGrad;

const Op op_depthwiseAffine = {[](const Node& node) { readAffine(node); }, prepareAffine};
const Op op_depthwiseRelu = {[](const Node& node) { readRelu(node); }, prepareRelu};
const Op op_depthwiseAffineGrad = {[](const Node& node) { readAffineGrad(node); }, prepareAffineGrad};
const Op op_depthwiseReluGrad = {[](const Node& node) { readReluGrad(node); }, prepareReluGrad};

}  // namespace dw::cpu
