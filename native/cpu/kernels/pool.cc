// Pooling over NHWC images, vectorised over channels. Gradients gather: each input pixel adds up its windows in order,
// so the result does not depend on how rows are divided among threads.
#include "kernels.h"

namespace dw::cpu {
namespace DW_ISA {
namespace {

constexpr int64_t kBlock = 64;  // channels whose running values are held locally

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// The part of a window that starts at `start` which lies in [0, extent): taps [first, last).
struct Taps {
  Taps(int64_t start, int64_t kernel, int64_t extent)
      : first(most(0, -start)), last(least(kernel, extent - start)) {}
  int64_t first, last;
};

// The windows that cover input position i: outputs [first, last).
struct Covering {
  Covering(int64_t i, int64_t before, int64_t kernel, int64_t stride, int64_t outputs) {
    const int64_t position = i + before;  // in the padded input
    first = position < kernel ? 0 : (position - kernel) / stride + 1;
    last = least(outputs, position / stride + 1);
  }
  int64_t first, last;
};

}  // namespace

// The first of the largest elements wins; the first NaN wins over everything.
void maxPool(const PoolShape& p, const float* x, float* y, uint8_t* argmax, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    const int64_t top = row % p.oh * p.strideH - p.top;
    const float* image = x + row / p.oh * p.h * p.w * p.c;
    const Taps high(top, p.kernelH, p.h);
    for (int64_t ox = 0; ox < p.ow; ox++) {
      const int64_t left = ox * p.strideW - p.left;
      const Taps wide(left, p.kernelW, p.w);
      float* to = y + (row * p.ow + ox) * p.c;
      uint8_t* index = argmax + (row * p.ow + ox) * p.c;
      for (int64_t j = 0; j < p.c; j += kBlock) {
        const int64_t width = least(kBlock, p.c - j);
        float best[kBlock];
        int32_t where[kBlock];
        bool fresh = true;
        for (int64_t i = high.first; i < high.last; i++) {
          for (int64_t k = wide.first; k < wide.last; k++) {
            const float* from = image + ((top + i) * p.w + left + k) * p.c + j;
            const int32_t tap = static_cast<int32_t>(i * p.kernelW + k);
            if (fresh) {
              DW_VECTORIZE for (int64_t l = 0; l < width; l++) {
                best[l] = from[l];
                where[l] = tap;
              }
              fresh = false;
              continue;
            }
            DW_VECTORIZE for (int64_t l = 0; l < width; l++) {
              const bool better = (from[l] > best[l]) | ((from[l] != from[l]) & (best[l] == best[l]));
              best[l] = better ? from[l] : best[l];
              where[l] = better ? tap : where[l];
            }
          }
        }
        DW_VECTORIZE for (int64_t l = 0; l < width; l++) to[j + l] = best[l];
        DW_VECTORIZE for (int64_t l = 0; l < width; l++) index[j + l] = static_cast<uint8_t>(where[l]);
      }
    }
  }
}

void maxPoolGrad(const PoolShape& p, const float* g, const uint8_t* argmax, float* dx, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    const int64_t n = row / p.h, h = row % p.h;
    const Covering tall(h, p.top, p.kernelH, p.strideH, p.oh);
    for (int64_t w = 0; w < p.w; w++) {
      const Covering wide(w, p.left, p.kernelW, p.strideW, p.ow);
      float* to = dx + (row * p.w + w) * p.c;
      for (int64_t j = 0; j < p.c; j += kBlock) {
        const int64_t width = least(kBlock, p.c - j);
        float sum[kBlock];
        for (int64_t l = 0; l < kBlock; l++) sum[l] = 0;
        for (int64_t oy = tall.first; oy < tall.last; oy++) {
          const int64_t tapRow = h + p.top - oy * p.strideH;
          for (int64_t ox = wide.first; ox < wide.last; ox++) {
            const int32_t tap = static_cast<int32_t>(tapRow * p.kernelW + w + p.left - ox * p.strideW);
            const int64_t at = ((n * p.oh + oy) * p.ow + ox) * p.c + j;
            const float* from = g + at;
            const uint8_t* index = argmax + at;
            DW_VECTORIZE for (int64_t l = 0; l < width; l++) {
              const float gradient = from[l];
              sum[l] += static_cast<int32_t>(index[l]) == tap ? gradient : 0.0f;
            }
          }
        }
        DW_VECTORIZE for (int64_t l = 0; l < width; l++) to[j + l] = sum[l];
      }
    }
  }
}

void avgPool(const PoolShape& p, const float* x, float* y, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    const int64_t top = row % p.oh * p.strideH - p.top;
    const float* image = x + row / p.oh * p.h * p.w * p.c;
    const Taps high(top, p.kernelH, p.h);
    for (int64_t ox = 0; ox < p.ow; ox++) {
      const int64_t left = ox * p.strideW - p.left;
      const Taps wide(left, p.kernelW, p.w);
      const int64_t inside = (high.last - high.first) * (wide.last - wide.first);
      const float factor = 1.0f / static_cast<float>(p.countPadding ? p.kernelH * p.kernelW : inside);
      float* to = y + (row * p.ow + ox) * p.c;
      for (int64_t j = 0; j < p.c; j += kBlock) {
        const int64_t width = least(kBlock, p.c - j);
        float sum[kBlock];
        for (int64_t l = 0; l < kBlock; l++) sum[l] = 0;
        for (int64_t i = high.first; i < high.last; i++) {
          for (int64_t k = wide.first; k < wide.last; k++) {
            const float* from = image + ((top + i) * p.w + left + k) * p.c + j;
            DW_VECTORIZE for (int64_t l = 0; l < width; l++) sum[l] += from[l];
          }
        }
        DW_VECTORIZE for (int64_t l = 0; l < width; l++) to[j + l] = sum[l] * factor;
      }
    }
  }
}

void avgPoolGrad(const PoolShape& p, const float* g, float* dx, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    const int64_t n = row / p.h, h = row % p.h;
    const Covering tall(h, p.top, p.kernelH, p.strideH, p.oh);
    for (int64_t w = 0; w < p.w; w++) {
      const Covering wide(w, p.left, p.kernelW, p.strideW, p.ow);
      float* to = dx + (row * p.w + w) * p.c;
      for (int64_t j = 0; j < p.c; j += kBlock) {
        const int64_t width = least(kBlock, p.c - j);
        float sum[kBlock];
        for (int64_t l = 0; l < kBlock; l++) sum[l] = 0;
        for (int64_t oy = tall.first; oy < tall.last; oy++) {
          const Taps high(oy * p.strideH - p.top, p.kernelH, p.h);
          for (int64_t ox = wide.first; ox < wide.last; ox++) {
            const Taps across(ox * p.strideW - p.left, p.kernelW, p.w);
            const int64_t inside = (high.last - high.first) * (across.last - across.first);
            const float factor = 1.0f / static_cast<float>(p.countPadding ? p.kernelH * p.kernelW : inside);
            const float* from = g + ((n * p.oh + oy) * p.ow + ox) * p.c + j;
            DW_VECTORIZE for (int64_t l = 0; l < width; l++) sum[l] += from[l] * factor;
          }
        }
        DW_VECTORIZE for (int64_t l = 0; l < width; l++) to[j + l] = sum[l];
      }
    }
  }
}

}  // namespace DW_ISA
}  // namespace dw::cpu
