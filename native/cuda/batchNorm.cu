// The pieces of batch normalization: sums over all axes but the last, statistics per channel, affine maps.
// Formulas: depthwise_ops.h.
#include "channels.h"
#include "kernels/batchNorm.cuh"

namespace dw::cuda {
namespace {

template <uint32_t kInputs>
void checkSums(const dw_device&, const Node& node) {
  node.expect(kInputs, 2, 0);
  node.expectFloating(node.input(0));
  for (uint32_t i = 1; i < kInputs; i++) node.expectSame(node.input(i), node.input(0));
  for (uint32_t i = 0; i < 2; i++) node.expectVector(node.output(i), channels(node.input(0)));
}

KernelPointer prepareChannelSums(dw_device& device, const Node& node) {
  const dw_aval& x = node.input(0);
  const int64_t c = channels(x);
  return sumsKernel(device, x.dtype, rows(x), c, 0, [c](const Launch& run, auto type) {
    using T = typename decltype(type)::type;
    return SquareTerms<T>{run.in<T>(0), c};
  });
}

KernelPointer prepareChannelGradSums(dw_device& device, const Node& node) {
  const dw_aval& x = node.input(0);
  const int64_t c = channels(x);
  return sumsKernel(device, x.dtype, rows(x), c, 0, [c](const Launch& run, auto type) {
    using T = typename decltype(type)::type;
    return ProductTerms<T>{run.in<T>(0), run.in<T>(1), c};
  });
}

template <uint32_t kVectors>
void checkAffine(const dw_device&, const Node& node) {
  node.expect(1 + kVectors, 1, 0);
  node.expectFloating(node.input(0));
  node.expectSame(node.input(0), node.output(0));
  for (uint32_t i = 1; i <= kVectors; i++) node.expectVector(node.input(i), channels(node.input(0)));
}

KernelPointer prepareChannelAffine(dw_device&, const Node& node) {
  return channelMapKernel<AffineMap>(node, {0}, {1, 2});
}

KernelPointer prepareChannelMultiply(dw_device&, const Node& node) {
  return channelMapKernel<MultiplyMap>(node, {0}, {1});
}

// Vectors f32[c] in and out.
template <uint32_t kInputs, uint32_t kOutputs, uint32_t kAttributes>
void checkVectors(const dw_device&, const Node& node) {
  node.expect(kInputs, kOutputs, kAttributes);
  node.expectRank(node.input(0), 1);
  for (uint32_t i = 0; i < kInputs; i++) node.expectVector(node.input(i), channels(node.input(0)));
  for (uint32_t i = 0; i < kOutputs; i++) node.expectVector(node.output(i), channels(node.input(0)));
}

KernelPointer prepareFinalize(dw_device&, const Node& node) {
  const int64_t c = channels(node.input(0));
  const double count = node.attribute(0), epsilon = node.attribute(1), momentum = node.attribute(2);
  const double correction = node.attribute(3) != 0 && count > 1 ? count / (count - 1) : 1;
  return makeKernel([=](const Launch& run) {
    if (c == 0) return;
    const FinalizeOperands operands = {run.in(0),  run.in(1),  run.in(2),  run.in(3),  run.in(4),  run.in(5),
                                       run.out(0), run.out(1), run.out(2), run.out(3), run.out(4), run.out(5),
                                       count,      epsilon,    momentum,   correction};
    launch(batchNormFinalize, blocksFor(c, run.device.multiprocessors), kThreads, 0, run.stream(), operands,
           c);
  });
}

KernelPointer prepareFinalizeGrad(dw_device&, const Node& node) {
  const int64_t c = channels(node.input(0));
  return makeKernel([c, count = node.attribute(0)](const Launch& run) {
    if (c == 0) return;
    const FinalizeGradOperands operands = {run.in(0),  run.in(1),  run.in(2),  run.in(3),  run.in(4),
                                           run.out(0), run.out(1), run.out(2), run.out(3), count};
    launch(batchNormFinalizeGrad, blocksFor(c, run.device.multiprocessors), kThreads, 0, run.stream(),
           operands, c);
  });
}

template <auto kKernel>
KernelPointer prepareFold(dw_device&, const Node& node) {
  const int64_t c = channels(node.input(0));
  return makeKernel([c, epsilon = node.attribute(0)](const Launch& run) {
    if (c == 0) return;
    launch(kKernel, blocksFor(c, run.device.multiprocessors), kThreads, 0, run.stream(), run.in(0), run.in(1),
           run.in(2), run.in(3), run.out(0), run.out(1), epsilon, c);
  });
}

}  // namespace

extern const Op op_channelSums, op_channelGradSums, op_channelAffine, op_channelMultiply;
extern const Op op_batchNormFinalize, op_batchNormFinalizeGrad, op_batchNormFold, op_batchNormFoldGrad;

const Op op_channelSums = {checkSums<1>, prepareChannelSums};
const Op op_channelGradSums = {checkSums<2>, prepareChannelGradSums};
const Op op_channelAffine = {checkAffine<2>, prepareChannelAffine};
const Op op_channelMultiply = {checkAffine<1>, prepareChannelMultiply};
const Op op_batchNormFinalize = {checkVectors<6, 6, 4>, prepareFinalize};
const Op op_batchNormFinalizeGrad = {checkVectors<5, 4, 1>, prepareFinalizeGrad};
const Op op_batchNormFold = {checkVectors<4, 2, 1>, prepareFold<batchNormFold>};
const Op op_batchNormFoldGrad = {checkVectors<4, 2, 1>, prepareFold<batchNormFoldGrad>};

}  // namespace dw::cuda
