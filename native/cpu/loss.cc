// Softmax, and the cross-entropies of softmax and sigmoid with label smoothing. Formulas: depthwise_ops.h.
#include "op.h"

namespace dw::cpu {
namespace {

void checkMatrix(const Node& node, const dw_aval& aval) {
  node.expectRank(aval, 2);
  if (aval.dims[1] == 0) node.invalid("expected at least one class");
}

template <uint32_t kInputs>
void checkSoftmax(const Node& node) {
  node.expect(kInputs, 1, 0);
  node.expectFloats();
  if (node.input(0).rank == 0 || channels(node.input(0)) == 0) node.invalid("expected at least one class");
  for (uint32_t i = 0; i < kInputs; i++) node.expectSameShape(node.input(i), node.output(0));
}

void checkSmoothing(const Node& node) {
  const double smoothing = node.attribute(0);
  if (!(smoothing >= 0 && smoothing <= 1)) node.invalid("smoothing: expected 0 to 1, got %g", smoothing);
}

// Operands (g, ) logits, labels or targets; outputs loss or dlogits.
void checkCrossEntropy(const Node& node, bool gradient, bool sparse) {
  node.expect(gradient ? 3 : 2, 1, 1);
  const dw_aval &logits = node.input(gradient ? 1 : 0), &labels = node.input(gradient ? 2 : 1);
  node.expectType(logits, DW_F32);
  checkMatrix(node, logits);
  node.expectType(labels, sparse ? DW_I32 : DW_F32);
  if (sparse)
    node.expectShape(labels, {logits.dims[0]});
  else
    node.expectSameShape(labels, logits);
  node.expectType(node.output(0), DW_F32);
  if (gradient) {
    node.expectType(node.input(0), DW_F32);
    node.expectShape(node.input(0), {logits.dims[0]});
    node.expectSameShape(node.output(0), logits);
  } else {
    node.expectShape(node.output(0), {logits.dims[0]});
  }
  checkSmoothing(node);
}

void checkLabels(const char* op, const int32_t* labels, int64_t n, int64_t classes) {
  for (int64_t i = 0; i < n; i++) {
    if (labels[i] < 0 || labels[i] >= classes)
      throw Error(DW_DEVICE_ERROR, "%s: label %d at index %lld is not from 0 to %lld", op, labels[i],
                  static_cast<long long>(i), static_cast<long long>(classes - 1));
  }
}

KernelPointer prepareSoftmax(dw_device& device, const Node& node) {
  const int64_t c = channels(node.input(0)), n = rows(node.input(0));
  return makeKernel([=, kernel = device.kernels->softmax](const Launch& run) {
    parallelFor(n, 8 * c, [&](int64_t begin, int64_t end) {
      kernel(run.in(0) + begin * c, run.out(0) + begin * c, end - begin, c);
    });
  });
}

KernelPointer prepareSoftmaxGrad(dw_device& device, const Node& node) {
  const int64_t c = channels(node.input(0)), n = rows(node.input(0));
  return makeKernel([=, kernel = device.kernels->softmaxGrad](const Launch& run) {
    parallelFor(n, 4 * c, [&](int64_t begin, int64_t end) {
      kernel(run.in(0) + begin * c, run.in(1) + begin * c, run.out(0) + begin * c, end - begin, c);
    });
  });
}

KernelPointer prepareSoftmaxCrossEntropy(dw_device& device, const Node& node) {
  const int64_t n = node.input(0).dims[0], c = node.input(0).dims[1];
  const double smoothing = node.attribute(0);
  return makeKernel([=, name = node.name(), kernel = device.kernels->softmaxCrossEntropy](const Launch& run) {
    const int32_t* labels = static_cast<const int32_t*>(run.inputs[1]);
    checkLabels(name, labels, n, c);
    parallelFor(n, 8 * c, [&](int64_t begin, int64_t end) {
      kernel(run.in(0) + begin * c, labels + begin, run.out(0) + begin, end - begin, c, smoothing);
    });
  });
}

KernelPointer prepareSoftmaxCrossEntropyGrad(dw_device& device, const Node& node) {
  const int64_t n = node.input(1).dims[0], c = node.input(1).dims[1];
  const double smoothing = node.attribute(0);
  return makeKernel(
      [=, name = node.name(), kernel = device.kernels->softmaxCrossEntropyGrad](const Launch& run) {
        const int32_t* labels = static_cast<const int32_t*>(run.inputs[2]);
        checkLabels(name, labels, n, c);
        parallelFor(n, 8 * c, [&](int64_t begin, int64_t end) {
          kernel(run.in(0) + begin, run.in(1) + begin * c, labels + begin, run.out(0) + begin * c,
                 end - begin, c, smoothing);
        });
      });
}

KernelPointer prepareSigmoidCrossEntropy(dw_device& device, const Node& node) {
  const int64_t n = node.input(0).dims[0], c = node.input(0).dims[1];
  const double smoothing = node.attribute(0);
  return makeKernel([=, kernel = device.kernels->sigmoidCrossEntropy](const Launch& run) {
    parallelFor(n, 16 * c, [&](int64_t begin, int64_t end) {
      kernel(run.in(0) + begin * c, run.in(1) + begin * c, run.out(0) + begin, end - begin, c, smoothing);
    });
  });
}

KernelPointer prepareSigmoidCrossEntropyGrad(dw_device& device, const Node& node) {
  const int64_t n = node.input(1).dims[0], c = node.input(1).dims[1];
  const double smoothing = node.attribute(0);
  return makeKernel([=, kernel = device.kernels->sigmoidCrossEntropyGrad](const Launch& run) {
    parallelFor(n, 8 * c, [&](int64_t begin, int64_t end) {
      kernel(run.in(0) + begin, run.in(1) + begin * c, run.in(2) + begin * c, run.out(0) + begin * c,
             end - begin, c, smoothing);
    });
  });
}

}  // namespace

extern const Op op_softmax, op_softmaxGrad, op_softmaxCrossEntropy, op_softmaxCrossEntropyGrad;
extern const Op op_sigmoidCrossEntropy, op_sigmoidCrossEntropyGrad;

const Op op_softmax = {checkSoftmax<1>, prepareSoftmax};
const Op op_softmaxGrad = {checkSoftmax<2>, prepareSoftmaxGrad};
const Op op_softmaxCrossEntropy = {[](const Node& node) { checkCrossEntropy(node, false, true); },
                                   prepareSoftmaxCrossEntropy};
const Op op_softmaxCrossEntropyGrad = {[](const Node& node) { checkCrossEntropy(node, true, true); },
                                       prepareSoftmaxCrossEntropyGrad};
const Op op_sigmoidCrossEntropy = {[](const Node& node) { checkCrossEntropy(node, false, false); },
                                   prepareSigmoidCrossEntropy};
const Op op_sigmoidCrossEntropyGrad = {[](const Node& node) { checkCrossEntropy(node, true, false); },
                                       prepareSigmoidCrossEntropyGrad};

}  // namespace dw::cpu
