// The small steps of batch normalization: a thread for each channel. In f64, since the variance is a
// difference of large numbers and c is small. Formulas: depthwise_ops.h.
#ifndef DEPTHWISE_CUDA_KERNELS_BATCH_NORM_CUH
#define DEPTHWISE_CUDA_KERNELS_BATCH_NORM_CUH

#include "types.cuh"

namespace dw::cuda {

struct FinalizeOperands {
  const float *sum, *sumSquares, *gamma, *beta, *runningMean, *runningVariance;
  float *mean, *inverseDeviation, *scale, *shift, *newRunningMean, *newRunningVariance;
  double count, epsilon, momentum, correction;
};

static __global__ void batchNormFinalize(FinalizeOperands o, int64_t c) {
  for (int64_t j = threadOfGrid(); j < c; j += threadsOfGrid()) {
    const double mean = o.sum[j] / o.count, difference = o.sumSquares[j] / o.count - mean * mean;
    const double variance = difference < 0 ? 0 : difference;  // NaN stays
    const double inverseDeviation = 1 / sqrt(variance + o.epsilon);
    const double scale = o.gamma[j] * inverseDeviation, shift = o.beta[j] - mean * scale;
    const double runningMean = o.momentum * o.runningMean[j] + (1 - o.momentum) * mean;
    const double runningVariance =
        o.momentum * o.runningVariance[j] + (1 - o.momentum) * variance * o.correction;
    o.mean[j] = static_cast<float>(mean);
    o.inverseDeviation[j] = static_cast<float>(inverseDeviation);
    o.scale[j] = static_cast<float>(scale);
    o.shift[j] = static_cast<float>(shift);
    o.newRunningMean[j] = static_cast<float>(runningMean);
    o.newRunningVariance[j] = static_cast<float>(runningVariance);
  }
}

struct FinalizeGradOperands {
  const float *gScale, *gShift, *mean, *inverseDeviation, *gamma;
  float *dSum, *dSumSquares, *dGamma, *dBeta;
  double count;
};

static __global__ void batchNormFinalizeGrad(FinalizeGradOperands o, int64_t c) {
  for (int64_t j = threadOfGrid(); j < c; j += threadsOfGrid()) {
    const double mean = o.mean[j], inverse = o.inverseDeviation[j], gamma = o.gamma[j], dShift = o.gShift[j];
    const double dScale = o.gScale[j] - mean * dShift;  // shift reads scale
    const double dVariance = -0.5 * dScale * gamma * inverse * inverse * inverse;
    const double dMean = -gamma * inverse * dShift - 2 * mean * dVariance;
    o.dSum[j] = static_cast<float>(dMean / o.count);
    o.dSumSquares[j] = static_cast<float>(dVariance / o.count);
    o.dGamma[j] = static_cast<float>(dScale * inverse);
    o.dBeta[j] = static_cast<float>(dShift);
  }
}

// (gamma, beta, mean, variance) -> scale, shift
static __global__ void batchNormFold(const float* gamma, const float* beta, const float* mean,
                                     const float* variance, float* scale, float* shift, double epsilon,
                                     int64_t c) {
  for (int64_t j = threadOfGrid(); j < c; j += threadsOfGrid()) {
    const double factor = gamma[j] / sqrt(variance[j] + epsilon), offset = beta[j] - mean[j] * factor;
    scale[j] = static_cast<float>(factor);
    shift[j] = static_cast<float>(offset);
  }
}

// (gScale, gShift, mean, variance) -> dGamma, dBeta
static __global__ void batchNormFoldGrad(const float* gScale, const float* gShift, const float* mean,
                                         const float* variance, float* dGamma, float* dBeta, double epsilon,
                                         int64_t c) {
  for (int64_t j = threadOfGrid(); j < c; j += threadsOfGrid()) {
    const double dShift = gShift[j];
    const double product = (gScale[j] - mean[j] * dShift) / sqrt(variance[j] + epsilon);
    dGamma[j] = static_cast<float>(product);
    dBeta[j] = static_cast<float>(dShift);
  }
}

}  // namespace dw::cuda

#endif
