// Dense 3x3 convolutions at stride 1 by Winograd's minimal filtering F(2x2, 3x3): Lavin & Gray 2016, "Fast
// Algorithms for Convolutional Neural Networks", section 4.1.
//
//   y = A^T [(G w G^T) . (B^T x B)] A for each tile of 2x2 results, from 4x4 pixels of x
//
// where the product of channels turns each of the 16 values into a product of matrices over tiles. The
// gradients are its adjoints: dx the same with g and turned filters, dw = G^T [(A g A^T) . (B^T x B)] G,
// summed over tiles. F(2x2, 3x3) has coefficients of 1 and 1/2 only, and rounds about as the plain sum does;
// F(4x4, 3x3) would save a little more here and round several times as much.
//
// A task takes some tiles of an image, so that what it transforms stays in the second-level cache.
#include "winograd.h"

#include "parts.h"
#include "primitive.h"

namespace dw::cpu {
namespace {

constexpr int64_t kValues = 16;  // of a transformed tile
// Channels, in and out together, between which it pays.
constexpr int64_t kFewChannels = 16, kMostChannels = 256;
constexpr int64_t kFewTiles = 64;
// Floats of a task's transformed tiles, beside which filters fit into the second-level cache.
constexpr int64_t kScratchFloats = 128 << 10;
constexpr int64_t kMostGradientParts = 16;

int64_t ceilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A convolution of x [n, h, w, c] to y [n, oh, ow, o], and how its tiles are divided: by shapes alone, so
// that results do not depend on the number of threads.
struct Shape {
  int64_t n, h, w, c, oh, ow, o, top, left;
  int64_t across, tiles;  // in a row, and in an image
  int64_t chunks, parts;  // chunks of an image; parts of all chunks

  Shape(const Convolution& conv, bool inputGrad, int64_t mostParts) {
    n = conv.n;
    h = conv.h, w = conv.w, c = conv.c, oh = conv.oh, ow = conv.ow, o = conv.o;
    top = conv.window.top, left = conv.window.left;
    if (inputGrad) {
      std::swap(h, oh), std::swap(w, ow), std::swap(c, o);
      top = 2 - top, left = 2 - left;
    }
    across = (ow + 1) / 2;
    tiles = across * ((oh + 1) / 2);
    chunks = ceilDivide(tiles, std::max<int64_t>(1, kScratchFloats / (kValues * (c + o))));
    parts = std::min(mostParts, n * chunks);
  }

  int64_t mostTiles() const { return ceilDivide(tiles, chunks); }
  int64_t multiplications() const { return n * tiles * kValues * c * o; }

  // Calls body(image, first tile, end) for each chunk of a part.
  template <class Body>
  void overChunks(int64_t part, const Body& body) const {
    const int64_t all = n * chunks;
    for (int64_t i = all * part / parts; i < all * (part + 1) / parts; i++)
      body(i / chunks, tiles * (i % chunks) / chunks, tiles * (i % chunks + 1) / chunks);
  }
  WinogradTiles inputTiles(int64_t begin, int64_t end) const {
    return {h, w, c, across, begin, end, top, left};
  }
  WinogradTiles outputTiles(int64_t begin, int64_t end) const {
    return {oh, ow, o, across, begin, end, 0, 0};
  }
};

// Memory of one thread: zeros, transformed tiles of x, and what else there is.
class Scratch {
 public:
  Scratch() = default;
  Scratch(const dw_device& device, WorkspaceLayout& layout, std::initializer_list<int64_t> floats) {
    for (int64_t count : floats) {
      offsets_.at(count_++) = floats_;
      floats_ += (count + 15) / 16 * 16;
    }
    at_ = layout.place(static_cast<size_t>(floats_ * device.threads) * sizeof(float));
  }

  float* get(void* workspace, size_t which) const {
    return reinterpret_cast<float*>(static_cast<char*>(workspace) + at_) + floats_ * omp_get_thread_num() +
           offsets_.at(which);
  }

