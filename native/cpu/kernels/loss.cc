// Softmax and cross-entropies over rows of classes, stable: the row's largest logit is subtracted first.
// Labels were checked before.
#include "exponential.h"
#include "kernels.h"

namespace dw::cpu {
namespace DW_ISA {
namespace {

inline float largest(const float* x, int64_t c) {
  float most = x[0];
  for (int64_t j = 1; j < c; j++) most = x[j] > most ? x[j] : most;
  return most;
}

// The sum over a row of exp(x - most), in f64. A NaN or an infinity in the row makes it NaN.
inline double sumOfExponentials(const float* x, int64_t c, float most) {
  constexpr int64_t kBlock = 256;
  double total = 0;
  for (int64_t j = 0; j < c; j += kBlock) {
    const int64_t end = j + kBlock < c ? j + kBlock : c;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = j; i < end; i++) sum += exponential(x[i] - most);
    total += sum;
  }
  return total;
}

}  // namespace

void softmax(const float* x, float* y, int64_t rows, int64_t c) {
  for (int64_t row = 0; row < rows; row++, x += c, y += c) {
    const float most = largest(x, c);
    const float factor = static_cast<float>(1.0 / sumOfExponentials(x, c, most));
    DW_VECTORIZE
    for (int64_t j = 0; j < c; j++) y[j] = exponential(x[j] - most) * factor;
  }
}

void softmaxGrad(const float* g, const float* y, float* dx, int64_t rows, int64_t c) {
  for (int64_t row = 0; row < rows; row++, g += c, y += c, dx += c) {
    double product = 0;
    for (int64_t j = 0; j < c; j++) product += static_cast<double>(g[j]) * y[j];
    const float inner = static_cast<float>(product);
    DW_VECTORIZE
    for (int64_t j = 0; j < c; j++) dx[j] = y[j] * (g[j] - inner);
  }
}

void softmaxCrossEntropy(const float* logits, const int32_t* labels, float* loss, int64_t rows, int64_t c,
                         double smoothing) {
  for (int64_t row = 0; row < rows; row++, logits += c) {
    const float most = largest(logits, c);
    double all = 0;
    if (smoothing != 0)
      for (int64_t j = 0; j < c; j++) all += static_cast<double>(logits[j]) - most;
    const double chosen = static_cast<double>(logits[labels[row]]) - most;
    const double logSum = __builtin_log(sumOfExponentials(logits, c, most));
    loss[row] =
        static_cast<float>(logSum - (1 - smoothing) * chosen - smoothing / static_cast<double>(c) * all);
  }
}

void softmaxCrossEntropyGrad(const float* g, const float* logits, const int32_t* labels, float* dx,
                             int64_t rows, int64_t c, double smoothing) {
  const float share = static_cast<float>(smoothing / static_cast<double>(c));
  for (int64_t row = 0; row < rows; row++, logits += c, dx += c) {
    const float most = largest(logits, c), gradient = g[row];
    const float factor = static_cast<float>(1.0 / sumOfExponentials(logits, c, most));
    // The label's own entry is written last, from its logit, because dx may be the logits' memory.
    const float chosen = exponential(logits[labels[row]] - most) * factor;
    DW_VECTORIZE
    for (int64_t j = 0; j < c; j++) dx[j] = gradient * (exponential(logits[j] - most) * factor - share);
    dx[labels[row]] = gradient * (chosen - (static_cast<float>(1 - smoothing) + share));
  }
}

void sigmoidCrossEntropy(const float* logits, const float* targets, float* loss, int64_t rows, int64_t c,
                         double smoothing) {
  const float kept = static_cast<float>(1 - smoothing), share = static_cast<float>(smoothing / 2);
  for (int64_t row = 0; row < rows; row++, logits += c, targets += c) {
    double total = 0;
    for (int64_t j = 0; j < c; j++) {
      const float z = logits[j], target = targets[j] * kept + share;
      const float positive = z < 0 ? 0 : z;  // NaN stays
      total += static_cast<double>(positive) - static_cast<double>(z) * target +
               __builtin_log1pf(__builtin_expf(-__builtin_fabsf(z)));
    }
    loss[row] = static_cast<float>(total / static_cast<double>(c));
  }
}

void sigmoidCrossEntropyGrad(const float* g, const float* logits, const float* targets, float* dx,
                             int64_t rows, int64_t c, double smoothing) {
  const float kept = static_cast<float>(1 - smoothing), share = static_cast<float>(smoothing / 2);
  for (int64_t row = 0; row < rows; row++, logits += c, targets += c, dx += c) {
    const float gradient = g[row] / static_cast<float>(c);
    DW_VECTORIZE
    for (int64_t j = 0; j < c; j++) {
      const float target = targets[j] * kept + share;
      dx[j] = gradient * (1.0f / (1.0f + exponential(-logits[j])) - target);
    }
  }
}

}  // namespace DW_ISA
}  // namespace dw::cpu
