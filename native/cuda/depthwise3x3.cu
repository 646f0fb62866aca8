// Depthwise convolutions with 3x3 windows and stride 1, and their gradients: launches of the kernels that
// walk down the rows.
#include "channels.h"
#include "depthwiseConvolution.h"
#include "kernels/depthwise3x3.cuh"
#include "slide.h"

namespace dw::cuda {
namespace {

constexpr int64_t kTaps = 9;

// Ranges of a forward pass are handed out as multiprocessors get free. Those of gradients, which each cost a set
// of partial sums, all run at once.
constexpr int kForwardWaves = 4, kGradWaves = 1;

template <int N, class T>
class Slides : public dw_kernel {
 protected:
  Slides(const dw_device& device, const ConvolutionShape& conv, const DepthwiseOperands& at, bool relu,
         int threads, int waves)
      : conv_(conv),
        at_(at),
        relu_(relu),
        grid_(slideGrid(conv, N, sizeof(T), device.multiprocessors, threads, waves)) {
    workspace = piece(static_cast<size_t>(conv.weights()) * sizeof(float));
  }

  OnLoad map(const Launch& run) const {
    return {at_.scale < 0 ? nullptr : run.in(at_.scale), at_.shift < 0 ? nullptr : run.in(at_.shift), relu_};
  }

  // w -> taps f32[9][c] at the start of the scratch memory.
  void transpose(const Launch& run, bool flip) const {
    launch(transposeTaps<T>, blocksFor(conv_.weights(), run.device.multiprocessors), kThreads, 0,
           run.stream(), run.in<T>(at_.w), run.scratch(), conv_.c, kTaps, flip);
  }

  ConvolutionShape conv_;
  DepthwiseOperands at_;
  bool relu_;
  SlideGrid grid_;
};

// y of x; or dx of g, which is the same with the window turned round.
template <int N, class T>
class SlideForward final : public Slides<N, T> {
 public:
  SlideForward(const dw_device& device, const ConvolutionShape& conv, const DepthwiseOperands& at, bool relu)
      : Slides<N, T>(device, conv, at, relu, kSlideThreads<T>, kForwardWaves) {}

  void run(const Launch& run) override {
    const bool gradient = this->at_.y < 0;
    this->transpose(run, gradient);
    launch(depthwise3x3<N, T>, this->grid_.grid, this->grid_.block, 0, run.stream(), slideShape(this->conv_),
           this->map(run), run.in<T>(gradient ? this->at_.g : this->at_.x), run.scratch(),
           run.out<T>(gradient ? this->at_.dx : this->at_.y));
  }
};

// dw; and dx with it.
template <int N, class T, SlideGrad kForm>
class SlideBackward final : public Slides<N, T> {
 public:
  SlideBackward(const dw_device& device, const ConvolutionShape& conv, const DepthwiseOperands& at, bool relu)
      : Slides<N, T>(device, conv, at, relu, kSlideGradThreads<T, kForm>, kGradWaves),
        partials_(this->workspace) {
    this->workspace += piece(static_cast<size_t>(this->grid_.parts() * kQuantities * conv.c) * sizeof(float));
  }

  void run(const Launch& run) override {
    const DepthwiseOperands& at = this->at_;
    const dim3 block = this->grid_.block;
    const int64_t parts = this->grid_.parts(), c = this->conv_.c;
    const bool input = kForm != SlideGrad::weights;
    if (input) this->transpose(run, false);
    float* partials = run.scratch(partials_);
    const SlideGradOperands<T> operands = {this->map(run), run.scratch(),
                                           at.residual < 0 ? nullptr : run.in<T>(at.residual),
                                           input ? run.out<T>(at.dx) : nullptr, partials};
    // The taps, or the values of all threads.
    const size_t values = static_cast<size_t>(std::max<unsigned>(block.y, input ? kTaps : 1)) * block.x * N;
    launch(depthwise3x3Grad<N, T, kForm>, this->grid_.grid, block, values * sizeof(float), run.stream(),
           slideShape(this->conv_), run.in<T>(at.g), run.in<T>(at.x), operands);
    const dim3 finish = finishBlock(static_cast<unsigned>(parts));
    const bool sums = kForm == SlideGrad::sums;
    launch(finishDepthwise3x3<T>, dim3(finishBlocks(c).x, kQuantities), finish,
           finish.x * finish.y * sizeof(Sum), run.stream(), partials, parts, c, run.out<T>(at.dw),
           sums ? run.out(at.sumG) : nullptr, sums ? run.out(at.sumGX) : nullptr);
  }

 private:
  static constexpr int64_t kQuantities = kSlideQuantities<kForm>;
  size_t partials_;
};

template <int N, class T>
KernelPointer makeSlide(const dw_device& device, const ConvolutionShape& conv, const DepthwiseOperands& at,
                        bool relu) {
  const bool masked = at.x >= 0 || at.residual >= 0 || at.sumG >= 0;
  if (at.y >= 0 || (at.dw < 0 && !masked))
    return std::make_unique<SlideForward<N, T>>(device, conv, at, relu);
  if (at.dw < 0) return nullptr;
  if (at.dx < 0) return std::make_unique<SlideBackward<N, T, SlideGrad::weights>>(device, conv, at, relu);
  if (at.sumG >= 0) return std::make_unique<SlideBackward<N, T, SlideGrad::sums>>(device, conv, at, relu);
  if (at.residual >= 0)
    return std::make_unique<SlideBackward<N, T, SlideGrad::residual>>(device, conv, at, relu);
  return nullptr;
}

}  // namespace

KernelPointer prepareDepthwise3x3(dw_device& device, const ConvolutionShape& conv, int32_t dtype,
                                  const DepthwiseOperands& operands, bool relu) {
  if (!slides(conv)) return nullptr;
  return withType(dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    return conv.c % 4 == 0 ? makeSlide<4, T>(device, conv, operands, relu)
                           : makeSlide<1, T>(device, conv, operands, relu);
  });
}

}  // namespace dw::cuda
