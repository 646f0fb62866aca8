// Filters, and the two passes. Rounding between the passes, and the weights' 22 bits, are Pillow's.
#include "resample.h"

#include <algorithm>
#include <cmath>

namespace dw::images {

namespace {

constexpr size_t kKept = size_t{16} << 20;

double triangle(double x) { return std::max(0.0, 1 - std::fabs(x)); }

// Keys 1981, with a = -0.5.
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

}  // namespace

void Axis::set(double from, double to, int available, int size, bool bicubic) {
  if (from == from_ && to == to_ && available == available_ && size == size_ && bicubic == bicubic_) return;
  from_ = from, to_ = to, available_ = available, size_ = size, bicubic_ = bicubic;
  const double scale = (to - from) / size;
  const double widened = std::max(scale, 1.0);
  const double support = (bicubic ? 2.0 : 1.0) * widened;
  const int most = static_cast<int>(std::ceil(support)) * 2 + 1;
  stride_ = (most + 3) / 4 * 4;
  const size_t n = static_cast<size_t>(size);
  first_.resize(n);
  count_.resize(n);
  weights_.assign(n * static_cast<size_t>(stride_), 0);
  row_.resize(static_cast<size_t>(stride_));
  for (int i = 0; i < size; i++) {
    const double center = from + (i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(center - support + 0.5));
    const int last = std::min(available, static_cast<int>(center + support + 0.5));
    const int count = std::min(last - first, most);
    double sum = 0;
    for (int k = 0; k < count; k++) {
      const double x = (k + first - center + 0.5) / widened;
      row_[static_cast<size_t>(k)] = bicubic ? cubic(x) : triangle(x);
      sum += row_[static_cast<size_t>(k)];
    }
    first_[static_cast<size_t>(i)] = first;
    count_[static_cast<size_t>(i)] = count;
    int32_t* weights = weights_.data() + static_cast<size_t>(i) * static_cast<size_t>(stride_);
    for (int k = 0; k < count; k++) {
      const double weight = sum == 0 ? 0 : row_[static_cast<size_t>(k)] / sum * (1 << kWeightBits);
      weights[k] = static_cast<int32_t>(weight < 0 ? weight - 0.5 : weight + 0.5);
    }
  }
}

void Resampler::begin(double left, double right, int columns, double top, double bottom, int rows,
                      Size result, bool bicubic) {
  result_ = result;
  across_.set(left, right, columns, result.width, bicubic);
  down_.set(top, bottom, rows, result.height, bicubic);
  middle_.resize(static_cast<size_t>(rows) * static_cast<size_t>(result.width) * 4);
  line_.resize(static_cast<size_t>(result.width) * 4);
  rows_ = 0;
}

void Resampler::row(const uint8_t* pixels) {
  kernels_.horizontal(pixels, middle_.data() + rows_ * result_.width * 4, result_.width, across_.taps());
  rows_++;
}

void Resampler::finish(uint8_t* out, bool mirror) {
  const Taps taps = down_.taps();
  const int64_t lanes = static_cast<int64_t>(result_.width) * 4;
  for (int64_t y = 0; y < result_.height; y++) {
    kernels_.vertical(middle_.data() + taps.first[y] * lanes, lanes, taps.weights + y * taps.stride,
                      taps.count[y], line_.data(), lanes);
    kernels_.narrow(line_.data(), out + y * result_.width * 3, result_.width, mirror);
  }
}

void Resampler::shrink() {
  if (middle_.capacity() > kKept) std::vector<uint8_t>().swap(middle_);
}

}  // namespace dw::images
