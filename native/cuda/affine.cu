// Fused ops around an affine map per channel: with ReLU, with a residual, with pooling, and the gradients'
// sums. Formulas: depthwise_ops.h.
#include "channels.h"
#include "pooling.h"
#include "shapes.h"

namespace dw::cuda {
namespace {

// `kTensors` inputs of the output's shape and type, then vectors f32[c]; `kResidual` is the place of one more
// tensor behind these, or 0.
template <uint32_t kTensors, uint32_t kVectors, uint32_t kResidual>
void checkMap(const dw_device&, const Node& node) {
  node.expect(kTensors + kVectors + (kResidual > 0 ? 1 : 0), 1, 0);
  node.expectFloating(node.output(0));
  for (uint32_t i = 0; i < kTensors; i++) node.expectSame(node.input(i), node.output(0));
  for (uint32_t i = kTensors; i < kTensors + kVectors; i++)
    node.expectVector(node.input(i), channels(node.output(0)));
  if (kResidual > 0) node.expectSame(node.input(kResidual), node.output(0));
}

KernelPointer prepareAffine2(dw_device&, const Node& node) {
  return channelMapKernel<Affine2Map>(node, {0, 1}, {2, 3, 4});
}
KernelPointer prepareAffineRelu(dw_device&, const Node& node) {
  return channelMapKernel<AffineReluMap>(node, {0}, {1, 2});
}
KernelPointer prepareAffineAdd(dw_device&, const Node& node) {
  return channelMapKernel<AffineAddMap>(node, {0, 3}, {1, 2});
}

void checkAffineReluGrad(const dw_device&, const Node& node) {
  node.expect(4, 3, 0);
  node.expectFloating(node.output(0));
  const int64_t c = channels(node.output(0));
  for (uint32_t i = 0; i < 2; i++) {
    node.expectSame(node.input(i), node.output(0));
    node.expectVector(node.input(2 + i), c);
    node.expectVector(node.output(1 + i), c);
  }
}

KernelPointer prepareAffineReluGrad(dw_device& device, const Node& node) {
  const dw_aval& dx = node.output(0);
  const int64_t c = channels(dx);
  return sumsKernel(device, dx.dtype, rows(dx), c, 1, [c](const Launch& run, auto type) {
    using T = typename decltype(type)::type;
    return MaskedTerms<T>{run.in<T>(0), run.in<T>(1), run.in(2), run.in(3), run.out<T>(0), c};
  });
}

PoolShape affineMaxPoolAddShape(const Node& node) {
  node.expect(4, 2, 2 + kWindowAttributes);
  const PoolShape p = readMaxPool(node, node.input(0), node.output(0), node.output(1));
  for (uint32_t i = 1; i < 3; i++) node.expectVector(node.input(i), p.c);
  node.expectSame(node.input(3), node.output(0));
  return expectPlaces(node, p);
}

KernelPointer prepareAffineMaxPoolAdd(dw_device&, const Node& node) {
  return perPlace(node.output(0),
                  [p = PoolImage(affineMaxPoolAddShape(node))](const Launch& run, auto type, auto width,
                                                               const Places& places, dim3 grid) {
                    using T = typename decltype(type)::type;
                    constexpr int N = decltype(width)::value;
                    const AffineAddPool<T> map = {run.in(1), run.in(2), run.in<T>(3)};
                    launch(maxPool<N, T, AffineAddPool<T>>, grid, kThreads, 0, run.stream(), p, places, map,
                           run.in<T>(0), run.out<T>(0), run.out<uint8_t>(1));
                  });
}

PoolShape maxPoolGradSumsShape(const Node& node) {
  node.expect(3, 3, 4 + kWindowAttributes);
  node.expectSame(node.input(2), node.output(0));
  const PoolShape p = readMaxPool(node, node.output(0), node.input(0), node.input(1));
  for (uint32_t i = 1; i < 3; i++) node.expectVector(node.output(i), p.c);
  return expectPlaces(node, p);
}

KernelPointer prepareMaxPoolGradSums(dw_device& device, const Node& node) {
  const PoolShape p = maxPoolGradSumsShape(node);
  return sumsKernel(device, node.output(0).dtype, p.n * p.h * p.w, p.c, 1, [p](const Launch& run, auto type) {
    using T = typename decltype(type)::type;
    return MaxPoolGradTerms<T>{PoolImage(p),
                               Divisor(std::max<int64_t>(1, p.w)),
                               Divisor(std::max<int64_t>(1, p.h * p.w)),
                               run.in<T>(0),
                               run.in<uint8_t>(1),
                               run.in<T>(2),
                               run.out<T>(0)};
  });
}

}  // namespace

extern const Op op_channelAffine2, op_affineRelu, op_affineAdd, op_affineReluGrad, op_affineMaxPoolAdd,
    op_maxPoolGradSums;

const Op op_channelAffine2 = {checkMap<2, 3, 0>, prepareAffine2};
const Op op_affineRelu = {checkMap<1, 2, 0>, prepareAffineRelu};
const Op op_affineAdd = {checkMap<1, 2, 3>, prepareAffineAdd};
const Op op_affineReluGrad = {checkAffineReluGrad, prepareAffineReluGrad};
const Op op_affineMaxPoolAdd = {[](const dw_device&, const Node& node) { affineMaxPoolAddShape(node); },
                                prepareAffineMaxPoolAdd};
const Op op_maxPoolGradSums = {[](const dw_device&, const Node& node) { maxPoolGradSumsShape(node); },
                               prepareMaxPoolGradSums};

}  // namespace dw::cuda
