// Ops that move, repeat or convert elements: broadcast, fill, cast, concat, slice, pad, reshape. All but cast
// take elements as bytes, of any type.
#include <cstring>
#include <vector>

#include "box.h"
#include "dispatch.h"
#include "kernels/shape.cuh"
#include "launch.h"
#include "op.h"

namespace dw::cuda {
namespace {

// A box to be copied, between two places; offsets in elements.
struct Copy {
  Box box;
  int64_t toOffset = 0, fromOffset = 0;
};

// The unit of a copy: as many bytes, up to 16, as divide everything of it where rows are dense in both
// tensors.
int64_t unitOf(const Copy& copy, int64_t bytes) {
  const Box& box = copy.box;
  const int32_t last = box.rank - 1;
  if (last < 0 || box.toStrides[last] != 1 || box.fromStrides[last] != 1) return bytes;
  int64_t unit = 16;
  const auto divide = [&](int64_t count) {
    while (count * bytes % unit != 0) unit /= 2;
  };
  divide(box.extents[last]);
  divide(copy.toOffset);
  divide(copy.fromOffset);
  for (int32_t i = 0; i < last; i++) {
    divide(box.toStrides[i]);
    divide(box.fromStrides[i]);
  }
  return std::max(unit, bytes);
}

// The box in units of `unit` bytes.
Copy widened(const Copy& copy, int64_t bytes, int64_t unit) {
  if (unit == bytes) return copy;
  const int64_t factor = unit / bytes;
  Copy wide = copy;
  const int32_t last = wide.box.rank - 1;
  wide.box.extents[last] /= factor;
  for (int32_t i = 0; i < last; i++) {
    wide.box.toStrides[i] /= factor;
    wide.box.fromStrides[i] /= factor;
  }
  wide.toOffset /= factor;
  wide.fromOffset /= factor;
  return wide;
}

template <class F>
auto withUnit(int64_t bytes, const F& f) {
  switch (bytes) {
    case 1:
      return f(Type<uint8_t>{});
    case 2:
      return f(Type<uint16_t>{});
    case 4:
      return f(Type<uint32_t>{});
    case 8:
      return f(Type<uint2>{});
    default:
      return f(Type<uint4>{});
  }
}

// Queues a copy of elements of `bytes` bytes.
void launchCopy(const Launch& run, const Copy& copy, int64_t bytes, void* to, const void* from) {
  const int64_t unit = unitOf(copy, bytes);
  const Copy wide = widened(copy, bytes, unit);
  const int64_t count = wide.box.count();
  if (count == 0) return;
  withUnit(unit, [&](auto type) {
    using U = typename decltype(type)::type;
    launch(copyBox<U>, blocksFor(count, run.device.multiprocessors), kThreads, 0, run.stream(), wide.box,
           static_cast<U*>(to) + wide.toOffset, static_cast<const U*>(from) + wide.fromOffset, count);
  });
}

// A box of `extents` within the dense tensors `to` and `from`.
Box boxOf(const dw_aval& extents, const dw_aval& to, const dw_aval& from) {
  int64_t toStrides[DW_MAX_RANK], fromStrides[DW_MAX_RANK];
  denseStrides(to, toStrides);
  denseStrides(from, fromStrides);
  Box box;
  for (int32_t i = 0; i < extents.rank; i++) box.push(extents.dims[i], toStrides[i], fromStrides[i]);
  return box;
}

void expectShapeAttributes(const Node& node, uint32_t first) {
  const dw_aval& y = node.output(0);
  if (node.attributes() != first + static_cast<uint32_t>(y.rank)) node.invalid("the shape has another rank");
  for (int32_t i = 0; i < y.rank; i++)
    if (node.integer(first + static_cast<uint32_t>(i), 0) != y.dims[i])
      node.invalid("the output has another shape");
}

void expectSameType(const Node& node) {
  for (uint32_t i = 0; i < node.inputs(); i++) node.expectType(node.input(i), node.output(0).dtype);
}

void checkBroadcast(const dw_device&, const Node& node) {
  const dw_aval &x = node.input(0), &y = node.output(0);
  node.expect(1, 1, static_cast<uint32_t>(y.rank));
  expectSameType(node);
  expectShapeAttributes(node, 0);
  const int32_t lead = y.rank - x.rank;
  if (lead < 0) node.invalid("the output has fewer axes than the input");
  for (int32_t i = 0; i < x.rank; i++)
    if (x.dims[i] != 1 && x.dims[i] != y.dims[lead + i]) node.invalid("axis %d cannot be repeated", i);
}

KernelPointer prepareBroadcast(dw_device&, const Node& node) {
  const dw_aval &x = node.input(0), &y = node.output(0);
  if (elements(y) == 0) return makeNothing();
  int64_t toStrides[DW_MAX_RANK], fromStrides[DW_MAX_RANK];
  denseStrides(y, toStrides);
  denseStrides(x, fromStrides);
  const int32_t lead = y.rank - x.rank;
  Copy copy;
  for (int32_t i = 0; i < y.rank; i++) {
    const bool repeated = i < lead || x.dims[i - lead] == 1;
    copy.box.push(y.dims[i], toStrides[i], repeated ? 0 : fromStrides[i - lead]);
  }
  return makeKernel([copy, bytes = static_cast<int64_t>(byteSize(x.dtype))](const Launch& run) {
    launchCopy(run, copy, bytes, run.outputs[0], run.inputs[0]);
  });
}

void checkFill(const dw_device&, const Node& node) {
  node.expect(0, 1, 2 + static_cast<uint32_t>(node.output(0).rank));
  if (node.integer(0, 0) != node.output(0).dtype) node.invalid("the output is not of the type asked for");
  if (node.output(0).dtype == DW_F64) node.unsupported("it has no f64");
  expectShapeAttributes(node, 2);
}

KernelPointer prepareFill(dw_device&, const Node& node) {
  const double value = node.attribute(1);
  const int64_t count = elements(node.output(0));
  if (count == 0) return makeNothing();
  const auto filled = [&](auto element) {
    using U = decltype(element);
    return makeKernel([=](const Launch& run) {
      launch(fill<U>, blocksFor(count, run.device.multiprocessors), kThreads, 0, run.stream(), run.out<U>(0),
             element, count);
    });
  };
  switch (node.output(0).dtype) {
    case DW_F16:
      return filled(__float2half_rn(static_cast<float>(value)));
    case DW_BF16:
      return filled(__float2bfloat16_rn(static_cast<float>(value)));
    case DW_I32: {
      const double inside = value >= 2147483647.0    ? 2147483647.0
                            : value <= -2147483648.0 ? -2147483648.0
                                                     : value;
      return filled(inside == inside ? static_cast<int32_t>(inside) : 0);
    }
    case DW_U8: {
      const double inside = value > 0 ? value < 255 ? value : 255 : 0;
      return filled(static_cast<uint8_t>(inside));
    }
    default:
      return filled(static_cast<float>(value));
  }
}

void checkCast(const dw_device&, const Node& node) {
  node.expect(1, 1, 1);
  node.expectSameShape(node.input(0), node.output(0));
  if (node.integer(0, 0) != node.output(0).dtype) node.invalid("the output is not of the type asked for");
  if (node.input(0).dtype == DW_F64 || node.output(0).dtype == DW_F64) node.unsupported("it has no f64");
}

template <class F>
auto withAnyType(int32_t dtype, const F& f) {
  if (dtype == DW_I32) return f(Type<int32_t>{});
  if (dtype == DW_U8) return f(Type<uint8_t>{});
  return withType(dtype, f);
}

KernelPointer prepareCast(dw_device&, const Node& node) {
  const int64_t count = elements(node.output(0));
  if (count == 0) return makeNothing();
  return withAnyType(node.input(0).dtype, [&](auto from) {
    return withAnyType(node.output(0).dtype, [&](auto to) {
      using From = typename decltype(from)::type;
      using To = typename decltype(to)::type;
      return makeKernel([=](const Launch& run) {
        launch(cast<From, To>, blocksFor(ceilDivide(count, 4), run.device.multiprocessors), kThreads, 0,
               run.stream(), run.in<From>(0), run.out<To>(0), count);
      });
    });
  });
}

void checkConcat(const dw_device&, const Node& node) {
  if (node.inputs() == 0 || node.outputs() != 1 || node.attributes() != 1)
    node.invalid("expected inputs and an axis");
  const dw_aval& y = node.output(0);
  const int64_t axis = node.integer(0, 0);
  if (axis >= y.rank) node.invalid("there is no axis %lld", static_cast<long long>(axis));
  expectSameType(node);
  int64_t extent = 0;
  for (uint32_t i = 0; i < node.inputs(); i++) {
    dw_aval x = node.input(i);
    if (x.rank != y.rank) node.expectSameShape(x, y);
    extent += x.dims[axis];
    x.dims[axis] = y.dims[axis];
    node.expectSameShape(x, y);
  }
  if (extent != y.dims[axis]) node.invalid("the inputs do not add up to the output");
}

KernelPointer prepareConcat(dw_device&, const Node& node) {
  const dw_aval& y = node.output(0);
  const int64_t axis = node.integer(0, 0), bytes = static_cast<int64_t>(byteSize(y.dtype));
  int64_t strides[DW_MAX_RANK];
  denseStrides(y, strides);
  std::vector<Copy> copies;
  int64_t start = 0;
  for (uint32_t i = 0; i < node.inputs(); i++) {
    const dw_aval& x = node.input(i);
    Copy copy;
    if (elements(x) > 0) copy = {boxOf(x, y, x), start * strides[axis], 0};
    copies.push_back(copy);
    if (elements(x) == 0) copies.back().box.push(0, 1, 1);
    start += x.dims[axis];
  }
  return makeKernel([copies = std::move(copies), bytes](const Launch& run) {
    for (size_t i = 0; i < copies.size(); i++)
      launchCopy(run, copies[i], bytes, run.outputs[0], run.inputs[i]);
  });
}

void checkSlice(const dw_device&, const Node& node) {
  const dw_aval &x = node.input(0), &y = node.output(0);
  const uint32_t rank = static_cast<uint32_t>(x.rank);
  node.expect(1, 1, 2 * rank);
  expectSameType(node);
  node.expectRank(y, x.rank);
  for (uint32_t i = 0; i < rank; i++) {
    const int64_t start = node.integer(i, 0), extent = node.integer(rank + i, 0);
    if (extent != y.dims[i] || start + extent > x.dims[i])
      node.invalid("axis %u: the slice is out of bounds", i);
  }
}

// Of the first attributes, one per axis: where a box begins in `aval`.
int64_t startOf(const Node& node, const dw_aval& aval) {
  int64_t strides[DW_MAX_RANK], offset = 0;
  denseStrides(aval, strides);
  for (int32_t i = 0; i < aval.rank; i++) offset += node.integer(static_cast<uint32_t>(i), 0) * strides[i];
  return offset;
}

KernelPointer prepareSlice(dw_device&, const Node& node) {
  const dw_aval &x = node.input(0), &y = node.output(0);
  if (elements(y) == 0) return makeNothing();
  const Copy copy = {boxOf(y, y, x), 0, startOf(node, x)};
  return makeKernel([copy, bytes = static_cast<int64_t>(byteSize(x.dtype))](const Launch& run) {
    launchCopy(run, copy, bytes, run.outputs[0], run.inputs[0]);
  });
}

void checkPad(const dw_device&, const Node& node) {
  const dw_aval &x = node.input(0), &y = node.output(0);
  const uint32_t rank = static_cast<uint32_t>(x.rank);
  node.expect(1, 1, 2 * rank);
  expectSameType(node);
  node.expectRank(y, x.rank);
  for (uint32_t i = 0; i < rank; i++)
    if (node.integer(i, 0) + x.dims[i] + node.integer(rank + i, 0) != y.dims[i])
      node.invalid("axis %u: the output has another extent", i);
}

KernelPointer preparePad(dw_device&, const Node& node) {
  const dw_aval &x = node.input(0), &y = node.output(0);
  const int64_t bytes = static_cast<int64_t>(byteSize(x.dtype)), count = elements(y);
  if (count == 0) return makeNothing();
  const bool empty = elements(x) == 0;
  const Copy copy = {boxOf(x, y, x), empty ? 0 : startOf(node, y), 0};
  return makeKernel([=](const Launch& run) {
    check(cudaMemsetAsync(run.outputs[0], 0, static_cast<size_t>(count * bytes), run.stream()),
          "cudaMemsetAsync");
    if (!empty) launchCopy(run, copy, bytes, run.outputs[0], run.inputs[0]);
  });
}

void checkReshape(const dw_device&, const Node& node) {
  node.expect(1, 1, static_cast<uint32_t>(node.output(0).rank));
  expectSameType(node);
  expectShapeAttributes(node, 0);
  if (elements(node.input(0)) != elements(node.output(0)))
    node.invalid("the shapes hold different numbers of elements");
}

KernelPointer prepareReshape(dw_device&, const Node& node) {
  const size_t bytes = static_cast<size_t>(elements(node.output(0))) * byteSize(node.output(0).dtype);
  if (bytes == 0) return makeNothing();
  return makeKernel([bytes](const Launch& run) {
    if (run.outputs[0] == run.inputs[0]) return;
    check(cudaMemcpyAsync(run.outputs[0], run.inputs[0], bytes, cudaMemcpyDeviceToDevice, run.stream()),
          "cudaMemcpyAsync");
  });
}

}  // namespace

extern const Op op_broadcast, op_fill, op_cast, op_concat, op_slice, op_pad, op_reshape;

const Op op_broadcast = {checkBroadcast, prepareBroadcast};
const Op op_fill = {checkFill, prepareFill};
const Op op_cast = {checkCast, prepareCast};
const Op op_concat = {checkConcat, prepareConcat};
const Op op_slice = {checkSlice, prepareSlice};
const Op op_pad = {checkPad, preparePad};
const Op op_reshape = {checkReshape, prepareReshape};

}  // namespace dw::cuda