 private:
  std::array<int64_t, 5> offsets_ = {};
  size_t count_ = 0, at_ = 0;
  int64_t floats_ = 0;
};

// G w G^T of all filters: [16][o][c].
void transformFilters(const float* w, int64_t o, int64_t c, bool turned, float* to) {
  parallelFor(o, kValues * c, [&](int64_t begin, int64_t end) {
    for (int64_t filter = begin; filter < end; filter++) {
      const float* from = w + filter * 9 * c;
#pragma omp simd
      for (int64_t j = 0; j < c; j++) {
        float rows[4][3];
        for (int q = 0; q < 3; q++) {
          const auto tap = [&](int i) { return from[(turned ? 8 - 3 * i - q : 3 * i + q) * c + j]; };
          const float even = 0.5f * (tap(0) + tap(2)), odd = 0.5f * tap(1);
          rows[0][q] = tap(0);
          rows[1][q] = even + odd;
          rows[2][q] = even - odd;
          rows[3][q] = tap(2);
        }
        for (int i = 0; i < 4; i++) {
          const float even = 0.5f * (rows[i][0] + rows[i][2]), odd = 0.5f * rows[i][1];
          float* at = to + (4 * i * o + filter) * c + j;
          at[0] = rows[i][0];
          at[o * c] = even + odd;
          at[2 * o * c] = even - odd;
          at[3 * o * c] = rows[i][2];
        }
      }
    }
  });
}

// The transformed filters as right matrices of products, each in panels.
class Filters {
 public:
  // `o` and `c` are the filters', `inputGrad` says which of them is the depth.
  Filters(const dw_device& device, int64_t o, int64_t c, bool inputGrad)
      : kernels_(*device.kernels), o_(o), c_(c), inputGrad_(inputGrad) {}

  int64_t panelFloats() const {
    return panelsOf(kernels_, inputGrad_ ? c_ : o_) * kernels_.tileColumns * depth();
  }
  int64_t transformedFloats() const { return kValues * o_ * c_; }

  void pack(const float* w, float* transformed, float* panels) const {
    transformFilters(w, o_, c_, inputGrad_, transformed);
    parallelFor(kValues, o_ * c_, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const int64_t n = inputGrad_ ? c_ : o_;
        kernels_.packPanels(transformed + i * o_ * c_, depth(), n, inputGrad_ ? c_ : 1, inputGrad_ ? 1 : c_,
                            panels + i * panelFloats(), 0, panelsOf(kernels_, n));
      }
    });
  }

 private:
  int64_t depth() const { return inputGrad_ ? o_ : c_; }

  const Kernels& kernels_;
  int64_t o_, c_;
  bool inputGrad_;
};

// The convolution, and its input gradient.
class ForwardKernel final : public dw_kernel {
 public:
  ForwardKernel(const dw_device& device, const Convolution& conv, bool inputGrad,
                const WinogradEpilogue& epilogue)
      : kernels_(*device.kernels),
        shape_(conv, inputGrad, kMostParts),
        filters_(device, conv.o, conv.c, inputGrad),
        epilogue_(epilogue) {
    WorkspaceLayout layout;
    const auto place = [&](int64_t floats) {
      return layout.place(static_cast<size_t>(floats) * sizeof(float));
    };
    if (!epilogue.packed) {
      transformed_ = place(filters_.transformedFloats());
      panels_ = place(kValues * filters_.panelFloats());
    }
    const int64_t values = kValues * shape_.mostTiles();
    scratch_ = Scratch(device, layout, {shape_.c, values * shape_.c, values * shape_.o, shape_.o, shape_.o});
    if (epilogue.sums) sums_ = layout.place(partsWorkspace(shape_.parts, shape_.o));
    workspace = layout.size();
  }

  void run(const Launch& launch) override {
    char* base = static_cast<char*>(launch.workspace);
    const float* panels = launch.in(1);
    if (!epilogue_.packed) {
      float* packed = reinterpret_cast<float*>(base + panels_);
      filters_.pack(launch.in(1), reinterpret_cast<float*>(base + transformed_), packed);
      panels = packed;
    }
    double* sums = reinterpret_cast<double*>(base + sums_);
    tasksFor(shape_.parts, shape_.multiplications(),
             [&](int64_t part) { runPart(launch, part, panels, epilogue_.sums ? sums : nullptr); });
    if (epilogue_.sums) addParts(shape_.parts, shape_.o, sums, launch.out(1), launch.out(2));
  }

  const char* implementation() const override { return "loops: winograd"; }

