// Convolution and its two gradients, alone and with what a plan can do in the same pass: by the plans of
// libraries, as products of matrices where they are that, depthwise ones by our own kernels too.
#include "check.h"
#include "depthwiseConvolution.h"
#include "planned.h"
#include "steps.h"

namespace dw::cuda {
namespace {

constexpr uint32_t kAttributes = kConvolutionAttributes;

ConvolutionShape readNode(const Node& node, Direction direction) {
  node.expect(2, 1, direction == Direction::forward ? kAttributes : kAttributes + 2);
  switch (direction) {
    case Direction::forward:
      return readConvolution(node, node.input(0), node.input(1), node.output(0));
    case Direction::inputGrad:
      return readConvolution(node, node.output(0), node.input(1), node.input(0));
    default:
      return readConvolution(node, node.input(0), node.output(0), node.input(1));
  }
}

// A convolution of 1x1 without strides and padding is a product of matrices over pixels: y = x w^T,
// dx = g w, dw = g^T x.
MatrixProblem productOf(const dw_device& device, const ConvolutionShape& conv, int32_t dtype,
                        Direction direction) {
  const int64_t pixels = conv.pixels();
  const bool weights = direction == Direction::weightGrad, forward = direction == Direction::forward;
  MatrixProblem problem = weights   ? matrixOf(device, dtype, conv.o, conv.c, pixels)
                          : forward ? matrixOf(device, dtype, pixels, conv.o, conv.c)
                                    : matrixOf(device, dtype, pixels, conv.c, conv.o);
  problem.transposeA = weights;
  problem.transposeB = forward;
  return problem;
}

// Throws Unsupported unless something can do the plain convolution.
void expectConvolution(const dw_device& device, const Node& node, const ConvolutionShape& conv,
                       Direction direction) {
  if (conv.empty() || conv.depthwise()) return;
  const int32_t dtype = node.input(0).dtype;
  const ConvolutionProblem problem = problemOf(device, conv, dtype, direction);
  if (problem.pointwise() && isPlanned(device, productOf(device, conv, dtype, direction))) return;
  expectPlan(device, node, problem);
}

template <Direction kDirection>
void checkPlain(const dw_device& device, const Node& node) {
  expectConvolution(device, node, readNode(node, kDirection), kDirection);
}

KernelPointer makeZeros(const dw_aval& y) {
  return makeKernel([bytes = static_cast<size_t>(elements(y)) * byteSize(y.dtype)](const Launch& run) {
    if (bytes > 0) check(cudaMemsetAsync(run.outputs[0], 0, bytes, run.stream()), "cudaMemsetAsync");
  });
}

KernelPointer ownDepthwise(dw_device& device, const ConvolutionShape& conv, int32_t dtype,
                           Direction direction) {
  DepthwiseOperands at;
  if (direction == Direction::forward) at.x = 0, at.w = 1, at.y = 0;
  if (direction == Direction::inputGrad) at.g = 0, at.w = 1, at.dx = 0;
  if (direction == Direction::weightGrad) at.x = 0, at.g = 1, at.dw = 0;
  return prepareDepthwise(device, conv, dtype, at, false);
}

template <Direction kDirection>
KernelPointer preparePlain(dw_device& device, const Node& node) {
  const ConvolutionShape conv = readNode(node, kDirection);
  if (conv.empty()) return makeZeros(node.output(0));  // of a weight gradient; the others have no elements
  const int32_t dtype = node.input(0).dtype;
  const ConvolutionProblem problem = problemOf(device, conv, dtype, kDirection);
  const MatrixProblem product = productOf(device, conv, dtype, kDirection);
  std::vector<Way> ways;
  // Where nothing is timed: for depthwise ones our own kernel, the same in every version of cuDNN's.
  if (conv.depthwise())
    ways.push_back({"own", [&] { return ownDepthwise(device, conv, dtype, kDirection); }});
  if (isPlanned(device, problem))
    ways.push_back({"convolution", [&] { return makePlanned(device.plans->plan(problem)); }});
  // Its a is g, the second operand of a weight gradient.
  if (problem.pointwise() && isPlanned(device, product))
    ways.push_back({"product", [&] {
                      constexpr bool kSwapped = kDirection == Direction::weightGrad;
                      return makePlanned(device.plans->plan(product), kSwapped);
                    }});
  return fastestOf(device, node, ways);
}

ConvolutionShape readForwardSums(const Node& node) {
  node.expect(2, 3, kAttributes);
  const ConvolutionShape conv = readConvolution(node, node.input(0), node.input(1), node.output(0));
  for (uint32_t i = 1; i < 3; i++) node.expectVector(node.output(i), conv.o);
  return conv;
}

void checkForwardSums(const dw_device& device, const Node& node) {
  expectConvolution(device, node, readForwardSums(node), Direction::forward);
}

KernelPointer prepareForwardSums(dw_device& device, const Node& node) {
  const ConvolutionShape conv = readForwardSums(node);
  ConvolutionProblem problem = problemOf(device, conv, node.input(0).dtype, Direction::forward);
  problem.fusion = Fusion::sums;
  std::vector<Way> ways;
  if (!conv.empty() && isPlanned(device, problem))
    ways.push_back({"in one", [&] { return makePlanned(device.plans->plan(problem)); }});
  ways.push_back(
      {"in steps", [&] {
         Steps steps(device, node);
         const Steps::Value y = steps.output(0);
         steps.add(DW_OP_conv2d, {steps.input(0), steps.input(1)}, {y}, attributesOf(node, 0, kAttributes));
         steps.add(DW_OP_channelSums, {y}, {steps.output(1), steps.output(2)});
         return steps.finish();
       }});
  return fastestOf(device, node, ways);
}

// The gradients of a convolution whose result's gradient is g*p + y*q + r, where a plan takes that on load.
// Elsewhere programs take it in a pass of its own.
template <Direction kDirection>
ConvolutionProblem readAffine2(const dw_device& device, const Node& node) {
  node.expect(6, 1, kAttributes + 2);
  constexpr bool kInput = kDirection == Direction::inputGrad;
  constexpr uint32_t kG = kInput ? 0 : 1;
  const ConvolutionShape conv = kInput ? readConvolution(node, node.output(0), node.input(5), node.input(0))
                                       : readConvolution(node, node.input(0), node.output(0), node.input(1));
  node.expectSame(node.input(kG + 1), node.input(kG));
  for (uint32_t i = kG + 2; i < kG + 5; i++) node.expectVector(node.input(i), conv.o);
  ConvolutionProblem problem = problemOf(device, conv, node.output(0).dtype, kDirection);
  problem.fusion = Fusion::affine2;
  return problem;
}

template <Direction kDirection>
void checkAffine2(const dw_device& device, const Node& node) {
  const ConvolutionProblem problem = readAffine2<kDirection>(device, node);
  if (problem.n > 0) expectPlan(device, node, problem);
}

template <Direction kDirection>
KernelPointer prepareAffine2(dw_device& device, const Node& node) {
  const ConvolutionProblem problem = readAffine2<kDirection>(device, node);
  if (problem.n == 0) return makeZeros(node.output(0));
  const Way together = {"in one", [&] { return makePlanned(device.plans->plan(problem)); }};
  const Way apart = {
      "in steps", [&] {
        constexpr bool kInput = kDirection == Direction::inputGrad;
        constexpr uint32_t kG = kInput ? 0 : 1;
        Steps steps(device, node);
        const Steps::Value gradient = steps.between(node.input(kG));
        steps.add(DW_OP_channelAffine2,
                  {steps.input(kG), steps.input(kG + 1), steps.input(kG + 2), steps.input(kG + 3),
                   steps.input(kG + 4)},
                  {gradient});
        const std::vector<double> attributes = attributesOf(node, 0, kAttributes + 2);
        if (kInput)
          steps.add(DW_OP_conv2dInputGrad, {gradient, steps.input(5)}, {steps.output(0)}, attributes);
        else
          steps.add(DW_OP_conv2dWeightGrad, {steps.input(0), gradient}, {steps.output(0)}, attributes);
        return steps.finish();
      }};
  return fastestOf(device, node, {together, apart});
}

}  // namespace

extern const Op op_conv2d, op_conv2dInputGrad, op_conv2dWeightGrad, op_conv2dSums, op_conv2dInputGradAffine2,
    op_conv2dWeightGradAffine2;

const Op op_conv2d = {checkPlain<Direction::forward>, preparePlain<Direction::forward>};
const Op op_conv2dInputGrad = {checkPlain<Direction::inputGrad>, preparePlain<Direction::inputGrad>};
const Op op_conv2dWeightGrad = {checkPlain<Direction::weightGrad>, preparePlain<Direction::weightGrad>};
const Op op_conv2dSums = {checkForwardSums, prepareForwardSums};
const Op op_conv2dInputGradAffine2 = {checkAffine2<Direction::inputGrad>,
                                      prepareAffine2<Direction::inputGrad>};
const Op op_conv2dWeightGradAffine2 = {checkAffine2<Direction::weightGrad>,
                                       prepareAffine2<Direction::weightGrad>};

}  // namespace dw::cuda
