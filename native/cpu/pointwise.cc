// Pointwise convolutions as products of matrices: how their work is divided among threads.
//
// y [pixels, o] = x [pixels, c] wT, dx = g w, dw = gT x. Each is divided by shapes alone, or into parts that
// are not added up: results do not depend on the number of threads.
#include "pointwise.h"

#include <cstring>

#include "parts.h"
#include "primitive.h"

namespace dw::cpu {
namespace {

// Results of more bytes than this do not stay in caches until they are read.
constexpr int64_t kStreamBytes = 32 << 20;
// Fewest rows, and panels of columns, of a task; and how many tasks there should be at least.
constexpr int64_t kFewRows = 128, kFewPanels = 2, kTasks = 16, kMostRowParts = 64;
// Rows this many bytes apart, or a multiple, fall into few sets of the first-level cache: they are copied.
constexpr int64_t kConflictBytes = 2048;
// Weight gradients of at most this many elements are computed in parts of the pixels, then added up.
constexpr int64_t kSmallResult = 1 << 16;
constexpr int64_t kPixelParts = 16;

int64_t powerOfTwoUpTo(int64_t most) {
  int64_t power = 1;
  while (2 * power <= most) power *= 2;
  return power;
}

bool aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 64 == 0; }

// The columns of w, or of its transpose, as panels.
struct Panels {
  int64_t k, n, kStride, nStride;

  static Panels forward(const Convolution& conv) { return {conv.c, conv.o, 1, conv.c}; }
  static Panels inputGrad(const Convolution& conv) { return {conv.o, conv.c, conv.c, 1}; }

  size_t bytes(const Kernels& kernels) const {
    return static_cast<size_t>(panelsOf(kernels, n) * kernels.tileColumns * k) * sizeof(float);
  }
  void pack(const Kernels& kernels, const float* w, float* panels) const {
    parallelFor(panelsOf(kernels, n), k * kernels.tileColumns, [&](int64_t begin, int64_t end) {
      kernels.packPanels(w, k, n, kStride, nStride, panels, begin, end);
    });
  }
};

// [rows, panels.n] = input 0 times the panels of input 1.
class RowsKernel final : public dw_kernel {
 public:
  RowsKernel(const dw_device& device, int64_t rows, const Panels& panels, const PointwiseEpilogue& epilogue)
      : kernels_(*device.kernels), rows_(rows), panels_(panels), epilogue_(epilogue) {
    const int64_t count = panelsOf(kernels_, panels.n);
    rowParts_ = powerOfTwoUpTo(std::clamp<int64_t>(rows / kFewRows, 1, kMostRowParts));
    columnParts_ = std::clamp<int64_t>(kTasks / rowParts_, 1, std::max<int64_t>(1, count / kFewPanels));
    copies_ = panels.k * static_cast<int64_t>(sizeof(float)) % kConflictBytes == 0;
    stream_ = rows * panels.n * static_cast<int64_t>(sizeof(float)) > kStreamBytes && panels.n % 16 == 0;
    WorkspaceLayout layout;
    if (!epilogue.packed) packed_ = layout.place(panels.bytes(kernels_));
    if (copies_) {
      scratchBytes_ = static_cast<size_t>(kernels_.tileRows * (panels.k + 16)) * sizeof(float);
      scratchBytes_ = (scratchBytes_ + 63) / 64 * 64;
      scratch_ = layout.place(scratchBytes_ * static_cast<size_t>(device.threads));
    }
    if (epilogue.sums) sums_ = layout.place(partsWorkspace(rowParts_, panels.n));
    workspace = layout.size();
  }

  void run(const Launch& launch) override {
    char* base = static_cast<char*>(launch.workspace);
    RowsProduct whole = {};
    const float* w = launch.in(1);
    whole.panels = w;
    if (!epilogue_.packed) {
      float* packed = reinterpret_cast<float*>(base + packed_);
      panels_.pack(kernels_, w, packed);
      whole.panels = packed;
    }
    whole.k = whole.stride = panels_.k;
    whole.n = panels_.n;
    whole.copies = copies_;
    whole.relu = epilogue_.relu;
    whole.stream = stream_ && aligned(launch.out(0));
    int input = 2;
    if (epilogue_.bias) whole.bias = launch.in(input++);
    const float* residual = epilogue_.residual ? launch.in(input) : nullptr;
    double* sums = reinterpret_cast<double*>(base + sums_);
    const int64_t panels = panelsOf(kernels_, panels_.n);
    tasksFor(rowParts_ * columnParts_, rows_ * panels_.n * panels_.k, [&](int64_t task) {
      const int64_t part = task / columnParts_, columns = task % columnParts_;
      const int64_t begin = rows_ * part / rowParts_;
      RowsProduct product = whole;
      product.rows = rows_ * (part + 1) / rowParts_ - begin;
      product.x = launch.in(0) + begin * panels_.k;
      product.y = launch.out(0) + begin * panels_.n;
      if (residual) product.residual = residual + begin * panels_.n;
      product.firstPanel = panels * columns / columnParts_;
      product.lastPanel = panels * (columns + 1) / columnParts_;
      product.scratch = reinterpret_cast<float*>(base + scratch_ + scratchBytes_ * omp_get_thread_num());
      if (epilogue_.sums) {
        product.sums = sums + 2 * part * panels_.n;
        product.squares = product.sums + panels_.n;
        const int64_t first = product.firstPanel * kernels_.tileColumns;
        const int64_t last = std::min(panels_.n, product.lastPanel * kernels_.tileColumns);
        std::fill(product.sums + first, product.sums + last, 0.0);
        std::fill(product.squares + first, product.squares + last, 0.0);
      }
      kernels_.rowsProduct(product);
    });
    if (epilogue_.sums) addParts(rowParts_, panels_.n, sums, launch.out(1), launch.out(2));
  }

