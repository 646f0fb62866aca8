// The ops of depthwise/cudnn: each is one plan of the libraries' and nothing else. What they have no plan for
// is unsupported, with their reason.
#include "depthwise_cudnn_ops.h"
#include "planned.h"

namespace dw::cuda {
namespace {

// A check and a kernel from how a node's problem is read.
template <auto kRead>
constexpr Op planOf() {
  return {[](const dw_device& device, const Node& node) { expectPlan(device, node, kRead(device, node)); },
          [](dw_device& device, const Node& node) {
            return makePlanned(device.plans->plan(kRead(device, node)));
          }};
}

void expectElements(const Node& node, const dw_aval& aval) {
  if (elements(aval) == 0) node.unsupported("cuDNN takes no tensors without elements");
}

template <Direction kDirection>
ConvolutionProblem readPlannedConvolution(const dw_device& device, const Node& node) {
  constexpr bool kForward = kDirection == Direction::forward;
  node.expect(2, 1, kForward ? kConvolutionAttributes : kConvolutionAttributes + 2);
  const dw_aval& x = kDirection == Direction::inputGrad ? node.output(0) : node.input(0);
  const dw_aval& w = kDirection == Direction::weightGrad ? node.output(0) : node.input(1);
  const dw_aval& y = kForward ? node.output(0) : node.input(kDirection == Direction::inputGrad ? 0 : 1);
  expectElements(node, x);
  return problemOf(device, readConvolution(node, x, w, y), x.dtype, kDirection);
}

// From an image and the vectors beside it.
NormalizationProblem readNormalization(const Node& node, NormalizationPhase phase, const dw_aval& x) {
  node.expectFloating(x);
  node.expectRank(x, 4);
  expectElements(node, x);
  NormalizationProblem problem;
  problem.phase = phase;
  problem.type = dataType(x.dtype);
  problem.n = x.dims[0], problem.h = x.dims[1], problem.w = x.dims[2], problem.c = x.dims[3];
  return problem;
}

NormalizationProblem readTraining(const dw_device&, const Node& node) {
  node.expect(5, 5, 2);
  NormalizationProblem problem = readNormalization(node, NormalizationPhase::training, node.input(0));
  node.expectSame(node.output(0), node.input(0));
  for (uint32_t i = 1; i < 5; i++) {
    node.expectVector(node.input(i), problem.c);
    node.expectVector(node.output(i), problem.c);
  }
  problem.epsilon = node.attribute(0);
  problem.momentum = node.attribute(1);
  return problem;
}

NormalizationProblem readInference(const dw_device&, const Node& node) {
  node.expect(5, 1, 0);
  const NormalizationProblem problem = readNormalization(node, NormalizationPhase::inference, node.input(0));
  node.expectSame(node.output(0), node.input(0));
  for (uint32_t i = 1; i < 5; i++) node.expectVector(node.input(i), problem.c);
  return problem;
}

NormalizationProblem readBackward(const dw_device&, const Node& node) {
  node.expect(5, 3, 0);
  const NormalizationProblem problem = readNormalization(node, NormalizationPhase::backward, node.input(1));
  node.expectSame(node.input(0), node.input(1));
  node.expectSame(node.output(0), node.input(1));
  for (uint32_t i = 2; i < 5; i++) node.expectVector(node.input(i), problem.c);
  for (uint32_t i = 1; i < 3; i++) node.expectVector(node.output(i), problem.c);
  return problem;
}

PoolingProblem problemOf(const dw_device& device, const Node& node, const PoolShape& shape, Pooling pooling,
                         bool backward, const dw_aval& image) {
  expectElements(node, image);
  PoolingProblem problem;
  problem.pooling = pooling;
  problem.backward = backward;
  problem.type = dataType(image.dtype);
  problem.n = shape.n, problem.h = shape.h, problem.w = shape.w, problem.c = shape.c;
  problem.oh = shape.oh, problem.ow = shape.ow;
  problem.kernelH = shape.kernelH, problem.kernelW = shape.kernelW;
  problem.strideH = shape.strideH, problem.strideW = shape.strideW;
  // kernel_h, kernel_w, then the window: stride_h, stride_w, top, bottom, left, right
  problem.top = node.integer(4, 0), problem.bottom = node.integer(5, 0);
  problem.left = node.integer(6, 0), problem.right = node.integer(7, 0);
  problem.deterministic = device.deterministic;
  return problem;
}

template <bool kBackward>
PoolingProblem readMax(const dw_device& device, const Node& node) {
  if (kBackward)
    node.expect(2, 1, 4 + kWindowAttributes);
  else
    node.expect(1, 2, 2 + kWindowAttributes);
  const dw_aval& image = kBackward ? node.output(0) : node.input(0);
  const dw_aval& pooled = kBackward ? node.input(0) : node.output(0);
  const dw_aval& argmax = kBackward ? node.input(1) : node.output(1);
  return problemOf(device, node, readMaxPool(node, image, pooled, argmax), Pooling::max, kBackward, image);
}

template <bool kBackward>
PoolingProblem readAverage(const dw_device& device, const Node& node) {
  node.expect(1, 1, (kBackward ? 5 : 3) + kWindowAttributes);
  const dw_aval& image = kBackward ? node.output(0) : node.input(0);
  const dw_aval& pooled = kBackward ? node.input(0) : node.output(0);
  const bool countPadding = node.attribute(2 + kWindowAttributes) != 0;
  return problemOf(device, node, readPool(node, image, pooled),
                   countPadding ? Pooling::averageCountingPadding : Pooling::average, kBackward, image);
}

}  // namespace

#define DW_DECLARE_OP(code, name) extern const Op op_##name;
DW_CUDNN_OPS(DW_DECLARE_OP)
#undef DW_DECLARE_OP

const Op op_cudnnConvolution = planOf<readPlannedConvolution<Direction::forward>>();
const Op op_cudnnConvolutionInputGrad = planOf<readPlannedConvolution<Direction::inputGrad>>();
const Op op_cudnnConvolutionWeightGrad = planOf<readPlannedConvolution<Direction::weightGrad>>();
const Op op_cudnnBatchNormTraining = planOf<readTraining>();
const Op op_cudnnBatchNormInference = planOf<readInference>();
const Op op_cudnnBatchNormGrad = planOf<readBackward>();
const Op op_cudnnMaxPool = planOf<readMax<false>>();
const Op op_cudnnMaxPoolGrad = planOf<readMax<true>>();
const Op op_cudnnAvgPool = planOf<readAverage<false>>();
const Op op_cudnnAvgPoolGrad = planOf<readAverage<true>>();

}  // namespace dw::cuda
