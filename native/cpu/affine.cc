// Fused ops around an affine map per channel: with ReLU, with a residual, with pooling, and the gradients'
// sums. Formulas: depthwise_ops.h.
#include "parts.h"
#include "pooling.h"

namespace dw::cpu {
namespace {

// Results of more bytes than this do not stay in caches until they are read.
constexpr int64_t kStreamBytes = 32 << 20;

// Throws unless these inputs are vectors [c].
template <uint32_t... kVectors>
void expectVectors(const Node& node, int64_t c) {
  for (uint32_t i : {kVectors...}) node.expectShape(node.input(i), {c});
}

void checkAffine2(const Node& node) {
  node.expect(5, 1, 0);
  node.expectFloats();
  node.expectSameShape(node.input(0), node.output(0));
  node.expectSameShape(node.input(1), node.output(0));
  expectVectors<2, 3, 4>(node, channels(node.output(0)));
}

void checkAffineRelu(const Node& node) {
  node.expect(3, 1, 0);
  node.expectFloats();
  node.expectSameShape(node.input(0), node.output(0));
  expectVectors<1, 2>(node, channels(node.output(0)));
}

void checkAffineAdd(const Node& node) {
  node.expect(4, 1, 0);
  node.expectFloats();
  node.expectSameShape(node.input(0), node.output(0));
  node.expectSameShape(node.input(3), node.output(0));
  expectVectors<1, 2>(node, channels(node.output(0)));
}

void checkAffineReluGrad(const Node& node) {
  node.expect(4, 3, 0);
  node.expectFloats();
  node.expectSameShape(node.input(0), node.output(0));
  node.expectSameShape(node.input(1), node.output(0));
  const int64_t c = channels(node.output(0));
  expectVectors<2, 3>(node, c);
  for (uint32_t i = 1; i < 3; i++) node.expectShape(node.output(i), {c});
}

KernelPointer prepareAffine2(dw_device& device, const Node& node) {
  const int64_t c = channels(node.output(0)), count = rows(node.output(0));
  const bool large = count * c * 4 > kStreamBytes;
  return makeKernel([=, kernel = device.kernels->channelAffine2](const Launch& run) {
    const bool stream = large && run.out(0) != run.in(0) && run.out(0) != run.in(1);
    parallelFor(count, c, [&](int64_t begin, int64_t end) {
      kernel(run.in(0) + begin * c, run.in(1) + begin * c, run.in(2), run.in(3), run.in(4),
             run.out(0) + begin * c, end - begin, c, stream);
    });
  });
}

KernelPointer prepareAffineRelu(dw_device& device, const Node& node) {
  const int64_t c = channels(node.output(0)), count = rows(node.output(0));
  const bool large = count * c * 4 > kStreamBytes;
  return makeKernel([=, kernel = device.kernels->affineRelu](const Launch& run) {
    const bool stream = large && run.out(0) != run.in(0);
    parallelFor(count, c, [&](int64_t begin, int64_t end) {
      kernel(run.in(0) + begin * c, run.in(1), run.in(2), run.out(0) + begin * c, end - begin, c, stream);
    });
  });
}

KernelPointer prepareAffineAdd(dw_device& device, const Node& node) {
  const int64_t c = channels(node.output(0)), count = rows(node.output(0));
  return makeKernel([=, kernel = device.kernels->affineAdd](const Launch& run) {
    parallelFor(count, c, [&](int64_t begin, int64_t end) {
      kernel(run.in(0) + begin * c, run.in(1), run.in(2), run.in(3) + begin * c, run.out(0) + begin * c,
             end - begin, c);
    });
  });
}

KernelPointer prepareAffineReluGrad(dw_device& device, const Node& node) {
  const int64_t c = channels(node.output(0)), count = rows(node.output(0)), parts = partsOf(count);
  return makeKernel(
      [=, kernel = device.kernels->affineReluGrad](const Launch& run) {
        reduceParts(parts, count, c, run.workspace, run.out(1), run.out(2),
                    [&](int64_t first, int64_t rows, double* sumG, double* sumGX) {
                      kernel(run.in(0) + first * c, run.in(1) + first * c, run.in(2), run.in(3),
                             run.out(0) + first * c, rows, c, sumG, sumGX);
                    });
      },
      partsWorkspace(parts, c));
}

PoolShape affineMaxPoolAddShape(const Node& node) {
  node.expect(4, 2, 2 + kWindowAttributes);
  for (uint32_t i = 0; i < 4; i++) node.expectType(node.input(i), DW_F32);
  expectVectors<1, 2>(node, channels(node.input(0)));
  node.expectSameShape(node.input(3), node.output(0));
  return readMaxPool(node);
}

KernelPointer prepareAffineMaxPoolAdd(dw_device& device, const Node& node) {
  return makeKernel(
      [p = affineMaxPoolAddShape(node), kernel = device.kernels->affineMaxPoolAdd](const Launch& run) {
        parallelFor(p.n * p.oh, p.ow * p.c * p.kernelH * p.kernelW, [&](int64_t begin, int64_t end) {
          kernel(p, run.in(0), run.in(1), run.in(2), run.in(3), run.out(0),
                 static_cast<uint8_t*>(run.outputs[1]), begin, end);
        });
      });
}

PoolShape maxPoolGradSumsShape(const Node& node) {
  node.expect(3, 3, 4 + kWindowAttributes);
  node.expectType(node.input(2), DW_F32);
  node.expectSameShape(node.input(2), node.output(0));
  const PoolShape p = readMaxPoolGrad(node);
  for (uint32_t i = 1; i < 3; i++) {
    node.expectType(node.output(i), DW_F32);
    node.expectShape(node.output(i), {p.c});
  }
  return p;
}

KernelPointer prepareMaxPoolGradSums(dw_device& device, const Node& node) {
  const PoolShape p = maxPoolGradSumsShape(node);
  const int64_t count = p.n * p.h, parts = std::max<int64_t>(1, std::min(count, partsOf(count * p.w)));
  const bool large = count * p.w * p.c * 4 > kStreamBytes;
  return makeKernel(
      [=, kernel = device.kernels->maxPoolGradSums](const Launch& run) {
        reduceParts(parts, count, p.c, run.workspace, run.out(1), run.out(2),
                    [&](int64_t first, int64_t rows, double* sumG, double* sumGX) {
                      kernel(p, run.in(0), static_cast<const uint8_t*>(run.inputs[1]), run.in(2), run.out(0),
                             first, first + rows, large, sumG, sumGX);
                    });
      },
      partsWorkspace(parts, p.c));
}

}  // namespace

extern const Op op_channelAffine2, op_affineRelu, op_affineAdd, op_affineReluGrad, op_affineMaxPoolAdd,
    op_maxPoolGradSums;

const Op op_channelAffine2 = {checkAffine2, prepareAffine2};
const Op op_affineRelu = {checkAffineRelu, prepareAffineRelu};
const Op op_affineAdd = {checkAffineAdd, prepareAffineAdd};
const Op op_affineReluGrad = {checkAffineReluGrad, prepareAffineReluGrad};
const Op op_affineMaxPoolAdd = {[](const Node& node) { affineMaxPoolAddShape(node); },
                                prepareAffineMaxPoolAdd};
const Op op_maxPoolGradSums = {[](const Node& node) { maxPoolGradSumsShape(node); }, prepareMaxPoolGradSums};

}  // namespace dw::cpu
