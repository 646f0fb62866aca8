// Pooling: our own kernels, because cuDNN's has no one-byte argmax, and its gradient of the largest adds up
// in any order.
#include "launch.h"
#include "op.h"
#include "pooling.h"

namespace dw::cuda {
namespace {

PoolShape maxPoolShape(const Node& node) {
  node.expect(1, 2, 2 + kWindowAttributes);
  return expectPlaces(node, readMaxPool(node, node.input(0), node.output(0), node.output(1)));
}

PoolShape maxPoolGradShape(const Node& node) {
  node.expect(2, 1, 4 + kWindowAttributes);
  return expectPlaces(node, readMaxPool(node, node.output(0), node.input(0), node.input(1)));
}

PoolShape avgPoolShape(const Node& node, bool gradient) {
  node.expect(1, 1, (gradient ? 5 : 3) + kWindowAttributes);
  PoolShape p = gradient ? readPool(node, node.output(0), node.input(0))
                         : readPool(node, node.input(0), node.output(0));
  p.countPadding = node.attribute(2 + kWindowAttributes) != 0;
  return expectPlaces(node, p);
}

KernelPointer prepareMaxPool(dw_device&, const Node& node) {
  return perPlace(node.output(0),
                  [p = PoolImage(maxPoolShape(node))](const Launch& run, auto type, auto width,
                                                      const Places& places, dim3 grid) {
                    using T = typename decltype(type)::type;
                    constexpr int N = decltype(width)::value;
                    launch(maxPool<N, T, PlainPool<T>>, grid, kThreads, 0, run.stream(), p, places,
                           PlainPool<T>{}, run.in<T>(0), run.out<T>(0), run.out<uint8_t>(1));
                  });
}

KernelPointer prepareMaxPoolGrad(dw_device&, const Node& node) {
  return perPlace(node.output(0),
                  [p = PoolImage(maxPoolGradShape(node))](const Launch& run, auto type, auto width,
                                                          const Places& places, dim3 grid) {
                    using T = typename decltype(type)::type;
                    constexpr int N = decltype(width)::value;
                    launch(maxPoolGrad<N, T>, grid, kThreads, 0, run.stream(), p, places, run.in<T>(0),
                           run.in<uint8_t>(1), run.out<T>(0));
                  });
}

KernelPointer prepareAvgPool(dw_device&, const Node& node) {
  return perPlace(
      node.output(0), [p = PoolImage(avgPoolShape(node, false))](const Launch& run, auto type, auto width,
                                                                 const Places& places, dim3 grid) {
        using T = typename decltype(type)::type;
        constexpr int N = decltype(width)::value;
        launch(avgPool<N, T>, grid, kThreads, 0, run.stream(), p, places, run.in<T>(0), run.out<T>(0));
      });
}

KernelPointer prepareAvgPoolGrad(dw_device&, const Node& node) {
  return perPlace(
      node.output(0), [p = PoolImage(avgPoolShape(node, true))](const Launch& run, auto type, auto width,
                                                                const Places& places, dim3 grid) {
        using T = typename decltype(type)::type;
        constexpr int N = decltype(width)::value;
        launch(avgPoolGrad<N, T>, grid, kThreads, 0, run.stream(), p, places, run.in<T>(0), run.out<T>(0));
      });
}

// image [n,h,w,c], pooled [n,c]
void checkGlobal(const Node& node, const dw_aval& image, const dw_aval& pooled) {
  node.expectFloating(image);
  node.expectType(pooled, image.dtype);
  node.expectRank(image, 4);
  node.expectShape(pooled, {image.dims[0], image.dims[3]});
  if (image.dims[1] * image.dims[2] == 0) node.invalid("the average of no elements");
}

void checkGlobalAvgPool(const dw_device&, const Node& node) {
  node.expect(1, 1, 0);
  checkGlobal(node, node.input(0), node.output(0));
}

void checkGlobalAvgPoolGrad(const dw_device&, const Node& node) {
  node.expect(1, 1, 2);
  checkGlobal(node, node.output(0), node.input(0));
  expectPlaces(node, node.output(0));
}

KernelPointer prepareGlobalAvgPool(dw_device&, const Node& node) {
  const dw_aval &x = node.input(0), &y = node.output(0);
  const int64_t n = x.dims[0], area = x.dims[1] * x.dims[2], c = x.dims[3];
  if (n * c == 0) return makeNothing();
  return withType(x.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    return withWidth<T>(c, [&](auto width) {
      constexpr int N = decltype(width)::value;
      return makeKernel([=](const Launch& run) {
        launch(globalAvgPool<N, T>, blocksFor(elements(y) / N, run.device.multiprocessors), kThreads, 0,
               run.stream(), run.in<T>(0), run.out<T>(0), n, area, c);
      });
    });
  });
}

KernelPointer prepareGlobalAvgPoolGrad(dw_device&, const Node& node) {
  const dw_aval& dx = node.output(0);
  const int64_t area = dx.dims[1] * dx.dims[2], c = dx.dims[3];
  const float factor = 1.0f / static_cast<float>(area);
  return perPlace(dx, [=](const Launch& run, auto type, auto width, const Places& places, dim3 grid) {
    using T = typename decltype(type)::type;
    constexpr int N = decltype(width)::value;
    launch(globalAvgPoolGrad<N, T>, grid, kThreads, 0, run.stream(), places, run.in<T>(0), run.out<T>(0), c,
           factor);
  });
}

}  // namespace

extern const Op op_maxPool, op_maxPoolGrad, op_avgPool, op_avgPoolGrad, op_globalAvgPool,
    op_globalAvgPoolGrad;

const Op op_maxPool = {[](const dw_device&, const Node& node) { maxPoolShape(node); }, prepareMaxPool};
const Op op_maxPoolGrad = {[](const dw_device&, const Node& node) { maxPoolGradShape(node); },
                           prepareMaxPoolGrad};
const Op op_avgPool = {[](const dw_device&, const Node& node) { avgPoolShape(node, false); }, prepareAvgPool};
const Op op_avgPoolGrad = {[](const dw_device&, const Node& node) { avgPoolShape(node, true); },
                           prepareAvgPoolGrad};
const Op op_globalAvgPool = {checkGlobalAvgPool, prepareGlobalAvgPool};
const Op op_globalAvgPoolGrad = {checkGlobalAvgPoolGrad, prepareGlobalAvgPoolGrad};

}  // namespace dw::cuda