  const char* implementation() const override { return "loops: product"; }

 private:
  const Kernels& kernels_;
  int64_t rows_;
  Panels panels_;
  PointwiseEpilogue epilogue_;
  int64_t rowParts_, columnParts_;
  bool copies_, stream_;
  size_t packed_ = 0, scratch_ = 0, scratchBytes_ = 0, sums_ = 0;
};

// dw [o, c]: inputs x, g. A task computes some rows of it, or all of them from some of the pixels.
class WeightGradKernel final : public dw_kernel {
 public:
  WeightGradKernel(const dw_device& device, const Convolution& conv)
      : kernels_(*device.kernels), pixels_(conv.pixels()), o_(conv.o), c_(conv.c) {
    const int64_t heights = (o_ + kernels_.tileRows - 1) / kernels_.tileRows;
    if (o_ * c_ <= kSmallResult)
      pixelParts_ = std::clamp<int64_t>(pixels_ / (4 * productDepth(o_, c_)), 1, kPixelParts);
    else
      rowParts_ = std::min<int64_t>(heights, device.threads == 1 ? 1 : 2 * device.threads);
    WorkspaceLayout layout;
    if (pixelParts_ > 1) partials_ = layout.place(static_cast<size_t>(pixelParts_ * o_ * c_) * sizeof(float));
    scratchBytes_ = static_cast<size_t>(columnsScratch(kernels_, o_, (o_ + rowParts_ - 1) / rowParts_, c_)) *
                    sizeof(float);
    scratch_ = layout.place(scratchBytes_ * static_cast<size_t>(device.threads));
    workspace = layout.size();
  }

  void run(const Launch& launch) override {
    char* base = static_cast<char*>(launch.workspace);
    float* partials = reinterpret_cast<float*>(base + partials_);
    tasksFor(rowParts_ * pixelParts_, o_ * c_ * pixels_, [&](int64_t task) {
      const int64_t part = task / rowParts_, rows = task % rowParts_;
      const int64_t begin = pixels_ * part / pixelParts_;
      ColumnsProduct product = {};
      product.x = launch.in(0) + begin * c_;
      product.g = launch.in(1) + begin * o_;
      product.pixels = pixels_ * (part + 1) / pixelParts_ - begin;
      product.o = o_, product.c = c_;
      product.first = o_ * rows / rowParts_;
      product.count = o_ * (rows + 1) / rowParts_ - product.first;
      product.result = (pixelParts_ > 1 ? partials + part * o_ * c_ : launch.out(0)) + product.first * c_;
      product.scratch = reinterpret_cast<float*>(base + scratch_ + scratchBytes_ * omp_get_thread_num());
      kernels_.columnsProduct(product);
    });
    if (pixelParts_ == 1) return;
    parallelFor(o_ * c_, pixelParts_, [&](int64_t begin, int64_t end) {
      float* dw = launch.out(0);
      std::copy(partials + begin, partials + end, dw + begin);
      for (int64_t part = 1; part < pixelParts_; part++)
        kernels_.add(dw + begin, partials + part * o_ * c_ + begin, dw + begin, end - begin);
    });
  }

  const char* implementation() const override { return "loops: product"; }

 private:
  const Kernels& kernels_;
  int64_t pixels_, o_, c_;
  int64_t rowParts_ = 1, pixelParts_ = 1;
  size_t partials_ = 0, scratch_ = 0, scratchBytes_ = 0;
};

}  // namespace

KernelPointer preparePointwise(dw_device& device, const Convolution& conv,
                               const PointwiseEpilogue& epilogue) {
  return std::make_unique<RowsKernel>(device, conv.pixels(), Panels::forward(conv), epilogue);
}

KernelPointer preparePointwiseInputGrad(dw_device& device, const Convolution& conv) {
  return std::make_unique<RowsKernel>(device, conv.pixels(), Panels::inputGrad(conv), PointwiseEpilogue());
}

KernelPointer preparePointwiseWeightGrad(dw_device& device, const Convolution& conv) {
  return std::make_unique<WeightGradKernel>(device, conv);
}

// As many bytes for every instruction set, so that a node can be checked without one.
size_t packedPointwiseBytes(const Convolution& conv) {
  return static_cast<size_t>((conv.o + kMostTileColumns - 1) / kMostTileColumns * kMostTileColumns * conv.c) *
         sizeof(float);
}

KernelPointer preparePackPointwise(dw_device& device, const Convolution& conv) {
  return makeKernel([&kernels = *device.kernels, panels = Panels::forward(conv)](const Launch& launch) {
    panels.pack(kernels, launch.in(0), launch.out(0));
  });
}

}  // namespace dw::cpu
