// Operation graphs: tensors and operations as descriptors of cuDNN's.
#include "graph.h"

#include <cctype>

namespace dw::cuda {

namespace {

// The value of a key in a flat JSON object, without quotes; "" where it has none.
std::string valueOf(const std::string& json, const std::string& key) {
  size_t at = json.find('"' + key + '"');
  if (at == std::string::npos) return "";
  at = json.find(':', at);
  if (at == std::string::npos) return "";
  do at++;
  while (at < json.size() && std::isspace(static_cast<unsigned char>(json[at])));
  const bool quoted = at < json.size() && json[at] == '"';
  const size_t end = quoted ? json.find('"', at + 1) : json.find_first_of(",} \n", at);
  if (end == std::string::npos) return "";
  return quoted ? json.substr(at + 1, end - at - 1) : json.substr(at, end - at);
}

size_t byteSize(cudnnDataType_t type) {
  if (type == CUDNN_DATA_FLOAT) return 4;
  return type == CUDNN_DATA_INT8 ? 1 : 2;
}

}  // namespace

Target::Target(std::shared_ptr<const Cudnn> cudnn, const std::string& description)
    : cudnn_(std::move(cudnn)), properties_(*cudnn_, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR) {
  properties_.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, description).finalize();
  const std::string version = valueOf(description, "deviceVer");  // 900
  name_ = valueOf(description, "deviceName") + ", sm_" +
          (version.size() > 1 ? version.substr(0, version.size() - 1) : version);
}

Target::Target(std::shared_ptr<const Cudnn> cudnn, cudnnHandle_t handle, std::string name)
    : cudnn_(std::move(cudnn)), handle_(handle), name_(std::move(name)) {}

void Target::bindGraph(Descriptor& graph) const {
  if (handle_ != nullptr) graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, handle_);
}

void Target::bindHeuristic(Descriptor& heuristic) const {
  if (handle_ == nullptr) heuristic.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, properties_);
}

void Target::bindPlan(Descriptor& plan) const {
  if (handle_ != nullptr)
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, handle_);
  else
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, properties_);
}

cudnnDataType_t dataTypeOf(DataType type) {
  if (type == DataType::f16) return CUDNN_DATA_HALF;
  return type == DataType::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

const Operand& Graph::tensor(const Dims& dims, cudnnDataType_t type, bool isVirtual, bool byValue) {
  const auto [n, c, h, w] = dims;
  Operand operand;
  operand.uid = static_cast<int64_t>(tensors_.size()) + 1;
  operand.bytes = static_cast<size_t>(n * c * h * w) * byteSize(type);
  operand.descriptor = Descriptor(cudnn_, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  operand.descriptor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, type)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, std::vector<int64_t>(dims.begin(), dims.end()))
      .set(CUDNN_ATTR_TENSOR_STRIDES, std::vector<int64_t>{c * h * w, 1, c * w, c})
      .set(CUDNN_ATTR_TENSOR_UNIQUE_ID, operand.uid)
      // The runtime aligns buffers, and parts of flat ones, to 64 bytes.
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, int64_t{byValue ? 4 : 16});
  if (isVirtual) operand.descriptor.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, true);
  if (byValue) operand.descriptor.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, true);
  operand.descriptor.finalize();
  tensors_.push_back(std::move(operand));
  return tensors_.back();
}

const Operand& Graph::input(const Dims& dims, cudnnDataType_t type) {
  inputs_.push_back(&tensor(dims, type, false, false));
  return *inputs_.back();
}

const Operand& Graph::output(const Dims& dims, cudnnDataType_t type) {
  outputs_.push_back(&tensor(dims, type, false, false));
  return *outputs_.back();
}

const Operand& Graph::inner(const Dims& dims, cudnnDataType_t type) {
  return tensor(dims, type, true, false);
}

const Operand& Graph::scalar(float value) {
  const Operand& operand = tensor({1, 1, 1, 1}, CUDNN_DATA_FLOAT, false, true);
  scalars_.push_back({operand.uid, value});
  return operand;
}

