// gradientGate: whether a step may change anything, and by what its gradient is multiplied. Formula: depthwise_ops.h.
#include <algorithm>
#include <cmath>
#include <limits>

#include "op.h"

namespace dw::cpu {
namespace {

// Summed up one by one and then together in their order: the same bits for any number of threads.
constexpr int64_t kPart = 1 << 16;

void check(const Node& node) {
  node.expect(2, 3, 2);
  node.expectFloats();
  node.expectRank(node.input(1), 0);
  for (uint32_t i = 0; i < 3; i++) node.expectRank(node.output(i), 0);
  node.integer(1, 1);
}

KernelPointer prepare(dw_device& device, const Node& node) {
  const int64_t size = elements(node.input(0)), parts = (size + kPart - 1) / kPart;
  const double clip = node.attribute(0), count = static_cast<double>(node.integer(1, 1));
  return makeKernel(
      [=, kernel = device.kernels->sumSquares](const Launch& run) {
        double* partials = static_cast<double*>(run.workspace);
        parallelFor(parts, kPart, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; i++)
            kernel(run.in(0) + i * kPart, std::min(kPart, size - i * kPart), partials + i);
        });
        double sum = 0;
        for (int64_t i = 0; i < parts; i++) sum += partials[i];
        const double norm = std::sqrt(sum) / count;
        const bool good = std::isfinite(norm) && std::isfinite(*run.in(1));
        const double factor = (clip > 0 && norm > clip ? clip / norm : 1) / count;
        *run.out(0) = good ? static_cast<float>(factor) : std::numeric_limits<float>::quiet_NaN();
        *run.out(1) = static_cast<float>(norm);
        *run.out(2) = good ? 0.0f : 1.0f;
      },
      static_cast<size_t>(parts) * sizeof(double));
}

}  // namespace

extern const Op op_gradientGate;
const Op op_gradientGate = {check, prepare};

}  // namespace dw::cpu
