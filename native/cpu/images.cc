// normalizeImages: bytes or floats of images to f32, an affine map per channel.
#include "op.h"

namespace dw::cpu {
namespace {

void check(const Node& node) {
  node.expect(3, 1, 1);
  const dw_aval& x = node.input(0);
  if (x.dtype != DW_U8) node.expectType(x, DW_F32);
  for (uint32_t i = 1; i < 3; i++) {
    node.expectType(node.input(i), DW_F32);
    node.expectShape(node.input(i), {channels(x)});
  }
  if (node.integer(0, 0) != node.output(0).dtype) node.invalid("the output is not of the type asked for");
  node.expectType(node.output(0), DW_F32);
  node.expectSameShape(x, node.output(0));
}

KernelPointer prepare(dw_device& device, const Node& node) {
  const dw_aval& x = node.input(0);
  const int64_t c = channels(x), count = rows(x);
  if (x.dtype == DW_U8) {
    return makeKernel([=, kernel = device.kernels->affineBytes](const Launch& run) {
      parallelFor(count, c, [&](int64_t begin, int64_t end) {
        kernel(static_cast<const uint8_t*>(run.inputs[0]) + begin * c, run.in(1), run.in(2),
               run.out(0) + begin * c, end - begin, c);
      });
    });
  }
  return makeKernel([=, kernel = device.kernels->channelAffine](const Launch& run) {
    parallelFor(count, c, [&](int64_t begin, int64_t end) {
      kernel(run.in(0) + begin * c, run.in(1), run.in(2), run.out(0) + begin * c, end - begin, c);
    });
  });
}

}  // namespace

extern const Op op_normalizeImages;
const Op op_normalizeImages = {check, prepare};

}  // namespace dw::cpu
