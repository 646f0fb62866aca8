// Kernels that are a library's plan.
#include "planned.h"

#include <algorithm>
#include <limits>
#include <vector>

namespace dw::cuda {
namespace {

class Planned final : public dw_kernel {
 public:
  explicit Planned(std::unique_ptr<Plan> plan) : plan_(std::move(plan)) { workspace = plan_->workspaceBytes; }
  void run(const Launch& launch) override {
    plan_->run(launch.stream(), launch.inputs, launch.outputs, launch.workspace);
  }

 private:
  std::unique_ptr<Plan> plan_;
};

// Memory for timing, given back at the end.
class Trial {
 public:
  Trial(Stopwatch& stopwatch, const Node& node) : stopwatch_(stopwatch) {
    for (uint32_t i = 0; i < node.inputs(); i++) inputs.push_back(take(bytesOf(node.input(i))));
    for (uint32_t i = 0; i < node.outputs(); i++) outputs.push_back(take(bytesOf(node.output(i))));
  }
  ~Trial() {
    for (void* memory : taken_) stopwatch_.release(memory);
  }
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;

  double median(dw_device& device, dw_kernel& kernel) {
    constexpr int kRuns = 5;
    void* workspace = kernel.workspace > 0 ? take(kernel.workspace) : nullptr;
    if (!complete) return 0;
    try {
      return stopwatch_.median(device.stream, kRuns, [&] {
        kernel.run({device, inputs.data(), outputs.data(), workspace});
      });
    } catch (const PlanError&) {
      return std::numeric_limits<double>::infinity();  // a plan that does not run is no choice
    }
  }

  bool complete = true;
  std::vector<const void*> inputs;
  std::vector<void*> outputs;

 private:
  static size_t bytesOf(const dw_aval& aval) {
    return static_cast<size_t>(elements(aval)) * byteSize(aval.dtype);
  }
  void* take(size_t bytes) {
    void* memory = stopwatch_.allocate(std::max<size_t>(bytes, 1));
    if (memory == nullptr)
      complete = false;
    else
      taken_.push_back(memory);
    return memory;
  }

  Stopwatch& stopwatch_;
  std::vector<void*> taken_;
};

}  // namespace

DataType dataType(int32_t dtype) {
  return dtype == DW_F16 ? DataType::f16 : dtype == DW_BF16 ? DataType::bf16 : DataType::f32;
}

ConvolutionProblem problemOf(const dw_device& device, const ConvolutionShape& conv, int32_t dtype,
                             Direction direction) {
  ConvolutionProblem problem;
  problem.direction = direction;
  problem.type = problem.result = dataType(dtype);
  problem.n = conv.n, problem.h = conv.h, problem.w = conv.w, problem.c = conv.c;
  problem.o = conv.o, problem.oh = conv.oh, problem.ow = conv.ow;
  problem.kernelH = conv.kernelH, problem.kernelW = conv.kernelW;
  problem.strideH = conv.window.strideH, problem.strideW = conv.window.strideW;
  problem.top = conv.window.top, problem.bottom = conv.window.bottom;
  problem.left = conv.window.left, problem.right = conv.window.right;
  problem.dilationH = conv.dilationH, problem.dilationW = conv.dilationW;
  problem.groups = conv.groups;
  problem.tf32 = device.allowTf32;
  problem.deterministic = device.deterministic;
  return problem;
}

KernelPointer makePlanned(std::unique_ptr<Plan> plan) { return std::make_unique<Planned>(std::move(plan)); }

KernelPointer fasterOf(dw_device& device, const Node& node, KernelPointer first, KernelPointer second) {
  if (first == nullptr) return second;
  Stopwatch* stopwatch = device.plans->stopwatch();
  if (stopwatch == nullptr || device.deterministic) return first;
  Trial trial(*stopwatch, node);
  const double one = trial.median(device, *first), other = trial.median(device, *second);
  return trial.complete && other < one ? std::move(second) : std::move(first);
}

}  // namespace dw::cuda
