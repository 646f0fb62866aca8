// An operation graph of cuDNN under construction: tensors with roles, operations, and which operand is which
// tensor.
#ifndef DEPTHWISE_CUDNN_GRAPH_H
#define DEPTHWISE_CUDNN_GRAPH_H

#include <array>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "descriptor.h"

namespace dw::cuda {

// What plans are made for: a device behind a handle, or a description of one.
class Target {
 public:
  // Takes a description as cuDNN has it: one JSON object, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION.
  Target(std::shared_ptr<const Cudnn> cudnn, const std::string& description);
  // The current device. The handle stays the caller's.
  Target(std::shared_ptr<const Cudnn> cudnn, cudnnHandle_t handle, std::string name);

  const Cudnn& cudnn() const { return *cudnn_; }
  cudnnHandle_t handle() const { return handle_; }
  bool described() const { return handle_ == nullptr; }
  // "NVIDIA H200, sm_90": for people, and for the keys of kept plans.
  const std::string& name() const { return name_; }

  void bindGraph(Descriptor& graph) const;
  void bindHeuristic(Descriptor& heuristic) const;
  void bindPlan(Descriptor& plan) const;

 private:
  std::shared_ptr<const Cudnn> cudnn_;
  cudnnHandle_t handle_ = nullptr;
  Descriptor properties_;
  std::string name_;
};

// N, C, H, W, as cuDNN counts dimensions; memory is NHWC.
using Dims = std::array<int64_t, 4>;

// A tensor of a graph.
struct Operand {
  int64_t uid = 0;
  size_t bytes = 0;
  Descriptor descriptor;
};

struct Scalar {
  int64_t uid;
  float value;
};

class Graph {
 public:
  explicit Graph(const Cudnn& cudnn) : cudnn_(cudnn) {}

  // Operands, in the order in which a plan is given their addresses.
  const Operand& input(const Dims& dims, cudnnDataType_t type);
  const Operand& output(const Dims& dims, cudnnDataType_t type);
  // An intermediate that never reaches memory.
  const Operand& inner(const Dims& dims, cudnnDataType_t type = CUDNN_DATA_FLOAT);
  const Operand& scalar(float value);

  // y = conv(x, w), or its adjoint: for inputGrad x is written, for weightGrad w.
  void convolution(const ConvolutionProblem& problem, const Operand& x, const Operand& w, const Operand& y);
  void pointwise(cudnnPointwiseMode_t mode, const Operand& x, const Operand& y);
  void pointwise(cudnnPointwiseMode_t mode, const Operand& x, const Operand& b, const Operand& y);
  // dx = g where x > 0, else 0.
  void reluGrad(const Operand& g, const Operand& x, const Operand& dx);
  void channelSums(const Operand& x, const Operand& sum, const Operand& sumSquares);
  // y = the sum of x over the dimensions in which y has extent 1.
  void sum(const Operand& x, const Operand& y);
  // An operation without a method here: descriptors it refers to must be kept with `keep`.
  Descriptor& operation(cudnnBackendDescriptorType_t type);
  Descriptor& keep(cudnnBackendDescriptorType_t type);

  // The finalized graph. Call once.
  Descriptor build(const Target& target);

  const std::vector<const Operand*>& inputs() const { return inputs_; }
  const std::vector<const Operand*>& outputs() const { return outputs_; }
  const std::vector<Scalar>& scalars() const { return scalars_; }

 private:
  const Operand& tensor(const Dims& dims, cudnnDataType_t type, bool isVirtual, bool byValue);

  const Cudnn& cudnn_;
  std::deque<Operand> tensors_;  // a deque: references stay
  std::deque<Descriptor> kept_;
  std::deque<Descriptor> operations_;
  std::vector<const Operand*> inputs_, outputs_;
  std::vector<Scalar> scalars_;
};

cudnnDataType_t dataTypeOf(DataType type);

// The graphs of problems; operands in the order of plans.h. Throws PlanError for combinations that it does
// not know.
std::unique_ptr<Graph> graphOf(const Cudnn& cudnn, const ConvolutionProblem& problem);
std::unique_ptr<Graph> graphOf(const Cudnn& cudnn, const NormalizationProblem& problem);
std::unique_ptr<Graph> graphOf(const Cudnn& cudnn, const PoolingProblem& problem);

}  // namespace dw::cuda

#endif
