// Pooling: our own loops, because a one-byte argmax and gradients in a fixed order are not what oneDNN has.
#include "pooling.h"

namespace dw::cpu {
namespace {

// Shapes of a pooling from its image (x or dx) and its pooled tensor (y or g).
PoolShape readShape(const Node& node, const dw_aval& image, const dw_aval& pooled, bool countPadding) {
  node.expectRank(image, 4);
  node.expectRank(pooled, 4);
  PoolShape p = {};
  p.n = image.dims[0], p.h = image.dims[1], p.w = image.dims[2], p.c = image.dims[3];
  p.oh = pooled.dims[1], p.ow = pooled.dims[2];
  node.expectShape(pooled, {p.n, p.oh, p.ow, p.c});
  p.kernelH = node.integer(0, 1), p.kernelW = node.integer(1, 1);
  const Window window = readWindow(node, 2);
  p.strideH = window.strideH, p.strideW = window.strideW, p.top = window.top, p.left = window.left;
  p.countPadding = countPadding;
  checkExtent(node, p.h, window.top, window.bottom, p.kernelH, p.strideH, p.oh);
  checkExtent(node, p.w, window.left, window.right, p.kernelW, p.strideW, p.ow);
  // A window that lies in the padding altogether has neither a largest element nor an average.
  if (window.top >= p.kernelH || window.left >= p.kernelW || (p.oh - 1) * p.strideH - p.top >= p.h ||
      (p.ow - 1) * p.strideW - p.left >= p.w)
    node.invalid("a window lies in the padding altogether");
  return p;
}

void checkWindowSize(const Node& node, const PoolShape& p) {
  if (p.kernelH > 256 || p.kernelW > 256 || p.kernelH * p.kernelW > 256)
    node.unsupported("the argmax of a window is one byte: at most 256 elements, got %lld by %lld",
                     static_cast<long long>(p.kernelH), static_cast<long long>(p.kernelW));
}

PoolShape maxPoolShape(const Node& node) {
  node.expect(1, 2, 2 + kWindowAttributes);
  return readMaxPool(node);
}

PoolShape maxPoolGradShape(const Node& node) {
  node.expect(2, 1, 4 + kWindowAttributes);
  return readMaxPoolGrad(node);
}

PoolShape avgPoolShape(const Node& node) {
  node.expect(1, 1, 3 + kWindowAttributes);
  node.expectFloats();
  return readShape(node, node.input(0), node.output(0), node.attribute(2 + kWindowAttributes) != 0);
}

PoolShape avgPoolGradShape(const Node& node) {
  node.expect(1, 1, 5 + kWindowAttributes);
  node.expectFloats();
  return readShape(node, node.output(0), node.input(0), node.attribute(2 + kWindowAttributes) != 0);
}

KernelPointer prepareMaxPool(dw_device& device, const Node& node) {
  return makeKernel([p = maxPoolShape(node), kernel = device.kernels->maxPool](const Launch& run) {
    parallelFor(p.n * p.oh, p.ow * p.c * p.kernelH * p.kernelW, [&](int64_t begin, int64_t end) {
      kernel(p, run.in(0), run.out(0), static_cast<uint8_t*>(run.outputs[1]), begin, end);
    });
  });
}

KernelPointer prepareMaxPoolGrad(dw_device& device, const Node& node) {
  return makeKernel([p = maxPoolGradShape(node), kernel = device.kernels->maxPoolGrad](const Launch& run) {
    parallelFor(p.n * p.h, 4 * p.w * p.c, [&](int64_t begin, int64_t end) {
      kernel(p, run.in(0), static_cast<const uint8_t*>(run.inputs[1]), run.out(0), begin, end);
    });
  });
}

KernelPointer prepareAvgPool(dw_device& device, const Node& node) {
  return makeKernel([p = avgPoolShape(node), kernel = device.kernels->avgPool](const Launch& run) {
    parallelFor(p.n * p.oh, p.ow * p.c * p.kernelH * p.kernelW,
                [&](int64_t begin, int64_t end) { kernel(p, run.in(0), run.out(0), begin, end); });
  });
}

KernelPointer prepareAvgPoolGrad(dw_device& device, const Node& node) {
  return makeKernel([p = avgPoolGradShape(node), kernel = device.kernels->avgPoolGrad](const Launch& run) {
    parallelFor(p.n * p.h, 4 * p.w * p.c,
                [&](int64_t begin, int64_t end) { kernel(p, run.in(0), run.out(0), begin, end); });
  });
}

// image [n,h,w,c], pooled [n,c]
void checkGlobal(const Node& node, const dw_aval& image, const dw_aval& pooled) {
  node.expectFloats();
  node.expectRank(image, 4);
  node.expectShape(pooled, {image.dims[0], image.dims[3]});
  if (image.dims[1] * image.dims[2] == 0) node.invalid("the average of no elements");
}

void checkGlobalAvgPool(const Node& node) {
  node.expect(1, 1, 0);
  checkGlobal(node, node.input(0), node.output(0));
}

void checkGlobalAvgPoolGrad(const Node& node) {
  node.expect(1, 1, 2);
  checkGlobal(node, node.output(0), node.input(0));
}

KernelPointer prepareGlobalAvgPool(dw_device& device, const Node& node) {
  const dw_aval& image = node.input(0);
  const int64_t n = image.dims[0], area = image.dims[1] * image.dims[2], c = image.dims[3];
  return makeKernel(
      [=, kernel = device.kernels->channelSums](const Launch& run) {
        double* sums = static_cast<double*>(run.workspace);
        parallelFor(n, area * c, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; i++) {
            kernel(run.in(0) + i * area * c, area, c, c, sums + i * c, nullptr);
            for (int64_t j = 0; j < c; j++)
              run.out(0)[i * c + j] = static_cast<float>(sums[i * c + j] / static_cast<double>(area));
          }
        });
      },
      static_cast<size_t>(n * c) * sizeof(double));
}

