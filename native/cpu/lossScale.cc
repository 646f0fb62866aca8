// Dynamic loss scaling: select, unscale, lossScaleUpdate. Formulas: depthwise_ops.h. In f32, as everything here, which
// needs no scaling: for programs of one's own, and as a second opinion on the other backends.
#include <atomic>
#include <cmath>
#include <cstring>

#include "op.h"

namespace dw::cpu {
namespace {

void expectScalar(const Node& node, const dw_aval& aval) { node.expectRank(aval, 0); }

void checkSelect(const Node& node) {
  node.expect(3, 1, 0);
  node.expectFloats();
  expectScalar(node, node.input(0));
  for (uint32_t i = 1; i < 3; i++) node.expectSameShape(node.input(i), node.output(0));
}

KernelPointer prepareSelect(dw_device&, const Node& node) {
  return makeKernel([count = elements(node.output(0))](const Launch& run) {
    const float* from = *run.in(0) != 0 ? run.in(1) : run.in(2);
    float* to = run.out(0);
    if (from == to) return;
    parallelFor(count, 1, [&](int64_t begin, int64_t end) {
      std::memcpy(to + begin, from + begin, static_cast<size_t>(end - begin) * sizeof(float));
    });
  });
}

void checkUnscale(const Node& node) {
  node.expect(2, 2, 0);
  node.expectFloats();
  expectScalar(node, node.input(1));
  node.expectSameShape(node.output(0), node.input(0));
  expectScalar(node, node.output(1));
}

KernelPointer prepareUnscale(dw_device&, const Node& node) {
  return makeKernel([count = elements(node.input(0))](const Launch& run) {
    const float* g = run.in(0);
    float* y = run.out(0);
    const float inverse = 1 / *run.in(1);
    std::atomic<bool> overflow{false};
    parallelFor(count, 1, [&](int64_t begin, int64_t end) {
      bool finite = true;
      for (int64_t i = begin; i < end; i++) {
        finite = finite && std::isfinite(g[i]);
        y[i] = g[i] * inverse;
      }
      if (!finite) overflow = true;
    });
    *run.out(1) = overflow ? 1 : 0;
  });
}

void checkLossScaleUpdate(const Node& node) {
  node.expect(4, 3, 3);
  node.expectFloats();
  for (uint32_t i = 0; i < 4; i++) expectScalar(node, node.input(i));
  for (uint32_t i = 0; i < 3; i++) expectScalar(node, node.output(i));
}

KernelPointer prepareLossScaleUpdate(dw_device&, const Node& node) {
  const float growth = static_cast<float>(node.attribute(0)),
              backoff = static_cast<float>(node.attribute(1)),
              interval = static_cast<float>(node.integer(2, 1));
  return makeKernel([=](const Launch& run) {
    float scale = *run.in(0), good = *run.in(1), skipped = *run.in(2);
    if (*run.in(3) != 0) {
      scale *= backoff, good = 0, skipped += 1;
    } else if (good + 1 < interval) {
      good += 1;
    } else {
      if (std::isfinite(scale * growth)) scale *= growth;
      good = 0;
    }
    *run.out(0) = scale, *run.out(1) = good, *run.out(2) = skipped;
  });
}

}  // namespace

extern const Op op_select, op_unscale, op_lossScaleUpdate;

const Op op_select = {checkSelect, prepareSelect};
const Op op_unscale = {checkUnscale, prepareUnscale};
const Op op_lossScaleUpdate = {checkLossScaleUpdate, prepareLossScaleUpdate};

}  // namespace dw::cpu
