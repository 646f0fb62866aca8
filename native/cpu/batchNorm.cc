// The pieces of batch normalization: sums over all axes but the last, statistics per channel, affine maps.
// Formulas: depthwise_ops.h. Per-channel arithmetic is in f64: it is small, and variance is a difference of
// large numbers.
#include <cmath>

#include "op.h"
#include "parts.h"

namespace dw::cpu {
namespace {

template <uint32_t kInputs>
void checkSums(const Node& node) {
  node.expect(kInputs, 2, 0);
  node.expectFloats();
  for (uint32_t i = 0; i < kInputs; i++) node.expectSameShape(node.input(i), node.input(0));
  for (uint32_t i = 0; i < 2; i++) node.expectShape(node.output(i), {channels(node.input(0))});
}

size_t sumsWorkspace(const Node& node) {
  return partsWorkspace(partsOf(rows(node.input(0))), channels(node.input(0)));
}

KernelPointer prepareChannelSums(dw_device& device, const Node& node) {
  const int64_t c = channels(node.input(0)), count = rows(node.input(0));
  return makeKernel(
      [=, kernel = device.kernels->channelSums](const Launch& run) {
        reduceParts(partsOf(count), count, c, run.workspace, run.out(0), run.out(1),
                    [&](int64_t first, int64_t rows, double* sums, double* squares) {
                      kernel(run.in(0) + first * c, rows, c, c, sums, squares);
                    });
      },
      sumsWorkspace(node));
}

KernelPointer prepareChannelGradSums(dw_device& device, const Node& node) {
  const int64_t c = channels(node.input(0)), count = rows(node.input(0));
  return makeKernel(
      [=, kernel = device.kernels->channelGradSums](const Launch& run) {
        reduceParts(partsOf(count), count, c, run.workspace, run.out(0), run.out(1),
                    [&](int64_t first, int64_t rows, double* sumG, double* sumGX) {
                      kernel(run.in(0) + first * c, run.in(1) + first * c, rows, c, sumG, sumGX);
                    });
      },
      sumsWorkspace(node));
}

template <uint32_t kVectors>
void checkAffine(const Node& node) {
  node.expect(1 + kVectors, 1, 0);
  node.expectFloats();
  node.expectSameShape(node.input(0), node.output(0));
  for (uint32_t i = 1; i <= kVectors; i++) node.expectShape(node.input(i), {channels(node.input(0))});
}

KernelPointer prepareChannelAffine(dw_device& device, const Node& node) {
  const int64_t c = channels(node.input(0)), count = rows(node.input(0));
  return makeKernel([=, kernel = device.kernels->channelAffine](const Launch& run) {
    parallelFor(count, c, [&](int64_t begin, int64_t end) {
      kernel(run.in(0) + begin * c, run.in(1), run.in(2), run.out(0) + begin * c, end - begin, c);
    });
  });
}

KernelPointer prepareChannelMultiply(dw_device& device, const Node& node) {
  const int64_t c = channels(node.input(0)), count = rows(node.input(0));
  return makeKernel([=, kernel = device.kernels->channelMultiply](const Launch& run) {
    parallelFor(count, c, [&](int64_t begin, int64_t end) {
      kernel(run.in(0) + begin * c, run.in(1), run.out(0) + begin * c, end - begin, c);
    });
  });
}

// Vectors [c] in and out.
template <uint32_t kInputs, uint32_t kOutputs, uint32_t kAttributes>
void checkVectors(const Node& node) {
  node.expect(kInputs, kOutputs, kAttributes);
  node.expectFloats();
  node.expectRank(node.input(0), 1);
  for (uint32_t i = 0; i < kInputs; i++) node.expectSameShape(node.input(i), node.input(0));
  for (uint32_t i = 0; i < kOutputs; i++) node.expectSameShape(node.output(i), node.input(0));
}

KernelPointer prepareFinalize(dw_device&, const Node& node) {
  const int64_t c = channels(node.input(0));
  const double count = node.attribute(0), epsilon = node.attribute(1), momentum = node.attribute(2);
  const double correction = node.attribute(3) != 0 && count > 1 ? count / (count - 1) : 1;
  return makeKernel([=](const Launch& run) {
    const float *sum = run.in(0), *sumSquares = run.in(1), *gamma = run.in(2), *beta = run.in(3);
    const float *runningMean = run.in(4), *runningVariance = run.in(5);
    for (int64_t j = 0; j < c; j++) {
      const double mean = sum[j] / count, difference = sumSquares[j] / count - mean * mean;
      const double variance = difference < 0 ? 0 : difference;  // NaN stays
      const double inverseDeviation = 1 / std::sqrt(variance + epsilon);
      const double scale = gamma[j] * inverseDeviation, shift = beta[j] - mean * scale;
      const double newMean = momentum * runningMean[j] + (1 - momentum) * mean;
      const double newVariance = momentum * runningVariance[j] + (1 - momentum) * variance * correction;
      run.out(0)[j] = static_cast<float>(mean);
      run.out(1)[j] = static_cast<float>(inverseDeviation);
      run.out(2)[j] = static_cast<float>(scale);
      run.out(3)[j] = static_cast<float>(shift);
      run.out(4)[j] = static_cast<float>(newMean);
      run.out(5)[j] = static_cast<float>(newVariance);
    }
  });
}

KernelPointer prepareFinalizeGrad(dw_device&, const Node& node) {
  const int64_t c = channels(node.input(0));
  const double count = node.attribute(0);
  return makeKernel([=](const Launch& run) {
    const float *gScale = run.in(0), *gShift = run.in(1), *mean = run.in(2), *inverseDeviation = run.in(3);
    const float* gamma = run.in(4);
    for (int64_t j = 0; j < c; j++) {
      const double m = mean[j], inverse = inverseDeviation[j], weight = gamma[j], dShift = gShift[j];
      const double dScale = gScale[j] - m * dShift;  // shift reads scale
      const double dVariance = -0.5 * dScale * weight * inverse * inverse * inverse;
      const double dMean = -weight * inverse * dShift - 2 * m * dVariance;
      run.out(0)[j] = static_cast<float>(dMean / count);
      run.out(1)[j] = static_cast<float>(dVariance / count);
      run.out(2)[j] = static_cast<float>(dScale * inverse);
      run.out(3)[j] = static_cast<float>(dShift);
    }
  });
}

KernelPointer prepareFold(dw_device&, const Node& node) {
  const int64_t c = channels(node.input(0));
  const double epsilon = node.attribute(0);
  return makeKernel([=](const Launch& run) {
    const float *gamma = run.in(0), *beta = run.in(1), *mean = run.in(2), *variance = run.in(3);
    for (int64_t j = 0; j < c; j++) {
      const double scale = gamma[j] / std::sqrt(variance[j] + epsilon);
      const double shift = beta[j] - mean[j] * scale;
      run.out(0)[j] = static_cast<float>(scale);
      run.out(1)[j] = static_cast<float>(shift);
    }
  });
}

KernelPointer prepareFoldGrad(dw_device&, const Node& node) {
  const int64_t c = channels(node.input(0));
  const double epsilon = node.attribute(0);
  return makeKernel([=](const Launch& run) {
    const float *gScale = run.in(0), *gShift = run.in(1), *mean = run.in(2), *variance = run.in(3);
    for (int64_t j = 0; j < c; j++) {
      const double dShift = gShift[j];
      const double dGamma = (gScale[j] - mean[j] * dShift) / std::sqrt(variance[j] + epsilon);
      run.out(0)[j] = static_cast<float>(dGamma);
      run.out(1)[j] = static_cast<float>(dShift);
    }
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
const Op op_batchNormFold = {checkVectors<4, 2, 1>, prepareFold};
const Op op_batchNormFoldGrad = {checkVectors<4, 2, 1>, prepareFoldGrad};

}  // namespace dw::cpu