 private:
  void runPart(const Launch& launch, int64_t part, const float* panels, double* partials) const {
    const Shape& p = shape_;
    const auto scratch = [&](size_t which) { return scratch_.get(launch.workspace, which); };
    float *zeros = scratch(0), *input = scratch(1), *products = scratch(2);
    float *sums = partials ? scratch(3) : nullptr, *squares = partials ? scratch(4) : nullptr;
    std::fill_n(zeros, p.c, 0.0f);
    if (partials) std::fill_n(partials + 2 * part * p.o, 2 * p.o, 0.0);
    p.overChunks(part, [&](int64_t image, int64_t begin, int64_t end) {
      kernels_.winogradInput(p.inputTiles(begin, end), launch.in(0) + image * p.h * p.w * p.c, zeros, input);
      multiply(end - begin, input, panels, products);
      if (sums) std::fill_n(sums, p.o, 0.0f), std::fill_n(squares, p.o, 0.0f);
      kernels_.winogradOutput(p.outputTiles(begin, end), products, epilogue_.bias ? launch.in(2) : nullptr,
                              epilogue_.relu, launch.out(0) + image * p.oh * p.ow * p.o, sums, squares);
      if (!sums) return;
      double *total = partials + 2 * part * p.o, *totalSquares = total + p.o;
      for (int64_t j = 0; j < p.o; j++) total[j] += sums[j];
      for (int64_t j = 0; j < p.o; j++) totalSquares[j] += squares[j];
    });
  }

  void multiply(int64_t tiles, const float* input, const float* panels, float* products) const {
    RowsProduct product = {};
    product.rows = tiles;
    product.k = product.stride = shape_.c;
    product.n = shape_.o;
    product.lastPanel = panelsOf(kernels_, shape_.o);
    for (int64_t i = 0; i < kValues; i++) {
      product.x = input + i * tiles * shape_.c;
      product.panels = panels + i * filters_.panelFloats();
      product.y = products + i * tiles * shape_.o;
      kernels_.rowsProduct(product);
    }
  }

  const Kernels& kernels_;
  Shape shape_;
  Filters filters_;
  WinogradEpilogue epilogue_;
  Scratch scratch_;
  size_t transformed_ = 0, panels_ = 0, sums_ = 0;
};

// dw: inputs x, g. Each part sums over its tiles; the parts are added up in order and transformed back.
class WeightGradKernel final : public dw_kernel {
 public:
  WeightGradKernel(const dw_device& device, const Convolution& conv)
      : kernels_(*device.kernels),
        shape_(conv, false, kMostGradientParts),
        heights_(heightsOf(kernels_, conv.o)) {
    WorkspaceLayout layout;
    const int64_t most = shape_.mostTiles(), values = kValues * most;
    scratch_ =
        Scratch(device, layout,
                {std::max(shape_.c, shape_.o), values * shape_.c, values * shape_.o,
                 heights_ * kPackedRows * most, panelsOf(kernels_, shape_.c) * kernels_.tileColumns * most});
    sums_ = layout.place(static_cast<size_t>(shape_.parts * partFloats()) * sizeof(float));
    workspace = layout.size();
  }

  void run(const Launch& launch) override {
    float* sums = reinterpret_cast<float*>(static_cast<char*>(launch.workspace) + sums_);
    tasksFor(shape_.parts, shape_.multiplications(),
             [&](int64_t part) { runPart(launch, part, sums + part * partFloats()); });
    parallelFor(shape_.o, shape_.parts * kValues * shape_.c,
                [&](int64_t begin, int64_t end) { finish(sums, begin, end, launch.out(0)); });
  }

  const char* implementation() const override { return "loops: winograd"; }

 private:
  static constexpr int64_t kPackedRows = 16;  // of a height of tiles of a product

  int64_t partFloats() const { return kValues * shape_.o * shape_.c; }

