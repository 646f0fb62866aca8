// sum over any axes. Runs of f32 are added up in f64, so the error is that of the last rounding, about 1e-7.
#include "op.h"
#include "strided.h"

namespace dw::cpu {
namespace {

// Parts by the shape alone, so that results do not depend on the number of threads.
constexpr int64_t kMostParts = 64;
constexpr int64_t kElementsPerPart = 65536;

// Which axes go, from the attributes.
struct Axes {
  explicit Axes(const Node& node) {
    const dw_aval& x = node.input(0);
    int64_t previous = -1;
    for (uint32_t i = 1; i < node.attributes(); i++) {
      const int64_t axis = node.integer(i, 0);
      if (axis >= x.rank || axis <= previous) node.invalid("axes: expected ascending axes below %d", x.rank);
      reduced[axis] = true;
      previous = axis;
    }
  }
  bool reduced[DW_MAX_RANK] = {};
};

void check(const Node& node) {
  if (node.inputs() != 1 || node.outputs() != 1 || node.attributes() == 0) node.invalid("expected one input");
  node.expectFloats();
  const Axes axes(node);
  const dw_aval& x = node.input(0);
  const bool keep = node.attribute(0) != 0;
  dw_aval wanted = x;
  wanted.rank = 0;
  for (int32_t i = 0; i < x.rank; i++) {
    if (!axes.reduced[i])
      wanted.dims[wanted.rank++] = x.dims[i];
    else if (keep)
      wanted.dims[wanted.rank++] = 1;
  }
  node.expectSameShape(node.output(0), wanted);
}

// Offsets into x of the kept and of the reduced positions; the innermost axis is left out: it is the row.
struct Walk {
  Box kept, reduced;
  int64_t row = 1;          // elements of the innermost axis
  bool rowReduced = false;  // the row becomes one number; else it is added to other rows
  int64_t outer = 1;        // kept positions without the row
  int64_t repeats = 1;      // reduced positions without the row
  bool empty = false;       // nothing to add: zeros
};

Walk makeWalk(const Node& node) {
  const dw_aval& x = node.input(0);
  const Axes axes(node);
  int64_t strides[DW_MAX_RANK];
  denseStrides(x, strides);
  Walk walk;
  walk.empty = elements(x) == 0;
  // The innermost axes of one kind, merged, are the row.
  int32_t inner = x.rank;
  while (inner > 0 && x.dims[inner - 1] == 1) inner--;
  if (inner > 0) {
    walk.rowReduced = axes.reduced[inner - 1];
    while (inner > 0 && (axes.reduced[inner - 1] == walk.rowReduced || x.dims[inner - 1] == 1))
      walk.row *= x.dims[--inner];
  }
  for (int32_t i = 0; i < inner; i++) {
    Box& box = axes.reduced[i] ? walk.reduced : walk.kept;
    box.push(x.dims[i], 0, strides[i]);
    (axes.reduced[i] ? walk.repeats : walk.outer) *= x.dims[i];
  }
  // `locate` counts all axes but the last: give both boxes a last axis of one element.
  for (Box* box : {&walk.kept, &walk.reduced}) {
    box->extents[box->rank] = 1;
    box->rank++;
  }
  return walk;
}

int64_t offsetOf(const Box& box, int64_t index) {
  int64_t to, from;
  box.locate(index, &to, &from);
  return from;
}

// Whether consecutive reduced positions are evenly spaced, as when all leading axes go.
bool evenlySpaced(const Box& box) { return box.rank <= 2; }

// Each of `outer` results is a row of `row` sums over `repeats` rows. Work is divided into parts of the
// repeats, and into strips of the row.
KernelPointer sumRows(dw_device& device, const Walk& walk) {
  constexpr int64_t kStrip = 4096;
  const int64_t row = walk.row, strips = (row + kStrip - 1) / kStrip;
  int64_t parts = walk.outer * strips >= kMostParts ? 1 : walk.repeats * row / kElementsPerPart;
  parts = std::max<int64_t>(1, std::min({parts, kMostParts, walk.repeats}));
  const bool even = evenlySpaced(walk.reduced);
  const int64_t spacing = walk.reduced.rank == 2 ? walk.reduced.fromStrides[0] : 0;
  return makeKernel(
      [=, kernel = device.kernels->channelSums](const Launch& run) {
        double* partials = static_cast<double*>(run.workspace);  // [outer][parts][row]
        parallelFor(
            walk.outer * parts * strips, walk.repeats / parts * row / strips,
            [&](int64_t begin, int64_t end) {
              for (int64_t task = begin; task < end; task++) {
                const int64_t slot = task / strips, strip = task % strips * kStrip, part = slot % parts;
                const int64_t width = std::min(kStrip, row - strip);
                const int64_t first = walk.repeats * part / parts, last = walk.repeats * (part + 1) / parts;
                const float* x = run.in(0) + offsetOf(walk.kept, slot / parts) + strip;
                double* sums = partials + slot * row + strip;
                if (even) {
                  kernel(x + first * spacing, last - first, width, spacing, sums, nullptr);
                  continue;
                }
                for (int64_t j = 0; j < width; j++) sums[j] = 0;
                for (int64_t i = first; i < last; i++) {
                  const float* from = x + offsetOf(walk.reduced, i);
                  for (int64_t j = 0; j < width; j++) sums[j] += from[j];
                }
              }
            });
        parallelFor(walk.outer, parts * row, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; i++) {
            double* sums = partials + i * parts * row;
            for (int64_t part = 1; part < parts; part++)
              for (int64_t j = 0; j < row; j++) sums[j] += sums[part * row + j];
            for (int64_t j = 0; j < row; j++) run.out(0)[i * row + j] = static_cast<float>(sums[j]);
          }
        });
      },
      static_cast<size_t>(walk.outer * parts * row) * sizeof(double));
}

