// Elementwise loops: activations, arithmetic, conversions between number types.
#include "exponential.h"
#include "kernels.h"

namespace dw::cpu {
namespace DW_ISA {

// relu(NaN) is NaN: a broken step must show in the loss and not be hidden by an activation.
void relu(const float* x, float* y, int64_t n) {
  DW_VECTORIZE
  for (int64_t i = 0; i < n; i++) y[i] = x[i] < 0.0f ? 0.0f : x[i];
}

void reluGrad(const float* g, const float* y, float* dx, int64_t n) {
  DW_VECTORIZE
  for (int64_t i = 0; i < n; i++) {
    const float gradient = g[i];
    dx[i] = y[i] > 0.0f ? gradient : 0.0f;
  }
}

void elu(const float* x, float* y, int64_t n, float alpha) {
  DW_VECTORIZE
  for (int64_t i = 0; i < n; i++) {
    const float value = x[i], below = alpha * exponentialMinusOne(value);
    y[i] = value > 0.0f ? value : below;
  }
}

void eluGrad(const float* g, const float* y, float* dx, int64_t n, float alpha) {
  DW_VECTORIZE
  for (int64_t i = 0; i < n; i++) {
    const float gradient = g[i], below = gradient * (y[i] + alpha);
    dx[i] = y[i] > 0.0f ? gradient : below;
  }
}

void sigmoid(const float* x, float* y, int64_t n) {
  DW_VECTORIZE
  for (int64_t i = 0; i < n; i++) y[i] = 1.0f / (1.0f + exponential(-x[i]));
}

void sigmoidGrad(const float* g, const float* y, float* dx, int64_t n) {
  DW_VECTORIZE
  for (int64_t i = 0; i < n; i++) dx[i] = g[i] * y[i] * (1.0f - y[i]);
}

void add(const float* a, const float* b, float* y, int64_t n) {
  DW_VECTORIZE
  for (int64_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

void subtract(const float* a, const float* b, float* y, int64_t n) {
  DW_VECTORIZE
  for (int64_t i = 0; i < n; i++) y[i] = a[i] - b[i];
}

void multiply(const float* a, const float* b, float* y, int64_t n) {
  DW_VECTORIZE
  for (int64_t i = 0; i < n; i++) y[i] = a[i] * b[i];
}

void scale(const float* x, float* y, int64_t n, float factor) {
  DW_VECTORIZE
  for (int64_t i = 0; i < n; i++) y[i] = x[i] * factor;
}

void square(const float* x, float* y, int64_t n) {
  DW_VECTORIZE
  for (int64_t i = 0; i < n; i++) y[i] = x[i] * x[i];
}

void polyakUpdate(const float* average, const float* w, float* newAverage, int64_t n, float decay) {
  const float rate = 1.0f - decay;
  DW_VECTORIZE
  for (int64_t i = 0; i < n; i++) newAverage[i] = average[i] + rate * (w[i] - average[i]);
}

}  // namespace DW_ISA
}  // namespace dw::cpu