KernelPointer prepareGlobalAvgPoolGrad(dw_device& device, const Node& node) {
  const dw_aval& image = node.output(0);
  const int64_t n = image.dims[0], area = image.dims[1] * image.dims[2], c = image.dims[3];
  return makeKernel([=, kernel = device.kernels->scale](const Launch& run) {
    const float factor = static_cast<float>(1.0 / static_cast<double>(area));
    parallelFor(n * area, c, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) kernel(run.in(0) + i / area * c, run.out(0) + i * c, c, factor);
    });
  });
}

}  // namespace

PoolShape readMaxPool(const Node& node) {
  node.expectType(node.input(0), DW_F32);
  node.expectType(node.output(0), DW_F32);
  node.expectType(node.output(1), DW_U8);
  node.expectSameShape(node.output(0), node.output(1));
  const PoolShape p = readShape(node, node.input(0), node.output(0), false);
  checkWindowSize(node, p);
  return p;
}

PoolShape readMaxPoolGrad(const Node& node) {
  node.expectType(node.input(0), DW_F32);
  node.expectType(node.input(1), DW_U8);
  node.expectType(node.output(0), DW_F32);
  node.expectSameShape(node.input(0), node.input(1));
  const PoolShape p = readShape(node, node.output(0), node.input(0), false);
  checkWindowSize(node, p);
  return p;
}

extern const Op op_maxPool, op_maxPoolGrad, op_avgPool, op_avgPoolGrad, op_globalAvgPool,
    op_globalAvgPoolGrad;

const Op op_maxPool = {[](const Node& node) { maxPoolShape(node); }, prepareMaxPool};
const Op op_maxPoolGrad = {[](const Node& node) { maxPoolGradShape(node); }, prepareMaxPoolGrad};
const Op op_avgPool = {[](const Node& node) { avgPoolShape(node); }, prepareAvgPool};
const Op op_avgPoolGrad = {[](const Node& node) { avgPoolGradShape(node); }, prepareAvgPoolGrad};
const Op op_globalAvgPool = {checkGlobalAvgPool, prepareGlobalAvgPool};
const Op op_globalAvgPoolGrad = {checkGlobalAvgPoolGrad, prepareGlobalAvgPoolGrad};

}  // namespace dw::cpu
