// The updates of the optimizers and of the Polyak average, one pass over flat memory each. Formulas:
// depthwise_ops.h. What changes from step to step (learning rate, step, decay) is read from the device's
// memory.
#ifndef DEPTHWISE_CUDA_KERNELS_UPDATE_CUH
#define DEPTHWISE_CUDA_KERNELS_UPDATE_CUH

#include "types.cuh"

namespace dw::cuda {

// The numbers of a rule; each rule reads its own. The rests 1 - rho, 1 - beta1 and 1 - beta2 come rounded
// from f64: 1 - 0.999 from f32 would be off by 1e-5 of itself.
struct UpdateRule {
  float weightDecay, momentum, epsilon, rho, restOfRho, restOfBeta1, restOfBeta2;
  bool nesterov, epsilonOutside;
};

// Rules: of w, the gradient with its decay, the states s and the learning rate; w and s become the new ones.
struct SgdRule {
  static constexpr int kStates = 0;
  static __device__ void update(const UpdateRule&, float rate, float& w, float g, float*) { w -= rate * g; }
};
struct MomentumRule {
  static constexpr int kStates = 1;
  static __device__ void update(const UpdateRule& r, float rate, float& w, float g, float* s) {
    const float step = rate * g;
    s[0] = r.momentum * s[0] - step;
    w += r.nesterov ? r.momentum * s[0] - step : s[0];
  }
};
__device__ __forceinline__ float rootMeanSquare(const UpdateRule& r, float square) {
  return r.epsilonOutside ? sqrtf(square) + r.epsilon : sqrtf(square + r.epsilon);
}
struct RmspropRule {
  static constexpr int kStates = 1;
  static __device__ void update(const UpdateRule& r, float rate, float& w, float g, float* s) {
    s[0] = r.rho * s[0] + r.restOfRho * (g * g);
    w -= rate * g / rootMeanSquare(r, s[0]);
  }
};
// The learning rate enters the momentum in TensorFlow's form, and the weight in PyTorch's.
struct RmspropMomentumRule {
  static constexpr int kStates = 2;
  static __device__ void update(const UpdateRule& r, float rate, float& w, float g, float* s) {
    s[0] = r.rho * s[0] + r.restOfRho * (g * g);
    const float step = (r.epsilonOutside ? 1.0f : rate) * g / rootMeanSquare(r, s[0]);
    s[1] = r.momentum * s[1] + step;
    w -= (r.epsilonOutside ? rate : 1.0f) * s[1];
  }
};
// The rate has the corrections for the step in it.
struct AdamRule {
  static constexpr int kStates = 2;
  static __device__ void update(const UpdateRule& r, float rate, float& w, float g, float* s) {
    s[0] += r.restOfBeta1 * (g - s[0]);
    s[1] += r.restOfBeta2 * (g * g - s[1]);
    w -= s[0] * rate / (sqrtf(s[1]) + r.epsilon);
  }
};

template <int kStates>
struct UpdateOperands {
  const float *w, *g, *rate, *factor;  // factor: NULL for 1
  const float* states[kStates + 1];  // one more than there are: arrays have elements
  float* newW;
  float* newStates[kStates + 1];
  int64_t count, decayed;  // the first `decayed` elements decay
};

// Outputs may be the inputs that they succeed. Where the factor is NaN, they are those.
template <class Rule>
__global__ void update(UpdateRule rule, UpdateOperands<Rule::kStates> o) {
  constexpr int N = 4, kStates = Rule::kStates;
  const float rate = *o.rate, factor = o.factor == nullptr ? 1.0f : *o.factor;
  const bool keep = factor != factor;  // NaN
  const auto one = [&](int64_t i, float& w, float g, float* states) {
    if (keep) return;
    const float decay = i < o.decayed ? rule.weightDecay : 0.0f;
    Rule::update(rule, rate, w, factor * g + decay * w, states);
  };
  for (int64_t i = threadOfGrid() * N; i < o.count; i += threadsOfGrid() * N) {
    if (i + N <= o.count) {
      float w[N], g[N], states[kStates + 1][N];
      load<N>(o.w + i, w);
      load<N>(o.g + i, g);
#pragma unroll
      for (int s = 0; s < kStates; s++) load<N>(o.states[s] + i, states[s]);
#pragma unroll
      for (int j = 0; j < N; j++) {
        float own[kStates + 1];
#pragma unroll
        for (int s = 0; s < kStates; s++) own[s] = states[s][j];
        one(i + j, w[j], g[j], own);
#pragma unroll
        for (int s = 0; s < kStates; s++) states[s][j] = own[s];
      }
      store<N>(o.newW + i, w);
#pragma unroll
      for (int s = 0; s < kStates; s++) store<N>(o.newStates[s] + i, states[s]);
      continue;
    }
    for (int64_t j = i; j < o.count; j++) {
      float w = o.w[j], own[kStates + 1];
      for (int s = 0; s < kStates; s++) own[s] = o.states[s][j];
      one(j, w, o.g[j], own);
      o.newW[j] = w;
      for (int s = 0; s < kStates; s++) o.newStates[s][j] = own[s];
    }
  }
}

// Adam's learning rate with the corrections for the step, by one thread: powers in f64 are dear.
template <class Step>
__global__ void adamRate(const float* rate, const Step* step, double beta1, double beta2, float* corrected) {
  const double at = static_cast<double>(*step);
  *corrected = static_cast<float>(*rate * sqrt(1 - pow(beta2, at)) / (1 - pow(beta1, at)));
}

static __global__ void polyakUpdate(const float* average, const float* w, const float* decay,
                                    float* newAverage, int64_t count) {
  const float rest = 1.0f - *decay;
  for (int64_t i = threadOfGrid() * 4; i < count; i += threadsOfGrid() * 4) {
    if (i + 4 <= count) {
      float old[4], value[4];
      load<4>(average + i, old);
      load<4>(w + i, value);
#pragma unroll
      for (int j = 0; j < 4; j++) old[j] += rest * (value[j] - old[j]);
      store<4>(newAverage + i, old);
      continue;
    }
    for (int64_t j = i; j < count; j++) newAverage[j] = average[j] + rest * (w[j] - average[j]);
  }
}

}  // namespace dw::cuda

#endif
