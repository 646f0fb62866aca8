// The updates of the optimizers and of the Polyak average, one pass over memory each, divided among threads by elements.
// Formulas: depthwise_ops.h.
#include <algorithm>
#include <cmath>

#include "op.h"

namespace dw::cpu {
namespace {

// Inputs: `kTensors` of one shape, then `kScalars`, of which the last `kOptional` may be absent; outputs of that shape.
template <uint32_t kTensors, uint32_t kScalars, uint32_t kOutputs, uint32_t kAttributes, uint32_t kOptional = 0>
void check(const Node& node) {
  const uint32_t most = kTensors + kScalars;
  node.expect(kOptional > 0 && node.inputs() == most - kOptional ? most - kOptional : most, kOutputs,
              kAttributes);
  for (uint32_t i = 0; i < kTensors; i++) {
    node.expectType(node.input(i), DW_F32);
    node.expectSameShape(node.input(i), node.input(0));
  }
  for (uint32_t i = kTensors; i < node.inputs(); i++) {
    node.expectRank(node.input(i), 0);
    // Adam's step may be an integer.
    if (i != kTensors + 1 || kScalars != 3 || node.input(i).dtype != DW_I32)
      node.expectType(node.input(i), DW_F32);
  }
  for (uint32_t i = 0; i < kOutputs; i++) {
    node.expectType(node.output(i), DW_F32);
    node.expectSameShape(node.output(i), node.input(0));
  }
}

// An update, which may have a factor, and whose last attribute says how many elements decay. `kScalars` without factor.
template <uint32_t kTensors, uint32_t kScalars, uint32_t kOutputs, uint32_t kAttributes>
void checkDecaying(const Node& node) {
  check<kTensors, kScalars + 1, kOutputs, kAttributes, 1>(node);
  if (node.integer(kAttributes - 1, -1) > elements(node.input(0)))
    node.invalid("more elements decay than there are");
}

// What a rule runs over: `count` elements, of which the first `decayed` decay.
struct Extent {
  int64_t count, decayed;
  int factor = -1;      // the input with the factor of the gradient; -1: none
  uint32_t successors;  // outputs, each of which succeeds an input: w the first, states those behind the gradient

  // `inputs`: how many there are without the factor.
  Extent(const Node& node, uint32_t inputs)
      : count(elements(node.input(0))),
        decayed(node.integer(node.attributes() - 1, -1)),
        successors(node.outputs()) {
    if (decayed < 0) decayed = count;
    if (node.inputs() > inputs) factor = static_cast<int>(inputs);
  }

  // Calls update(rule, begin, end) for ranges that cover all elements, with the rule without decay for the rest. Where the
  // factor is NaN, nothing changes.
  template <class Update>
  void run(const Launch& run, UpdateRule rule, const Update& update) const {
    if (factor >= 0) rule.factor = *run.in(factor);
    if (std::isnan(rule.factor)) return keep(run);
    UpdateRule plain = rule;
    plain.weightDecay = 0;
    parallelFor(count, 1, [&](int64_t begin, int64_t end) {
      const int64_t middle = std::min(std::max(begin, decayed), end);
      if (begin < middle) update(rule, begin, middle);
      if (middle < end) update(plain, middle, end);
    });
  }