Descriptor& Graph::operation(cudnnBackendDescriptorType_t type) {
  operations_.emplace_back(cudnn_, type);
  return operations_.back();
}

Descriptor& Graph::keep(cudnnBackendDescriptorType_t type) {
  kept_.emplace_back(cudnn_, type);
  return kept_.back();
}

void Graph::convolution(const ConvolutionProblem& p, const Operand& x, const Operand& w, const Operand& y) {
  using Pair = std::vector<int64_t>;
  Descriptor& conv = keep(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  // Groups are told from the extents of x and w.
  conv.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION)
      .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, int64_t{2})
      .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, Pair{p.top, p.left})
      .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, Pair{p.bottom, p.right})
      .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, Pair{p.strideH, p.strideW})
      .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, Pair{p.dilationH, p.dilationW})
      .finalize();
  const float one = 1, zero = 0;
  switch (p.direction) {
    case Direction::forward:
      operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR)
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x.descriptor)
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w.descriptor)
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, y.descriptor)
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, conv)
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, one)
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, zero)
          .finalize();
      break;
    case Direction::inputGrad:
      operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR)
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, x.descriptor)
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, w.descriptor)
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, y.descriptor)
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, conv)
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, one)
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA, zero)
          .finalize();
      break;
    case Direction::weightGrad:
      operation(CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR)
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, x.descriptor)
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, w.descriptor)
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, y.descriptor)
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, conv)
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, one)
          .set(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA, zero)
          .finalize();
  }
}

namespace {

void describePointwise(Descriptor& pointwise, cudnnPointwiseMode_t mode) {
  pointwise.set(CUDNN_ATTR_POINTWISE_MODE, mode)
      .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT)
      .finalize();
}

}  // namespace

void Graph::pointwise(cudnnPointwiseMode_t mode, const Operand& x, const Operand& y) {
  Descriptor& pointwise = keep(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  describePointwise(pointwise, mode);
  operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, pointwise)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x.descriptor)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y.descriptor)
      .finalize();
}

void Graph::pointwise(cudnnPointwiseMode_t mode, const Operand& x, const Operand& b, const Operand& y) {
  Descriptor& pointwise = keep(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  describePointwise(pointwise, mode);
  operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, pointwise)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x.descriptor)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b.descriptor)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y.descriptor)
      .finalize();
}

void Graph::reluGrad(const Operand& g, const Operand& x, const Operand& dx) {
  Descriptor& pointwise = keep(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  describePointwise(pointwise, CUDNN_POINTWISE_RELU_BWD);
  operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, pointwise)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_DYDESC, g.descriptor)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x.descriptor)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_DXDESC, dx.descriptor)
      .finalize();
}

void Graph::channelSums(const Operand& x, const Operand& sum, const Operand& sumSquares) {
  operation(CUDNN_BACKEND_OPERATION_GEN_STATS_DESCRIPTOR)
      .set(CUDNN_ATTR_OPERATION_GENSTATS_MODE, CUDNN_GENSTATS_SUM_SQSUM)
      .set(CUDNN_ATTR_OPERATION_GENSTATS_MATH_PREC, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_OPERATION_GENSTATS_XDESC, x.descriptor)
      .set(CUDNN_ATTR_OPERATION_GENSTATS_SUMDESC, sum.descriptor)
      .set(CUDNN_ATTR_OPERATION_GENSTATS_SQSUMDESC, sumSquares.descriptor)
      .finalize();
}

void Graph::sum(const Operand& x, const Operand& y) {
  Descriptor& reduction = keep(CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
  reduction.set(CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_REDUCE_TENSOR_ADD)
      .set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT)
      .finalize();
  operation(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR)
      .set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, reduction)
      .set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x.descriptor)
      .set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y.descriptor)
      .finalize();
}

Descriptor Graph::build(const Target& target) {
  std::vector<cudnnBackendDescriptor_t> operations;
  for (const Descriptor& operation : operations_) operations.push_back(operation.raw());
  Descriptor graph(cudnn_, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.setDescriptors(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations);
  target.bindGraph(graph);
  graph.finalize();
  return graph;
}

}  // namespace dw::cuda
