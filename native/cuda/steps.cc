// Kernels made of other ops' kernels.
#include "steps.h"

#include <algorithm>

namespace dw::cuda {

// Scratch memory: that of the steps, which run one after the other, then the values between them.
class Steps::Kernel final : public dw_kernel {
 public:
  Kernel(std::vector<Step> steps, const std::vector<size_t>& sizes) : steps_(std::move(steps)) {
    for (const Step& step : steps_) workspace = std::max(workspace, piece(step.kernel->workspace));
    for (const size_t size : sizes) {
      offsets_.push_back(workspace);
      workspace += piece(size);
    }
  }

  void run(const Launch& launch) override {
    for (const Step& step : steps_) {
      std::array<const void*, kMostOperands> inputs;
      std::array<void*, kMostOperands> outputs;
      for (size_t i = 0; i < step.inputCount; i++) inputs[i] = addressOf(launch, step.inputs[i]);
      for (size_t i = 0; i < step.outputCount; i++)
        outputs[i] = const_cast<void*>(addressOf(launch, step.outputs[i]));
      step.kernel->run({launch.device, inputs.data(), outputs.data(), launch.workspace});
    }
  }

 private:
  const void* addressOf(const Launch& launch, const Value& value) const {
    if (value.place == Value::Place::input) return launch.inputs[value.index];
    if (value.place == Value::Place::output) return launch.outputs[value.index];
    return launch.scratch<char>(offsets_[value.index]);
  }

  std::vector<Step> steps_;
  std::vector<size_t> offsets_;
};

Steps::Value Steps::between(const dw_aval& aval) {
  sizes_.push_back(static_cast<size_t>(elements(aval)) * byteSize(aval.dtype));
  return {Value::Place::scratch, static_cast<uint32_t>(sizes_.size() - 1), aval};
}

void Steps::add(dw_op op, std::initializer_list<Value> inputs, std::initializer_list<Value> outputs,
                const std::vector<double>& attributes) {
  std::vector<dw_aval> read, written;
  Step step = {};
  for (const Value& value : inputs) {
    step.inputs[step.inputCount++] = value;
    read.push_back(value.aval);
  }
  for (const Value& value : outputs) {
    step.outputs[step.outputCount++] = value;
    written.push_back(value.aval);
  }
  const dw_node raw = {static_cast<uint32_t>(op),
                       static_cast<uint32_t>(read.size()),
                       static_cast<uint32_t>(written.size()),
                       static_cast<uint32_t>(attributes.size()),
                       read.data(),
                       written.data(),
                       attributes.data()};
  const Node node(raw);
  const Op* found = findOp(raw.op);
  found->check(device_, node);
  step.kernel = found->prepare(device_, node);
  steps_.push_back(std::move(step));
}

KernelPointer Steps::finish() { return std::make_unique<Kernel>(std::move(steps_), sizes_); }

std::vector<double> attributesOf(const Node& node, uint32_t first, uint32_t count,
                                 std::initializer_list<int64_t> more) {
  std::vector<double> values;
  for (uint32_t i = first; i < first + count; i++) values.push_back(node.attribute(i));
  for (const int64_t value : more) values.push_back(static_cast<double>(value));
  return values;
}

}  // namespace dw::cuda
