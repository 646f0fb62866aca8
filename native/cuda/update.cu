// The updates of the optimizers and of the Polyak average: one kernel each over flat memory. Formulas:
// depthwise_ops.h. In f32: weights that are trained, and what is kept of them, are f32 whatever the type that
// is computed in.
#include "kernels/update.cuh"
#include "launch.h"
#include "op.h"

namespace dw::cuda {
namespace {

// Inputs: `kTensors` of one shape, then `kScalars`, of which the last `kOptional` may be absent; outputs of that shape.
template <uint32_t kTensors, uint32_t kScalars, uint32_t kOutputs, uint32_t kAttributes, uint32_t kOptional = 0>
void checkUpdate(const dw_device&, const Node& node) {
  const uint32_t most = kTensors + kScalars;
  node.expect(kOptional > 0 && node.inputs() == most - kOptional ? most - kOptional : most, kOutputs,
              kAttributes);
  node.expectFloating(node.input(0));
  if (node.input(0).dtype != DW_F32)
    node.unsupported("weights are updated in f32, not in %s", typeName(node.input(0).dtype));
  for (uint32_t i = 0; i < kTensors; i++) node.expectSame(node.input(i), node.input(0));
  for (uint32_t i = kTensors; i < node.inputs(); i++) {
    node.expectRank(node.input(i), 0);
    // Adam's step may be an integer.
    if (i != kTensors + 1 || kScalars != 3 || node.input(i).dtype != DW_I32)
      node.expectType(node.input(i), DW_F32);
  }
  for (uint32_t i = 0; i < kOutputs; i++) node.expectSame(node.output(i), node.input(0));
}

// An update, which may have a factor, and whose last attribute says how many elements decay. `kScalars` without factor.
template <uint32_t kTensors, uint32_t kScalars, uint32_t kOutputs, uint32_t kAttributes>
void checkDecaying(const dw_device& device, const Node& node) {
  checkUpdate<kTensors, kScalars + 1, kOutputs, kAttributes, 1>(device, node);
  if (node.integer(kAttributes - 1, -1) > elements(node.input(0)))
    node.invalid("more elements decay than there are");
}

float number(const Node& node, uint32_t i) { return static_cast<float>(node.attribute(i)); }

// How many elements there are, how many of them decay, and the input with the factor of the gradient; -1: none.
struct Extent {
  int64_t count, decayed;
  int factor;

  // `inputs`: how many there are without the factor. The last attribute says how many elements decay.
  Extent(const Node& node, uint32_t inputs)
      : count(elements(node.input(0))),
        decayed(node.integer(node.attributes() - 1, -1)),
        factor(node.inputs() > inputs ? static_cast<int>(inputs) : -1) {
    if (decayed < 0) decayed = count;
  }
};

// Inputs w, g, states, rate; outputs w, states. `rate` is where the learning rate is, NULL for that input.
template <class Rule>
void launchUpdate(const Launch& run, const UpdateRule& rule, const Extent& extent, const float* rate) {
  UpdateOperands<Rule::kStates> o = {};
  o.w = run.in(0), o.g = run.in(1), o.newW = run.out(0);
  for (int s = 0; s < Rule::kStates; s++) o.states[s] = run.in(2 + s), o.newStates[s] = run.out(1 + s);
  o.rate = rate != nullptr ? rate : run.in(2 + Rule::kStates);
  o.factor = extent.factor < 0 ? nullptr : run.in(extent.factor);
  o.count = extent.count, o.decayed = extent.decayed;
  launch(update<Rule>, blocksFor(ceilDivide(extent.count, 4), run.device.multiprocessors), kThreads, 0, run.stream(),
         rule, o);
}

template <class Rule>
KernelPointer makeUpdate(const Node& node, UpdateRule rule) {
  rule.weightDecay = number(node, node.attributes() - 2);
  const Extent extent(node, 3 + Rule::kStates);
  if (extent.count == 0) return makeNothing();
  return makeKernel([=](const Launch& run) { launchUpdate<Rule>(run, rule, extent, nullptr); });
}

KernelPointer prepareSgd(dw_device&, const Node& node) { return makeUpdate<SgdRule>(node, {}); }

KernelPointer prepareMomentum(dw_device&, const Node& node) {
  UpdateRule rule = {};
  rule.momentum = number(node, 0);
  rule.nesterov = node.attribute(1) != 0;
  return makeUpdate<MomentumRule>(node, rule);
}

UpdateRule rmspropRule(const Node& node, uint32_t epsilon) {
  UpdateRule rule = {};
  rule.rho = number(node, 0);
  rule.restOfRho = static_cast<float>(1 - node.attribute(0));
  rule.epsilon = number(node, epsilon);
  rule.epsilonOutside = node.attribute(epsilon + 1) != 0;
  return rule;
}

KernelPointer prepareRmsprop(dw_device&, const Node& node) {
  return makeUpdate<RmspropRule>(node, rmspropRule(node, 1));
}

KernelPointer prepareRmspropMomentum(dw_device&, const Node& node) {
  UpdateRule rule = rmspropRule(node, 2);
  rule.momentum = number(node, 1);
  return makeUpdate<RmspropMomentumRule>(node, rule);
}

KernelPointer prepareAdam(dw_device&, const Node& node) {
  UpdateRule rule = {};
  const double beta1 = node.attribute(0), beta2 = node.attribute(1);
  rule.restOfBeta1 = static_cast<float>(1 - beta1);
  rule.restOfBeta2 = static_cast<float>(1 - beta2);
  rule.epsilon = number(node, 2);
  rule.weightDecay = number(node, 3);
  const bool integerStep = node.input(5).dtype == DW_I32;
  const Extent extent(node, 6);
  if (extent.count == 0) return makeNothing();
  return makeKernel(
      [=](const Launch& run) {
        float* corrected = run.scratch();
        if (integerStep)
          launch(adamRate<int32_t>, 1, 1, 0, run.stream(), run.in(4), run.in<int32_t>(5), beta1, beta2,
                 corrected);
        else
          launch(adamRate<float>, 1, 1, 0, run.stream(), run.in(4), run.in(5), beta1, beta2, corrected);
        launchUpdate<AdamRule>(run, rule, extent, corrected);
      },
      sizeof(float));
}

KernelPointer preparePolyak(dw_device&, const Node& node) {
  const int64_t count = elements(node.input(0));
  if (count == 0) return makeNothing();
  return makeKernel([count](const Launch& run) {
    launch(polyakUpdate, blocksFor(ceilDivide(count, 4), run.device.multiprocessors), kThreads, 0,
           run.stream(), run.in(0), run.in(1), run.in(2), run.out(0), count);
  });
}

}  // namespace

extern const Op op_sgdUpdate, op_momentumUpdate, op_rmspropUpdate, op_rmspropMomentumUpdate, op_adamUpdate;
extern const Op op_polyakUpdate;

const Op op_sgdUpdate = {checkDecaying<2, 1, 1, 2>, prepareSgd};
const Op op_momentumUpdate = {checkDecaying<3, 1, 2, 4>, prepareMomentum};
const Op op_rmspropUpdate = {checkDecaying<3, 1, 2, 5>, prepareRmsprop};
const Op op_rmspropMomentumUpdate = {checkDecaying<4, 1, 3, 6>, prepareRmspropMomentum};
const Op op_adamUpdate = {checkDecaying<4, 2, 3, 5>, prepareAdam};
const Op op_polyakUpdate = {checkUpdate<2, 1, 1, 0>, preparePolyak};

}  // namespace dw::cuda
