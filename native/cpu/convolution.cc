// Reading a convolution's shapes from a node.
#include "convolution.h"

namespace dw::cpu {

Convolution readConvolution(const Node& node, const dw_aval& x, const dw_aval& w, const dw_aval& y) {
  for (const dw_aval* aval : {&x, &w, &y}) {
    node.expectType(*aval, DW_F32);
    node.expectRank(*aval, 4);
  }
  Convolution conv = {};
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

}  // namespace dw::cpu
