// What the fused depthwise ops stand for, in steps of other ops. Formulas: depthwise_ops.h.
#include "depthwiseWays.h"

#include "planned.h"
#include "steps.h"

namespace dw::cuda {
namespace {

using Value = Steps::Value;

bool hasRelu(const Node& node) { return node.attribute(kConvolutionAttributes) != 0; }

std::vector<double> convolution(const Node& node, std::initializer_list<int64_t> more = {}) {
  return attributesOf(node, 0, kConvolutionAttributes, more);
}

// relu?(x*scale + shift), in memory.
Value activated(Steps& steps, const Value& x, const Value& scale, const Value& shift, bool relu) {
  const Value a = steps.between(x.aval);
  steps.add(relu ? DW_OP_affineRelu : DW_OP_channelAffine, {x, scale, shift}, {a});
  return a;
}

Value rectified(Steps& steps, const Value& x) {
  const Value a = steps.between(x.aval);
  steps.add(DW_OP_relu, {x}, {a});
  return a;
}

void inputGrad(Steps& steps, const Node& node, const Value& g, const Value& w, const Value& dx) {
  steps.add(DW_OP_conv2dInputGrad, {g, w}, {dx}, convolution(node, {dx.aval.dims[1], dx.aval.dims[2]}));
}

void weightGrad(Steps& steps, const Node& node, const Value& a, const Value& g, const Value& dw) {
  steps.add(DW_OP_conv2dWeightGrad, {a, g}, {dw}, convolution(node, {dw.aval.dims[1], dw.aval.dims[2]}));
}

void affine(Steps& steps, const Node& node) {
  const Value a = activated(steps, steps.input(0), steps.input(1), steps.input(2), hasRelu(node));
  steps.add(DW_OP_conv2d, {a, steps.input(3)}, {steps.output(0)}, convolution(node));
}

void relu(Steps& steps, const Node& node) {
  const Value a = rectified(steps, steps.input(0));
  steps.add(DW_OP_conv2d, {a, steps.input(1)}, {steps.output(0)}, convolution(node));
}

void affineGrad(Steps& steps, const Node& node) {
  const Value g = steps.input(0), x = steps.input(1), scale = steps.input(2), shift = steps.input(3);
  const Value dx = steps.output(0), sumG = steps.output(2), sumGX = steps.output(3);
  const bool masks = hasRelu(node);
  weightGrad(steps, node, activated(steps, x, scale, shift, masks), g, steps.output(1));
  if (!masks) {
    inputGrad(steps, node, g, steps.input(4), dx);
    steps.add(DW_OP_channelGradSums, {dx, x}, {sumG, sumGX});
    return;
  }
  const Value whole = steps.between(dx.aval);
  inputGrad(steps, node, g, steps.input(4), whole);
  steps.add(DW_OP_affineReluGrad, {whole, x, scale, shift}, {dx, sumG, sumGX});
}

void reluGrad(Steps& steps, const Node& node) {
  const Value g = steps.input(0), dx = steps.output(0);
  const Value a = rectified(steps, steps.input(1));
  weightGrad(steps, node, a, g, steps.output(1));
  const Value whole = steps.between(dx.aval), masked = steps.between(dx.aval);
  inputGrad(steps, node, g, steps.input(2), whole);
  steps.add(DW_OP_reluGrad, {whole, a}, {masked});
  // dx may lie where the residual does.
  steps.add(DW_OP_add, {masked, steps.input(3)}, {dx});
}

// How a node is computed in steps.
void (*stepsOf(const Node& node))(Steps&, const Node&) {
  switch (node.op()) {
    case DW_OP_depthwiseAffine:
      return affine;
    case DW_OP_depthwiseRelu:
      return relu;
    case DW_OP_depthwiseAffineGrad:
      return affineGrad;
    case DW_OP_depthwiseReluGrad:
      return reluGrad;
    default:
      throw Error(DW_INTERNAL, "%s has no steps", node.name());
  }
}

}  // namespace

KernelPointer fastestDepthwise(dw_device& device, const Node& node,
                               const std::function<KernelPointer()>& own) {
  const Way together = {"own, in one", own};
  const Way apart = {"in steps", [&] {
                       Steps steps(device, node);
                       stepsOf(node)(steps, node);
                       return steps.finish();
                     }};
  return fastestOf(device, node, {together, apart});
}

}  // namespace dw::cuda