 private:
  void keep(const Launch& run) const {
    for (uint32_t i = 0; i < successors; i++) {
      const float* from = run.in(i == 0 ? 0 : static_cast<int>(i) + 1);
      float* to = run.out(static_cast<int>(i));
      if (from != to) std::copy_n(from, count, to);
    }
  }
};

float number(const Node& node, uint32_t i) { return static_cast<float>(node.attribute(i)); }

KernelPointer prepareSgd(dw_device& device, const Node& node) {
  UpdateRule rule = {};
  rule.weightDecay = number(node, 0);
  return makeKernel(
      [rule, extent = Extent(node, 3), kernel = device.kernels->sgdUpdate](const Launch& run) {
        UpdateRule r = rule;
        r.learningRate = *run.in(2);
        extent.run(run, r, [&](const UpdateRule& rules, int64_t i, int64_t end) {
          kernel(rules, run.in(0) + i, run.in(1) + i, run.out(0) + i, end - i);
        });
      });
}

KernelPointer prepareMomentum(dw_device& device, const Node& node) {
  UpdateRule rule = {};
  rule.momentum = number(node, 0);
  rule.nesterov = node.attribute(1) != 0;
  rule.weightDecay = number(node, 2);
  const auto kernel = device.kernels->momentumUpdate;
  return makeKernel([rule, extent = Extent(node, 4), kernel](const Launch& run) {
    UpdateRule r = rule;
    r.learningRate = *run.in(3);
    extent.run(run, r, [&](const UpdateRule& rules, int64_t i, int64_t end) {
      kernel(rules, run.in(0) + i, run.in(1) + i, run.in(2) + i, run.out(0) + i, run.out(1) + i, end - i);
    });
  });
}

KernelPointer prepareRmsprop(dw_device& device, const Node& node) {
  UpdateRule rule = {};
  rule.rho = number(node, 0);
  rule.restOfRho = static_cast<float>(1 - node.attribute(0));
  rule.epsilon = number(node, 1);
  rule.epsilonOutside = node.attribute(2) != 0;
  rule.weightDecay = number(node, 3);
  const auto kernel = device.kernels->rmspropUpdate;
  return makeKernel([rule, extent = Extent(node, 4), kernel](const Launch& run) {
    UpdateRule r = rule;
    r.learningRate = *run.in(3);
    extent.run(run, r, [&](const UpdateRule& rules, int64_t i, int64_t end) {
      kernel(rules, run.in(0) + i, run.in(1) + i, run.in(2) + i, run.out(0) + i, run.out(1) + i, end - i);
    });
  });
}

KernelPointer prepareRmspropMomentum(dw_device& device, const Node& node) {
  UpdateRule rule = {};
  rule.rho = number(node, 0);
  rule.restOfRho = static_cast<float>(1 - node.attribute(0));
  rule.momentum = number(node, 1);
  rule.epsilon = number(node, 2);
  rule.epsilonOutside = node.attribute(3) != 0;
  rule.weightDecay = number(node, 4);
  const auto kernel = device.kernels->rmspropMomentumUpdate;
  return makeKernel([rule, extent = Extent(node, 5), kernel](const Launch& run) {
    UpdateRule r = rule;
    r.learningRate = *run.in(4);
    extent.run(run, r, [&](const UpdateRule& rules, int64_t i, int64_t end) {
      kernel(rules, run.in(0) + i, run.in(1) + i, run.in(2) + i, run.in(3) + i, run.out(0) + i, run.out(1) + i,
             run.out(2) + i, end - i);
    });
  });
}

KernelPointer prepareAdam(dw_device& device, const Node& node) {
  UpdateRule rule = {};
  rule.restOfBeta1 = static_cast<float>(1 - node.attribute(0));
  rule.restOfBeta2 = static_cast<float>(1 - node.attribute(1));
  rule.epsilon = number(node, 2);
  rule.weightDecay = number(node, 3);
  const double beta1 = node.attribute(0), beta2 = node.attribute(1);
  const bool integerStep = node.input(5).dtype == DW_I32;
  const auto kernel = device.kernels->adamUpdate;
  return makeKernel([=, extent = Extent(node, 6)](const Launch& run) {
    const double step = integerStep ? *static_cast<const int32_t*>(run.inputs[5]) : *run.in(5);
    UpdateRule r = rule;
    r.learningRate =
        static_cast<float>(*run.in(4) * std::sqrt(1 - std::pow(beta2, step)) / (1 - std::pow(beta1, step)));
    extent.run(run, r, [&](const UpdateRule& rules, int64_t i, int64_t end) {
      kernel(rules, run.in(0) + i, run.in(1) + i, run.in(2) + i, run.in(3) + i, run.out(0) + i, run.out(1) + i,
             run.out(2) + i, end - i);
    });
  });
}

KernelPointer preparePolyak(dw_device& device, const Node& node) {
  return makeKernel(
      [count = elements(node.input(0)), kernel = device.kernels->polyakUpdate](const Launch& run) {
        const float decay = *run.in(2);
        parallelFor(count, 1, [&](int64_t i, int64_t end) {
          kernel(run.in(0) + i, run.in(1) + i, run.out(0) + i, end - i, decay);
        });
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
const Op op_polyakUpdate = {check<2, 1, 1, 0>, preparePolyak};

}  // namespace dw::cpu
