// The optimizers' update rules, one pass over memory each. Formulas: depthwise_ops.h.
#include "kernels.h"

namespace dw::cpu {
namespace DW_ISA {

void sgdUpdate(const UpdateRule& r, const float* w, const float* g, float* newW, int64_t n) {
  const float rate = r.learningRate, decay = r.weightDecay, factor = r.factor;
  DW_VECTORIZE
  for (int64_t i = 0; i < n; i++) newW[i] = w[i] - rate * (factor * g[i] + decay * w[i]);
}

void momentumUpdate(const UpdateRule& r, const float* w, const float* g, const float* m, float* newW,
                    float* newM, int64_t n) {
  const float rate = r.learningRate, decay = r.weightDecay, momentum = r.momentum, factor = r.factor;
  const bool nesterov = r.nesterov;
  DW_VECTORIZE
  for (int64_t i = 0; i < n; i++) {
    const float weight = w[i], step = rate * (factor * g[i] + decay * weight);
    const float velocity = momentum * m[i] - step;
    newM[i] = velocity;
    newW[i] = weight + (nesterov ? momentum * velocity - step : velocity);
  }
}

void rmspropUpdate(const UpdateRule& r, const float* w, const float* g, const float* v, float* newW,
                   float* newV, int64_t n) {
  const float rate = r.learningRate, decay = r.weightDecay, rho = r.rho, rest = r.restOfRho;
  const float factor = r.factor;
  const float inside = r.epsilonOutside ? 0.0f : r.epsilon, outside = r.epsilonOutside ? r.epsilon : 0.0f;
  DW_VECTORIZE
  for (int64_t i = 0; i < n; i++) {
    const float weight = w[i], gradient = factor * g[i] + decay * weight;
    const float square = rho * v[i] + rest * (gradient * gradient);
    newV[i] = square;
    newW[i] = weight - rate * gradient / (__builtin_sqrtf(square + inside) + outside);
  }
}

void rmspropMomentumUpdate(const UpdateRule& r, const float* w, const float* g, const float* v,
                           const float* m, float* newW, float* newV, float* newM, int64_t n) {
  const float decay = r.weightDecay, rho = r.rho, rest = r.restOfRho, momentum = r.momentum;
  const float factor = r.factor;
  const float inside = r.epsilonOutside ? 0.0f : r.epsilon, outside = r.epsilonOutside ? r.epsilon : 0.0f;
  // The learning rate enters the momentum in TensorFlow's form, and the weight in PyTorch's.
  const float early = r.epsilonOutside ? 1.0f : r.learningRate,
              late = r.epsilonOutside ? r.learningRate : 1.0f;
  DW_VECTORIZE
  for (int64_t i = 0; i < n; i++) {
    const float weight = w[i], gradient = factor * g[i] + decay * weight;
    const float square = rho * v[i] + rest * (gradient * gradient);
    const float velocity = momentum * m[i] + early * gradient / (__builtin_sqrtf(square + inside) + outside);
    newV[i] = square;
    newM[i] = velocity;
    newW[i] = weight - late * velocity;
  }
}

// r.learningRate has the corrections for the step in it.
void adamUpdate(const UpdateRule& r, const float* w, const float* g, const float* m, const float* v,
                float* newW, float* newM, float* newV, int64_t n) {
  const float rate = r.learningRate, decay = r.weightDecay, epsilon = r.epsilon;
  const float rest1 = r.restOfBeta1, rest2 = r.restOfBeta2, factor = r.factor;
  DW_VECTORIZE
  for (int64_t i = 0; i < n; i++) {
    const float weight = w[i], gradient = factor * g[i] + decay * weight;
    const float first = m[i] + rest1 * (gradient - m[i]);
    const float second = v[i] + rest2 * (gradient * gradient - v[i]);
    newM[i] = first;
    newV[i] = second;
    newW[i] = weight - first * rate / (__builtin_sqrtf(second) + epsilon);
  }
}

}  // namespace DW_ISA
}  // namespace dw::cpu
