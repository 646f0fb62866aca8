// Linear layers: products of matrices by plans. Weights are [out, in].
#include "channels.h"
#include "planned.h"

namespace dw::cuda {
namespace {

// x [n, in], w [out, in], y [n, out], whichever of these the node reads and writes.
struct Roles {
  const dw_aval &x, &w, &y;
};

void checkRoles(const Node& node, const Roles& roles) {
  node.expect(2, 1, 0);
  node.expectFloating(roles.x);
  node.expectType(roles.w, roles.x.dtype);
  node.expectType(roles.y, roles.x.dtype);
  node.expectRank(roles.x, 2);
  node.expectRank(roles.w, 2);
  node.expectShape(roles.y, {roles.x.dims[0], roles.w.dims[0]});
  node.expectShape(roles.w, {roles.y.dims[1], roles.x.dims[1]});
}

MatrixProblem linearProblem(const dw_device& device, const Node& node) {
  const dw_aval &x = node.input(0), &w = node.input(1);
  checkRoles(node, {x, w, node.output(0)});
  MatrixProblem problem = matrixOf(device, x.dtype, x.dims[0], w.dims[0], x.dims[1]);
  problem.transposeB = true;
  return problem;
}

MatrixProblem inputGradProblem(const dw_device& device, const Node& node) {
  const dw_aval &g = node.input(0), &w = node.input(1);
  checkRoles(node, {node.output(0), w, g});
  return matrixOf(device, g.dtype, g.dims[0], w.dims[1], w.dims[0]);
}

// Its operands come in the other order: a is the gradient.
MatrixProblem weightGradProblem(const dw_device& device, const Node& node) {
  const dw_aval &x = node.input(0), &g = node.input(1);
  checkRoles(node, {x, node.output(0), g});
  MatrixProblem problem = matrixOf(device, x.dtype, g.dims[1], x.dims[1], x.dims[0]);
  problem.transposeA = true;
  return problem;
}

bool empty(const MatrixProblem& problem) { return problem.m == 0 || problem.n == 0 || problem.k == 0; }

template <MatrixProblem (*kProblem)(const dw_device&, const Node&)>
void checkProduct(const dw_device& device, const Node& node) {
  const MatrixProblem problem = kProblem(device, node);
  if (!empty(problem)) expectPlan(device, node, problem);
}

template <MatrixProblem (*kProblem)(const dw_device&, const Node&), bool kSwapped>
KernelPointer prepareProduct(dw_device& device, const Node& node) {
  const MatrixProblem problem = kProblem(device, node);
  if (empty(problem)) {
    const dw_aval& y = node.output(0);
    return makeKernel([bytes = static_cast<size_t>(elements(y)) * byteSize(y.dtype)](const Launch& run) {
      if (bytes > 0) check(cudaMemsetAsync(run.outputs[0], 0, bytes, run.stream()), "cudaMemsetAsync");
    });
  }
  return makePlanned(device.plans->plan(problem), kSwapped);
}

void checkAddBias(const dw_device&, const Node& node) {
  node.expect(2, 1, 0);
  node.expectFloating(node.input(0));
  node.expectSame(node.input(0), node.output(0));
  node.expectType(node.input(1), node.input(0).dtype);
  node.expectShape(node.input(1), {channels(node.input(0))});
}

KernelPointer prepareAddBias(dw_device&, const Node& node) {
  const int64_t c = channels(node.input(0)), count = rows(node.input(0));
  return withType(node.input(0).dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    return withWidth<T>(c, [&](auto width) {
      constexpr int N = decltype(width)::value;
      return makeKernel([=](const Launch& run) {
        const ChannelOperands<T, T, T, 1, 1> operands = {{run.in<T>(0)}, {run.in<T>(1)}, run.out<T>(0)};
        launchChannelMap<N>(run, BiasMap{}, operands, count, c);
      });
    });
  });
}

}  // namespace

extern const Op op_linear, op_linearInputGrad, op_linearWeightGrad, op_addBias;

const Op op_linear = {checkProduct<linearProblem>, prepareProduct<linearProblem, false>};
const Op op_linearInputGrad = {checkProduct<inputGradProblem>, prepareProduct<inputGradProblem, false>};
const Op op_linearWeightGrad = {checkProduct<weightGradProblem>, prepareProduct<weightGradProblem, true>};
const Op op_addBias = {checkAddBias, prepareAddBias};

}  // namespace dw::cuda
