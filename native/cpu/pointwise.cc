// Pointwise convolutions as products of matrices: how their work is divided among threads.
//
// y [pixels, o] = x [pixels, c] wT, dx = g w, dw = gT x. Each is divided by shapes alone, or into parts that
// are not added up: results do not depend on the number of threads.
#include "pointwise.h"

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

// dw [o, c]: inputs x, g. The pixels are divided into parts, whose results are added up in their order; a
// part is gone through in chunks, each of which is packed and then multiplied. Threads share nothing that is
// packed: on cores without a common cache, what another one has written comes as slowly as from memory. Where
// there are more threads than parts, they divide the rows of a part's result, and each packs the pixels for
// itself.
class WeightGradKernel final : public dw_kernel {
 public:
  WeightGradKernel(const dw_device& device, const Convolution& conv)
      : kernels_(*device.kernels),
        pixels_(conv.pixels()),
        o_(conv.o),
        c_(conv.c),
        heights_(heightsOf(kernels_, o_)),
        parts_(std::min(kMostParts, powerOfTwoUpTo(std::max<int64_t>(1, pixels_ / kFewPixels)))),
        splits_(std::min(heights_, (device.threads + parts_ - 1) / parts_)),
        scratchFloats_(kLeftFloats + panelsOf(kernels_, c_) * kernels_.tileColumns * kProductDepth) {
    WorkspaceLayout layout;
    scratch_ = layout.place(static_cast<size_t>(scratchFloats_ * device.threads) * sizeof(float));
    if (parts_ > 1) results_ = layout.place(static_cast<size_t>(parts_ * o_ * c_) * sizeof(float));
    workspace = layout.size();
  }

  void run(const Launch& launch) override {
    char* base = static_cast<char*>(launch.workspace);
    float *scratch = reinterpret_cast<float*>(base + scratch_), *dw = launch.out(0);
    float* results = parts_ > 1 ? reinterpret_cast<float*>(base + results_) : dw;
    tasksFor(parts_ * splits_, pixels_ * o_ * c_, [&](int64_t task) {
      const int64_t part = task / splits_, split = task % splits_;
      float* left = scratch + scratchFloats_ * omp_get_thread_num();
      multiply(
          {launch.in(1), launch.in(0), results + part * o_ * c_, o_, c_, left, left + kLeftFloats, false},
          {pixels_ * part / parts_, pixels_ * (part + 1) / parts_},
          {heights_ * split / splits_, heights_ * (split + 1) / splits_});
    });
    if (parts_ == 1) return;
    parallelFor(o_ * c_, parts_, [&](int64_t begin, int64_t end) {
      kernels_.add(results + begin, results + o_ * c_ + begin, dw + begin, end - begin);
      for (int64_t part = 2; part < parts_; part++)
        kernels_.add(dw + begin, results + part * o_ * c_ + begin, dw + begin, end - begin);
    });
  }

  const char* implementation() const override { return "loops: product"; }

 private:
  static constexpr int64_t kPackedRows = 16;  // of a height of tiles
  static constexpr int64_t kHeights = 7;  // multiplied at once: packed, they stay in the second-level cache
  static constexpr int64_t kLeftFloats = kHeights * kPackedRows * kProductDepth;
  // Fewest pixels of a part: with fewer, adding the results up costs more than sharing nothing saves.
  static constexpr int64_t kFewPixels = 512, kMostParts = 4;

  struct Range {
    int64_t begin, end;
  };

  void multiply(ColumnsProduct product, const Range& pixels, const Range& heights) const {
    const int64_t count = pixels.end - pixels.begin, chunks = (count + kProductDepth - 1) / kProductDepth;
    const auto start = [&](int64_t chunk) { return pixels.begin + count * std::min(chunk, chunks) / chunks; };
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
      const int64_t first = start(chunk), depth = start(chunk + 1) - first;
      product.adds = chunk > 0;
      kernels_.packColumns(product, first, depth);
      for (int64_t begin = heights.begin; begin < heights.end; begin += kHeights)
        kernels_.columnsProduct(product, first, depth, start(chunk + 2) - first - depth, begin,
                                std::min(heights.end, begin + kHeights));
    }
  }

  const Kernels& kernels_;
  int64_t pixels_, o_, c_;
  int64_t heights_, parts_, splits_, scratchFloats_;
  size_t scratch_, results_ = 0;
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