// Each of `outer` results is one number: the sum of `repeats` runs of `row` elements, each divided into
// parts.
KernelPointer sumRuns(dw_device& device, const Walk& walk) {
  const int64_t wanted = walk.outer >= kMostParts ? 1 : walk.row / kElementsPerPart;
  const int64_t parts = std::max<int64_t>(1, std::min(wanted, kMostParts));
  const int64_t slots = walk.outer * parts;
  return makeKernel(
      [=, kernel = device.kernels->sumRun](const Launch& run) {
        double* partials = static_cast<double*>(run.workspace);
        parallelFor(slots, walk.repeats * walk.row / parts, [&](int64_t begin, int64_t end) {
          for (int64_t slot = begin; slot < end; slot++) {
            const float* x = run.in(0) + offsetOf(walk.kept, slot / parts);
            const int64_t part = slot % parts;
            const int64_t first = walk.row * part / parts, last = walk.row * (part + 1) / parts;
            double total = 0;
            for (int64_t i = 0; i < walk.repeats; i++) {
              double sum;
              kernel(x + offsetOf(walk.reduced, i) + first, last - first, &sum);
              total += sum;
            }
            partials[slot] = total;
          }
        });
        for (int64_t i = 0; i < walk.outer; i++) {
          double total = 0;
          for (int64_t part = 0; part < parts; part++) total += partials[i * parts + part];
          run.out(0)[i] = static_cast<float>(total);
        }
      },
      static_cast<size_t>(slots) * sizeof(double));
}

KernelPointer prepare(dw_device& device, const Node& node) {
  const Walk walk = makeWalk(node);
  if (walk.empty) {
    return makeKernel(
        [count = elements(node.output(0))](const Launch& run) { std::fill_n(run.out(0), count, 0.0f); });
  }
  return walk.rowReduced ? sumRuns(device, walk) : sumRows(device, walk);
}

}  // namespace

extern const Op op_sum;
const Op op_sum = {check, prepare};

}  // namespace dw::cpu
