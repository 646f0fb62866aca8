// Ops that move, repeat or convert elements: broadcast, fill, cast, concat, slice, pad, reshape. All but cast
// take elements as bytes, of any type.
#include <cstring>
#include <vector>

#include "op.h"
#include "strided.h"

namespace dw::cpu {
namespace {

// Writes one element `extent` times.
void repeat(char* to, const char* element, int64_t extent, int64_t bytes) {
  if (bytes == 4) {
    uint32_t value;
    std::memcpy(&value, element, sizeof value);
    std::fill_n(reinterpret_cast<uint32_t*>(to), extent, value);
    return;
  }
  for (int64_t i = 0; i < extent; i++) std::memcpy(to + i * bytes, element, static_cast<size_t>(bytes));
}

// Copies a box; the rows of `box` are dense in both tensors, or repeat one element of `from`.
void copyBox(const Box& box, char* to, const char* from, int64_t bytes) {
  const int64_t extent = box.rowExtent(), count = box.rowCount();
  const bool repeated = box.fromStrides[box.rank - 1] == 0;
  if (count == 1) {  // one long row: divided within
    parallelFor(extent, 1, [&](int64_t begin, int64_t end) {
      if (repeated)
        repeat(to + begin * bytes, from, end - begin, bytes);
      else
        std::memcpy(to + begin * bytes, from + begin * bytes, static_cast<size_t>((end - begin) * bytes));
    });
    return;
  }
  parallelFor(count, extent, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      int64_t toOffset, fromOffset;
      box.locate(row, &toOffset, &fromOffset);
      char* target = to + toOffset * bytes;
      const char* source = from + fromOffset * bytes;
      if (repeated)
        repeat(target, source, extent, bytes);
      else
        std::memcpy(target, source, static_cast<size_t>(extent * bytes));
    }
  });
}

void zero(char* to, int64_t bytes) {
  parallelFor(bytes, 1, [&](int64_t begin, int64_t end) {
    std::memset(to + begin, 0, static_cast<size_t>(end - begin));
  });
}

// A box of `extents` within the dense tensors `to` and `from`.
Box boxOf(const dw_aval& extents, const dw_aval& to, const dw_aval& from) {
  int64_t toStrides[DW_MAX_RANK], fromStrides[DW_MAX_RANK];
  denseStrides(to, toStrides);
  denseStrides(from, fromStrides);
  Box box;
  for (int32_t i = 0; i < extents.rank; i++) box.push(extents.dims[i], toStrides[i], fromStrides[i]);
  box.finish();
  // The rows of two dense tensors are dense, except where the innermost axes have one element: make those the
  // row.
  if (box.toStrides[box.rank - 1] != 1 || box.fromStrides[box.rank - 1] != 1) {
    box.extents[box.rank] = box.toStrides[box.rank] = box.fromStrides[box.rank] = 1;
    box.rank++;
  }
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
  for (uint32_t i = 0; i < node.inputs(); i++)
    if (node.input(i).dtype != node.output(0).dtype) node.invalid("the output is of another type");
}

void checkBroadcast(const Node& node) {
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
  const int64_t bytes = static_cast<int64_t>(byteSize(x.dtype));
  if (elements(y) == 0) return makeKernel([](const Launch&) {});
  int64_t toStrides[DW_MAX_RANK], fromStrides[DW_MAX_RANK];
  denseStrides(y, toStrides);
  denseStrides(x, fromStrides);
  const int32_t lead = y.rank - x.rank;
  Box box;
  for (int32_t i = 0; i < y.rank; i++) {
    const bool repeated = i < lead || x.dims[i - lead] == 1;
    box.push(y.dims[i], toStrides[i], repeated ? 0 : fromStrides[i - lead]);
  }
  box.finish();
  return makeKernel([=](const Launch& run) {
    copyBox(box, static_cast<char*>(run.outputs[0]), static_cast<const char*>(run.inputs[0]), bytes);
  });
}

void checkFill(const Node& node) {
  node.expect(0, 1, 2 + static_cast<uint32_t>(node.output(0).rank));
  if (node.integer(0, 0) != node.output(0).dtype) node.invalid("the output is not of the type asked for");
  expectShapeAttributes(node, 2);
}

KernelPointer prepareFill(dw_device& device, const Node& node) {
  const int32_t type = node.output(0).dtype;
  const double value = node.attribute(1);
  // The value as one element of the type, by way of the same conversion as `cast`.
  alignas(8) unsigned char element[8] = {};
  if (type == DW_F64) {
    std::memcpy(element, &value, sizeof value);
  } else if (type == DW_I32) {
    const double inside = value >= 2147483647.0    ? 2147483647.0
                          : value <= -2147483648.0 ? -2147483648.0
                                                   : value;
    const int32_t integer = inside == inside ? static_cast<int32_t>(inside) : 0;
    std::memcpy(element, &integer, sizeof integer);
  } else {
    const float single = static_cast<float>(value);
    device.kernels->cast(&single, DW_F32, element, type, 1);
  }
  uint64_t bits;
  std::memcpy(&bits, element, sizeof bits);
  const int64_t bytes = static_cast<int64_t>(byteSize(type)), count = elements(node.output(0));
  return makeKernel([=](const Launch& run) {
    char* to = static_cast<char*>(run.outputs[0]);
    parallelFor(count, 1, [&](int64_t begin, int64_t end) {
      repeat(to + begin * bytes, reinterpret_cast<const char*>(&bits), end - begin, bytes);
    });
  });
}

