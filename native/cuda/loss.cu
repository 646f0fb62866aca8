// Softmax, and the cross-entropies of softmax and sigmoid with label smoothing. Formulas: depthwise_ops.h.
#include "dispatch.h"
#include "kernels/loss.cuh"
#include "launch.h"
#include "op.h"

namespace dw::cuda {
namespace {

template <uint32_t kInputs>
void checkSoftmax(const dw_device&, const Node& node) {
  node.expect(kInputs, 1, 0);
  node.expectFloating(node.output(0));
  if (node.input(0).rank == 0 || channels(node.input(0)) == 0) node.invalid("expected at least one class");
  for (uint32_t i = 0; i < kInputs; i++) node.expectSame(node.input(i), node.output(0));
}

// Operands (g, ) logits, labels or targets; outputs loss or dlogits.
template <bool kGradient, bool kSparse>
void checkCrossEntropy(const dw_device&, const Node& node) {
  node.expect(kGradient ? 3 : 2, 1, 1);
  const dw_aval &logits = node.input(kGradient ? 1 : 0), &labels = node.input(kGradient ? 2 : 1);
  node.expectFloating(logits);
  node.expectRank(logits, 2);
  if (logits.dims[1] == 0) node.invalid("expected at least one class");
  node.expectType(labels, kSparse ? DW_I32 : DW_F32);
  if (kSparse)
    node.expectShape(labels, {logits.dims[0]});
  else
    node.expectSameShape(labels, logits);
  if (kGradient) node.expectSame(node.output(0), logits);
  node.expectVector(kGradient ? node.input(0) : node.output(0), logits.dims[0]);
  const double smoothing = node.attribute(0);
  if (!(smoothing >= 0 && smoothing <= 1)) node.invalid("smoothing: expected 0 to 1, got %g", smoothing);
}

// A block for each row, with shared memory for the warps' results: `start(run, Type<T>, grid)` launches it.
template <class Start>
KernelPointer perRow(const dw_aval& logits, Start start) {
  const int64_t n = rows(logits);
  if (n == 0) return makeNothing();
  return withType(logits.dtype, [&](auto type) {
    return makeKernel([=](const Launch& run) {
      start(run, type, dim3(static_cast<unsigned>(std::min<int64_t>(n, 65536))));
    });
  });
}

constexpr size_t kShared = kLossWarps * sizeof(float);

KernelPointer prepareSoftmax(dw_device&, const Node& node) {
  const int64_t c = channels(node.input(0)), n = rows(node.input(0));
  return perRow(node.input(0), [=](const Launch& run, auto type, dim3 grid) {
    using T = typename decltype(type)::type;
    launch(softmax<T>, grid, kLossThreads, kShared, run.stream(), run.in<T>(0), run.out<T>(0), n, c);
  });
}

KernelPointer prepareSoftmaxGrad(dw_device&, const Node& node) {
  const int64_t c = channels(node.input(0)), n = rows(node.input(0));
  return perRow(node.input(0), [=](const Launch& run, auto type, dim3 grid) {
    using T = typename decltype(type)::type;
    launch(softmaxGrad<T>, grid, kLossThreads, kShared, run.stream(), run.in<T>(0), run.in<T>(1),
           run.out<T>(0), n, c);
  });
}

KernelPointer prepareSoftmaxCrossEntropy(dw_device& device, const Node& node) {
  const int64_t n = node.input(0).dims[0], c = node.input(0).dims[1];
  const float smoothing = static_cast<float>(node.attribute(0));
  Report* report = device.reports.slot(device.stream);
  return perRow(node.input(0),
                [=, op = static_cast<int>(node.op())](const Launch& run, auto type, dim3 grid) {
                  using T = typename decltype(type)::type;
                  launch(softmaxCrossEntropy<T>, grid, kLossThreads, kShared, run.stream(), run.in<T>(0),
                         run.in<int32_t>(1), run.out(0), n, c, smoothing, report, op);
                });
}

KernelPointer prepareSoftmaxCrossEntropyGrad(dw_device& device, const Node& node) {
  const int64_t n = node.input(1).dims[0], c = node.input(1).dims[1];
  const float smoothing = static_cast<float>(node.attribute(0));
  Report* report = device.reports.slot(device.stream);
  return perRow(node.input(1),
                [=, op = static_cast<int>(node.op())](const Launch& run, auto type, dim3 grid) {
                  using T = typename decltype(type)::type;
                  launch(softmaxCrossEntropyGrad<T>, grid, kLossThreads, kShared, run.stream(), run.in(0),
                         run.in<T>(1), run.in<int32_t>(2), run.out<T>(0), n, c, smoothing, report, op);
                });
}

KernelPointer prepareSigmoidCrossEntropy(dw_device&, const Node& node) {
  const int64_t n = node.input(0).dims[0], c = node.input(0).dims[1];
  const float smoothing = static_cast<float>(node.attribute(0));
  return perRow(node.input(0), [=](const Launch& run, auto type, dim3 grid) {
    using T = typename decltype(type)::type;
    launch(sigmoidCrossEntropy<T>, grid, kLossThreads, kShared, run.stream(), run.in<T>(0), run.in(1),
           run.out(0), n, c, smoothing);
  });
}

KernelPointer prepareSigmoidCrossEntropyGrad(dw_device&, const Node& node) {
  const int64_t n = node.input(1).dims[0], c = node.input(1).dims[1];
  const float smoothing = static_cast<float>(node.attribute(0));
  return perRow(node.input(1), [=](const Launch& run, auto type, dim3) {
    using T = typename decltype(type)::type;
    launch(sigmoidCrossEntropyGrad<T>, blocksFor(n * c, run.device.multiprocessors), kThreads, 0,
           run.stream(), run.in(0), run.in<T>(1), run.in(2), run.out<T>(0), n, c, smoothing);
  });
}

}  // namespace

extern const Op op_softmax, op_softmaxGrad, op_softmaxCrossEntropy, op_softmaxCrossEntropyGrad;
extern const Op op_sigmoidCrossEntropy, op_sigmoidCrossEntropyGrad;

const Op op_softmax = {checkSoftmax<1>, prepareSoftmax};
const Op op_softmaxGrad = {checkSoftmax<2>, prepareSoftmaxGrad};
const Op op_softmaxCrossEntropy = {checkCrossEntropy<false, true>, prepareSoftmaxCrossEntropy};
const Op op_softmaxCrossEntropyGrad = {checkCrossEntropy<true, true>, prepareSoftmaxCrossEntropyGrad};
const Op op_sigmoidCrossEntropy = {checkCrossEntropy<false, false>, prepareSigmoidCrossEntropy};
const Op op_sigmoidCrossEntropyGrad = {checkCrossEntropy<true, false>, prepareSigmoidCrossEntropyGrad};

}  // namespace dw::cuda
