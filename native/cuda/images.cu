// normalizeImages: bytes or floats of images to the type that is computed in, an affine map per channel.
#include "channels.h"

namespace dw::cuda {
namespace {

void checkImages(const dw_device&, const Node& node) {
  node.expect(3, 1, 1);
  const dw_aval& x = node.input(0);
  if (x.dtype != DW_U8) node.expectType(x, DW_F32);
  for (uint32_t i = 1; i < 3; i++) node.expectVector(node.input(i), channels(x));
  node.expectFloating(node.output(0));
  if (node.integer(0, 0) != node.output(0).dtype) node.invalid("the output is not of the type asked for");
  node.expectSameShape(x, node.output(0));
}

template <class S, class T>
KernelPointer mapTo(int64_t rows, int64_t c) {
  return makeKernel([=](const Launch& run) {
    const ChannelOperands<S, float, T, 1, 2> operands = {
        {run.in<S>(0)}, {run.in(1), run.in(2)}, run.out<T>(0)};
    launchChannelMap<1>(run, AffineMap{}, operands, rows, c);
  });
}

KernelPointer prepareImages(dw_device&, const Node& node) {
  const dw_aval& x = node.input(0);
  return withType(node.output(0).dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    return x.dtype == DW_U8 ? mapTo<uint8_t, T>(rows(x), channels(x)) : mapTo<float, T>(rows(x), channels(x));
  });
}

}  // namespace

extern const Op op_normalizeImages;
const Op op_normalizeImages = {checkImages, prepareImages};

}  // namespace dw::cuda
