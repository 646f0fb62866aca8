// Reading shapes of convolutions and poolings.
#include "shapes.h"

namespace dw {
namespace {

// The six attributes from `first` on.
Window readWindow(const Node& node, uint32_t first) {
  return {node.integer(first, 1),     node.integer(first + 1, 1), node.integer(first + 2, 0),
          node.integer(first + 3, 0), node.integer(first + 4, 0), node.integer(first + 5, 0)};
}

// Throws unless `output` windows of `span` elements are what `extent` padded elements give.
void checkExtent(const Node& node, int64_t extent, int64_t before, int64_t after, int64_t span,
                 int64_t stride, int64_t output) {
  const int64_t padded = extent + before + after;
  if (padded < span || (padded - span) / stride + 1 != output)
    node.invalid("%lld elements, padded by %lld and %lld, do not give %lld windows of %lld at stride %lld",
                 static_cast<long long>(extent), static_cast<long long>(before),
                 static_cast<long long>(after), static_cast<long long>(output), static_cast<long long>(span),
                 static_cast<long long>(stride));
}

}  // namespace

ConvolutionShape readConvolution(const Node& node, const dw_aval& x, const dw_aval& w, const dw_aval& y) {
  node.expectFloating(x);
  for (const dw_aval* aval : {&x, &w, &y}) {
    node.expectRank(*aval, 4);
    node.expectType(*aval, x.dtype);
  }
  ConvolutionShape conv = {};
  conv.n = x.dims[0], conv.h = x.dims[1], conv.w = x.dims[2], conv.c = x.dims[3];
  conv.o = w.dims[0], conv.kernelH = w.dims[1], conv.kernelW = w.dims[2];
  conv.oh = y.dims[1], conv.ow = y.dims[2];
  conv.window = readWindow(node, 0);
  conv.dilationH = node.integer(kWindowAttributes, 1);
  conv.dilationW = node.integer(kWindowAttributes + 1, 1);
  conv.groups = node.integer(kWindowAttributes + 2, 1);
  node.expectShape(y, {conv.n, conv.oh, conv.ow, conv.o});
  if (conv.o < 1 || conv.c < 1 || conv.h < 1 || conv.w < 1 || conv.kernelH < 1 || conv.kernelW < 1)
    node.invalid("an extent other than the batch is 0");
  if (conv.c % conv.groups != 0 || conv.o % conv.groups != 0 || w.dims[3] != conv.c / conv.groups)
    node.invalid("%lld groups do not divide %lld input and %lld output channels with weights of %lld",
                 static_cast<long long>(conv.groups), static_cast<long long>(conv.c),
                 static_cast<long long>(conv.o), static_cast<long long>(w.dims[3]));
  const Window& window = conv.window;
  checkExtent(node, conv.h, window.top, window.bottom, (conv.kernelH - 1) * conv.dilationH + 1,
              window.strideH, conv.oh);
  checkExtent(node, conv.w, window.left, window.right, (conv.kernelW - 1) * conv.dilationW + 1,
              window.strideW, conv.ow);
  return conv;
}

PoolShape readPool(const Node& node, const dw_aval& image, const dw_aval& pooled) {
  node.expectFloating(image);
  node.expectType(pooled, image.dtype);
  node.expectRank(image, 4);
  node.expectRank(pooled, 4);
  PoolShape p = {};
  p.n = image.dims[0], p.h = image.dims[1], p.w = image.dims[2], p.c = image.dims[3];
  p.oh = pooled.dims[1], p.ow = pooled.dims[2];
  node.expectShape(pooled, {p.n, p.oh, p.ow, p.c});
  p.kernelH = node.integer(0, 1), p.kernelW = node.integer(1, 1);
  const Window window = readWindow(node, 2);
  p.strideH = window.strideH, p.strideW = window.strideW, p.top = window.top, p.left = window.left;
  checkExtent(node, p.h, window.top, window.bottom, p.kernelH, p.strideH, p.oh);
  checkExtent(node, p.w, window.left, window.right, p.kernelW, p.strideW, p.ow);
  // A window that lies in the padding altogether has neither a largest element nor an average.
  if (window.top >= p.kernelH || window.left >= p.kernelW || (p.oh - 1) * p.strideH - p.top >= p.h ||
      (p.ow - 1) * p.strideW - p.left >= p.w)
    node.invalid("a window lies in the padding altogether");
  return p;
}

PoolShape readMaxPool(const Node& node, const dw_aval& image, const dw_aval& pooled, const dw_aval& argmax) {
  node.expectType(argmax, DW_U8);
  node.expectSameShape(argmax, pooled);
  const PoolShape p = readPool(node, image, pooled);
  if (p.kernelH > 256 || p.kernelW > 256 || p.kernelH * p.kernelW > 256)
    node.unsupported("the argmax of a window is one byte: at most 256 elements, got %lld by %lld",
                     static_cast<long long>(p.kernelH), static_cast<long long>(p.kernelW));
  return p;
}

}  // namespace dw