  void runPart(const Launch& launch, int64_t part, float* sums) const {
    const Shape& p = shape_;
    const auto scratch = [&](size_t which) { return scratch_.get(launch.workspace, which); };
    float *zeros = scratch(0), *input = scratch(1), *gradient = scratch(2);
    std::fill_n(zeros, std::max(p.c, p.o), 0.0f);
    bool adds = false;
    p.overChunks(part, [&](int64_t image, int64_t begin, int64_t end) {
      const int64_t tiles = end - begin;
      kernels_.winogradInput(p.inputTiles(begin, end), launch.in(0) + image * p.h * p.w * p.c, zeros, input);
      kernels_.winogradGradient(p.outputTiles(begin, end), launch.in(1) + image * p.oh * p.ow * p.o, zeros,
                                gradient);
      for (int64_t i = 0; i < kValues; i++) {
        const ColumnsProduct product = {gradient + i * tiles * p.o,
                                        input + i * tiles * p.c,
                                        sums + i * p.o * p.c,
                                        p.o,
                                        p.c,
                                        scratch(3),
                                        scratch(4),
                                        adds};
        kernels_.packColumns(product, 0, tiles);
        kernels_.columnsProduct(product, 0, tiles, 0, 0, heights_);
      }
      adds = true;
    });
  }

  // G^T v G of filters [begin, end), where v is the sum of the parts.
  void finish(float* sums, int64_t begin, int64_t end, float* dw) const {
    const int64_t c = shape_.c, stride = shape_.o * c;
    for (int64_t i = 0; i < kValues; i++) {
      float* total = sums + i * stride;
      for (int64_t part = 1; part < shape_.parts; part++) {
        const float* from = total + part * partFloats();
#pragma omp simd
        for (int64_t j = begin * c; j < end * c; j++) total[j] += from[j];
      }
    }
    for (int64_t filter = begin; filter < end; filter++) {
#pragma omp simd
      for (int64_t j = 0; j < c; j++) {
        float rows[3][4];
        for (int q = 0; q < 4; q++) {
          const auto value = [&](int i) { return sums[(4 * i + q) * stride + filter * c + j]; };
          rows[0][q] = value(0) + 0.5f * (value(1) + value(2));
          rows[1][q] = 0.5f * (value(1) - value(2));
          rows[2][q] = 0.5f * (value(1) + value(2)) + value(3);
        }
        for (int i = 0; i < 3; i++) {
          const float* r = rows[i];
          float* to = dw + (filter * 9 + 3 * i) * c + j;
          to[0] = r[0] + 0.5f * (r[1] + r[2]);
          to[c] = 0.5f * (r[1] - r[2]);
          to[2 * c] = 0.5f * (r[1] + r[2]) + r[3];
        }
      }
    }
  }

  const Kernels& kernels_;
  Shape shape_;
  int64_t heights_;
  Scratch scratch_;
  size_t sums_ = 0;
};

}  // namespace

bool hasWinograd(const Convolution& conv) {
  const Window& window = conv.window;
  return conv.kernelH == 3 && conv.kernelW == 3 && window.strideH == 1 && window.strideW == 1 &&
         conv.dilationH == 1 && conv.dilationW == 1 && conv.groups == 1 && conv.c >= kFewChannels &&
         conv.o >= kFewChannels && conv.c + conv.o <= kMostChannels &&
         std::max({window.top, window.bottom, window.left, window.right}) <= 2 &&
         conv.pixels() >= 4 * kFewTiles;
}

KernelPointer prepareWinograd(dw_device& device, const Convolution& conv, const WinogradEpilogue& epilogue) {
  return std::make_unique<ForwardKernel>(device, conv, false, epilogue);
}

KernelPointer prepareWinogradInputGrad(dw_device& device, const Convolution& conv) {
  return std::make_unique<ForwardKernel>(device, conv, true, WinogradEpilogue());
}

KernelPointer prepareWinogradWeightGrad(dw_device& device, const Convolution& conv) {
  return std::make_unique<WeightGradKernel>(device, conv);
}

// As many bytes for every instruction set, so that a node can be checked without one.
size_t packedWinogradBytes(const Convolution& conv) {
  const int64_t columns = ceilDivide(conv.o, kMostTileColumns) * kMostTileColumns;
  return static_cast<size_t>(kValues * columns * conv.c) * sizeof(float);
}

KernelPointer preparePackWinograd(dw_device& device, const Convolution& conv) {
  const Filters filters(device, conv.o, conv.c, false);
  const size_t bytes = static_cast<size_t>(filters.transformedFloats()) * sizeof(float);
  return makeKernel(
      [filters](const Launch& launch) {
        filters.pack(launch.in(0), static_cast<float*>(launch.workspace), launch.out(0));
      },
      bytes);
}

}  // namespace dw::cpu