void checkCast(const Node& node) {
  node.expect(1, 1, 1);
  node.expectSameShape(node.input(0), node.output(0));
  if (node.integer(0, 0) != node.output(0).dtype) node.invalid("the output is not of the type asked for");
  if (node.input(0).dtype == DW_F64 || node.output(0).dtype == DW_F64)
    node.unsupported("the cpu backend computes in f32, not in f64");
}

KernelPointer prepareCast(dw_device& device, const Node& node) {
  const int32_t from = node.input(0).dtype, to = node.output(0).dtype;
  const int64_t fromBytes = static_cast<int64_t>(byteSize(from)),
                toBytes = static_cast<int64_t>(byteSize(to));
  const int64_t count = elements(node.output(0));
  return makeKernel([=, kernel = device.kernels->cast](const Launch& run) {
    parallelFor(count, 1, [&](int64_t begin, int64_t end) {
      kernel(static_cast<const char*>(run.inputs[0]) + begin * fromBytes, from,
             static_cast<char*>(run.outputs[0]) + begin * toBytes, to, end - begin);
    });
  });
}

void checkConcat(const Node& node) {
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
  struct Part {
    Box box;
    int64_t offset;  // bytes into the output
  };
  const dw_aval& y = node.output(0);
  const int64_t axis = node.integer(0, 0), bytes = static_cast<int64_t>(byteSize(y.dtype));
  int64_t strides[DW_MAX_RANK];
  denseStrides(y, strides);
  std::vector<Part> parts;
  int64_t start = 0;
  for (uint32_t i = 0; i < node.inputs(); i++) {
    const dw_aval& x = node.input(i);
    parts.push_back({boxOf(x, y, x), start * strides[axis] * bytes});
    if (elements(x) == 0) parts.back().box.extents[0] = 0;
    start += x.dims[axis];
  }
  return makeKernel([parts = std::move(parts), bytes](const Launch& run) {
    for (size_t i = 0; i < parts.size(); i++)
      copyBox(parts[i].box, static_cast<char*>(run.outputs[0]) + parts[i].offset,
              static_cast<const char*>(run.inputs[i]), bytes);
  });
}

void checkSlice(const Node& node) {
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

KernelPointer prepareSlice(dw_device&, const Node& node) {
  const dw_aval &x = node.input(0), &y = node.output(0);
  const int64_t bytes = static_cast<int64_t>(byteSize(x.dtype));
  if (elements(y) == 0) return makeKernel([](const Launch&) {});
  int64_t strides[DW_MAX_RANK], offset = 0;
  denseStrides(x, strides);
  for (int32_t i = 0; i < x.rank; i++) offset += node.integer(static_cast<uint32_t>(i), 0) * strides[i];
  return makeKernel([=, box = boxOf(y, y, x)](const Launch& run) {
    copyBox(box, static_cast<char*>(run.outputs[0]), static_cast<const char*>(run.inputs[0]) + offset * bytes,
            bytes);
  });
}

void checkPad(const Node& node) {
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
  const bool empty = elements(x) == 0;
  int64_t strides[DW_MAX_RANK], offset = 0;
  denseStrides(y, strides);
  for (int32_t i = 0; i < x.rank; i++) offset += node.integer(static_cast<uint32_t>(i), 0) * strides[i];
  return makeKernel([=, box = boxOf(x, y, x)](const Launch& run) {
    char* to = static_cast<char*>(run.outputs[0]);
    zero(to, count * bytes);
    if (!empty) copyBox(box, to + offset * bytes, static_cast<const char*>(run.inputs[0]), bytes);
  });
}

void checkReshape(const Node& node) {
  node.expect(1, 1, static_cast<uint32_t>(node.output(0).rank));
  expectSameType(node);
  expectShapeAttributes(node, 0);
  if (elements(node.input(0)) != elements(node.output(0)))
    node.invalid("the shapes hold different numbers of elements");
}

KernelPointer prepareReshape(dw_device&, const Node& node) {
  const int64_t count = elements(node.output(0)) * static_cast<int64_t>(byteSize(node.output(0).dtype));
  return makeKernel([count](const Launch& run) {
    char* to = static_cast<char*>(run.outputs[0]);
    const char* from = static_cast<const char*>(run.inputs[0]);
    if (to == from) return;
    parallelFor(count, 1, [&](int64_t begin, int64_t end) {
      std::memcpy(to + begin, from + begin, static_cast<size_t>(end - begin));
    });
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

}  // namespace dw::cpu
