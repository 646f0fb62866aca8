// What a fused op stands for: a kernel made of the kernels of other ops, with the values between them in
// scratch memory.
#ifndef DEPTHWISE_CUDA_STEPS_H
#define DEPTHWISE_CUDA_STEPS_H

#include <array>
#include <initializer_list>
#include <vector>

#include "op.h"

namespace dw::cuda {

class Steps {
 public:
  static constexpr size_t kMostOperands = 6;

  // A value of the whole: an operand of the node, or one between two steps.
  struct Value {
    enum class Place { input, output, scratch } place;
    uint32_t index;  // of the operand; of a value in scratch memory, in the order of making
    dw_aval aval;
  };

  Steps(dw_device& device, const Node& node) : device_(device), node_(node) {}

  Value input(uint32_t i) const { return {Value::Place::input, i, node_.input(i)}; }
  Value output(uint32_t i) const { return {Value::Place::output, i, node_.output(i)}; }
  Value between(const dw_aval& aval);

  // The op on these operands, after the steps before it. Prepares it: throws what that throws.
  void add(dw_op op, std::initializer_list<Value> inputs, std::initializer_list<Value> outputs,
           const std::vector<double>& attributes = {});

  KernelPointer finish();

 private:
  struct Step {
    KernelPointer kernel;
    std::array<Value, kMostOperands> inputs, outputs;
    size_t inputCount, outputCount;
  };
  class Kernel;

  dw_device& device_;
  const Node& node_;
  std::vector<size_t> sizes_;  // of the values in scratch memory
  std::vector<Step> steps_;
};

// The attributes of a node from `first` on, `count` of them, and then others.
std::vector<double> attributesOf(const Node& node, uint32_t first, uint32_t count,
                                 std::initializer_list<int64_t> more = {});

}  // namespace dw::cuda

#endif
