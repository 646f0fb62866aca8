// Linear layers: products of matrices by oneDNN. Weights are [out, in].
#include <cstring>

#include "matmul.h"
#include "op.h"
#include "primitive.h"

namespace dw::cpu {
namespace {

onednn::Desc describe(const Matrix& matrix) {
  const dnnl::memory::dims dims = {matrix.rows, matrix.columns};
  const dnnl::memory::dims strides =
      matrix.transposed ? dnnl::memory::dims{1, matrix.rows} : dnnl::memory::dims{matrix.columns, 1};
  return onednn::Desc(dims, dnnl::memory::data_type::f32, strides);
}

class Product final : public dw_kernel {
 public:
  Product(dw_device& device, const Matrix& a, int inputA, const Matrix& b, int inputB)
      : inputA_(inputA), inputB_(inputB) {
    const Matrix c = {a.rows, b.columns, false};
    const auto descriptor =
        onednn::matmul(device.engine, describe(a), describe(b), describe(c), userScratchpad());
    implementation_ = descriptor.impl_info_str();
    WorkspaceLayout layout;
    product_ = Primitive(device, descriptor, layout);
    product_.add(device, DNNL_ARG_SRC, describe(a));
    product_.add(device, DNNL_ARG_WEIGHTS, describe(b));
    product_.add(device, DNNL_ARG_DST, describe(c));
    workspace = layout.size();
  }

  void run(const Launch& launch) override {
    product_.at(1, launch.inputs[inputA_]);
    product_.at(2, launch.inputs[inputB_]);
    product_.at(3, launch.outputs[0]);
    product_.run(launch.device, launch.workspace);
  }

  const char* implementation() const override { return implementation_; }

 private:
  int inputA_, inputB_;
  Primitive product_;
  const char* implementation_;  // oneDNN's own constant
};

// Roles of a linear layer: x [n, in], w [out, in], y [n, out].
void checkLinear(const Node& node, const dw_aval& x, const dw_aval& w, const dw_aval& y) {
  node.expect(2, 1, 0);
  node.expectFloats();
  node.expectRank(x, 2);
  node.expectRank(w, 2);
  node.expectShape(y, {x.dims[0], w.dims[0]});
  node.expectShape(w, {y.dims[1], x.dims[1]});
}

KernelPointer prepareLinear(dw_device& device, const Node& node) {
  const dw_aval &x = node.input(0), &w = node.input(1);
  return prepareProduct(device, {x.dims[0], x.dims[1], false}, 0, {w.dims[1], w.dims[0], true}, 1);
}

KernelPointer prepareLinearInputGrad(dw_device& device, const Node& node) {
  const dw_aval &g = node.input(0), &w = node.input(1);
  return prepareProduct(device, {g.dims[0], g.dims[1], false}, 0, {w.dims[0], w.dims[1], false}, 1);
}

KernelPointer prepareLinearWeightGrad(dw_device& device, const Node& node) {
  const dw_aval &x = node.input(0), &g = node.input(1);
  return prepareProduct(device, {g.dims[1], g.dims[0], true}, 1, {x.dims[0], x.dims[1], false}, 0);
}

void checkAddBias(const Node& node) {
  node.expect(2, 1, 0);
  node.expectFloats();
  node.expectSameShape(node.input(0), node.output(0));
  node.expectShape(node.input(1), {channels(node.input(0))});
}

KernelPointer prepareAddBias(dw_device& device, const Node& node) {
  const int64_t c = channels(node.input(0)), count = rows(node.input(0));
  return makeKernel([=, kernel = device.kernels->addBias](const Launch& run) {
    parallelFor(count, c, [&](int64_t begin, int64_t end) {
      kernel(run.in(0) + begin * c, run.in(1), run.out(0) + begin * c, end - begin, c);
    });
  });
}

}  // namespace

KernelPointer prepareProduct(dw_device& device, Matrix a, int inputA, Matrix b, int inputB) {
  if (a.rows == 0 || b.columns == 0 || a.columns == 0) {
    return makeKernel(
        [count = a.rows * b.columns](const Launch& run) { std::fill_n(run.out(0), count, 0.0f); });
  }
  return std::make_unique<Product>(device, a, inputA, b, inputB);
}

extern const Op op_linear, op_linearInputGrad, op_linearWeightGrad, op_addBias;

const Op op_linear = {
    [](const Node& node) { checkLinear(node, node.input(0), node.input(1), node.output(0)); }, prepareLinear};
const Op op_linearInputGrad = {
    [](const Node& node) { checkLinear(node, node.output(0), node.input(1), node.input(0)); },
    prepareLinearInputGrad};
const Op op_linearWeightGrad = {
    [](const Node& node) { checkLinear(node, node.input(0), node.output(0), node.input(1)); },
    prepareLinearWeightGrad};
const Op op_addBias = {checkAddBias, prepareAddBias};

}  // namespace dw::cpu
