// Kernels that are a library's plan, and the choice among several ways.
#include "planned.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <sstream>

#include "check.h"
#include "timing.h"

namespace dw::cuda {
namespace {

class Planned final : public dw_kernel {
 public:
  Planned(std::unique_ptr<Plan> plan, bool swapped) : plan_(std::move(plan)), swapped_(swapped) {
    workspace = plan_->workspaceBytes;
  }
  void run(const Launch& launch) override {
    if (!swapped_) return plan_->run(launch.stream(), launch.inputs, launch.outputs, launch.workspace);
    const void* operands[] = {launch.inputs[1], launch.inputs[0]};
    plan_->run(launch.stream(), operands, launch.outputs, launch.workspace);
  }

 private:
  std::unique_ptr<Plan> plan_;
  bool swapped_;
};

// Memory for timing, given back at the end.
class Trial {
 public:
  Trial(Stopwatch& stopwatch, const Node& node) : stopwatch_(stopwatch) {
    for (uint32_t i = 0; i < node.inputs(); i++) inputs_.push_back(take(bytesOf(node.input(i))));
    for (uint32_t i = 0; i < node.outputs(); i++) outputs_.push_back(take(bytesOf(node.output(i))));
  }
  ~Trial() {
    for (void* memory : taken_) stopwatch_.release(memory);
  }
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;

  // Whether there was memory for everything so far.
  bool complete() const { return complete_; }

  double time(dw_device& device, dw_kernel& kernel, double best) {
    void* workspace = kernel.workspace > 0 ? take(kernel.workspace) : nullptr;
    if (!complete_) return kNoTime;
    try {
      return timeOf(
          stopwatch_,
          [&] {
            kernel.run({device, inputs_.data(), outputs_.data(), workspace});
          },
          best);
    } catch (const PlanError&) {
      device.expectAlive();
      return kNoTime;  // a plan that does not run is no choice
    } catch (const CudaError& error) {
      // A way of ours that cannot be launched loses to the others, but not in silence.
      device.expectAlive();
      std::fprintf(stderr, "depthwise: a way of an op does not run: %s: %s\n", error.call(), error.what());
      return kNoTime;
    }
  }

 private:
  static size_t bytesOf(const dw_aval& aval) {
    return static_cast<size_t>(elements(aval)) * byteSize(aval.dtype);
  }
  void* take(size_t bytes) {
    void* memory = stopwatch_.allocate(std::max<size_t>(bytes, 1));
    if (memory == nullptr)
      complete_ = false;
    else
      taken_.push_back(memory);
    return memory;
  }

  Stopwatch& stopwatch_;
  bool complete_ = true;
  std::vector<const void*> inputs_;
  std::vector<void*> outputs_;
  std::vector<void*> taken_;
};

void describe(std::ostringstream& text, const dw_aval& aval) {
  text << ' ' << typeName(aval.dtype) << '[';
  for (int32_t i = 0; i < aval.rank; i++) text << (i > 0 ? "," : "") << aval.dims[i];
  text << ']';
}

// All that the fastest way depends on, apart from what is the same for the whole device.
std::string questionOf(const dw_device& device, const Node& node, const std::vector<Way>& ways) {
  std::ostringstream text;
  text.precision(17);
  text << node.name();
  for (uint32_t i = 0; i < node.inputs(); i++) describe(text, node.input(i));
  text << " ->";
  for (uint32_t i = 0; i < node.outputs(); i++) describe(text, node.output(i));
  for (uint32_t i = 0; i < node.attributes(); i++) text << ' ' << node.attribute(i);
  if (device.allowTf32) text << " tf32";
  text << " of";
  for (const Way& way : ways) text << ' ' << way.name << ';';
  return text.str();
}

// What share of the best time so far a way may take to be better. More scratch memory has to be worth it: the
// device keeps as much as the largest need.
double worth(const dw_kernel& best, const dw_kernel& other) {
  constexpr double kGain = 0.03, kGainOfGiB = 0.10;
  if (other.workspace <= best.workspace) return 1 - kGain;
  const double gibibytes = static_cast<double>(other.workspace - best.workspace) / (1 << 30);
  return 1 - kGain - (kGainOfGiB - kGain) * std::min(gibibytes, 1.0);
}

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

MatrixProblem matrixOf(const dw_device& device, int32_t dtype, int64_t m, int64_t n, int64_t k) {
  MatrixProblem problem;
  problem.m = m, problem.n = n, problem.k = k;
  problem.type = problem.result = dataType(dtype);
  problem.tf32 = device.allowTf32;
  problem.deterministic = device.deterministic;
  return problem;
}

KernelPointer makePlanned(std::unique_ptr<Plan> plan, bool swapped) {
  return std::make_unique<Planned>(std::move(plan), swapped);
}

KernelPointer fastestOf(dw_device& device, const Node& node, const std::vector<Way>& ways) {
  std::optional<PlanError> failure;
  const auto tryMake = [&](const Way& way) -> KernelPointer {
    try {
      return way.make();
    } catch (const PlanError& error) {
      device.expectAlive();
      failure = error;
      return nullptr;
    } catch (const Error& error) {
      if (error.status() != DW_UNSUPPORTED) throw;
      failure = PlanError(PlanError::Kind::unsupported, error.what());
      return nullptr;
    }
  };
  Timing* timing = device.deterministic || ways.size() < 2 ? nullptr : device.plans->timing();
  std::string question;
  if (timing != nullptr) {
    question = questionOf(device, node, ways);
    if (const auto answer = timing->choices.recall(question)) {
      for (const Way& way : ways)
        if (*answer == way.name)
          if (KernelPointer kernel = tryMake(way)) return kernel;
    }
    if (timing->budget.spent()) timing = nullptr;
  }
  if (timing == nullptr) {
    for (const Way& way : ways)
      if (KernelPointer kernel = tryMake(way)) return kernel;
    throw PlanError(*failure);
  }

  const Budget::Use use(timing->budget);
  // All are made before memory for timing is taken: making one may itself time others.
  struct Made {
    const Way& way;
    KernelPointer kernel;
  };
  std::vector<Made> made;
  for (const Way& way : ways)
    if (KernelPointer kernel = tryMake(way)) made.push_back({way, std::move(kernel)});
  if (made.empty()) throw PlanError(*failure);
  if (made.size() == 1) return std::move(made[0].kernel);
  Trial trial(timing->stopwatch, node);
  size_t best = 0;
  double bestTime = kNoTime;
  for (size_t i = 0; i < made.size(); i++) {
    const double time = trial.time(device, *made[i].kernel, bestTime);
    if (bestTime == kNoTime ? time < kNoTime : time < bestTime * worth(*made[best].kernel, *made[i].kernel)) {
      best = i;
      bestTime = time;
    }
  }
  if (trial.complete() && bestTime < kNoTime)
    timing->choices.keep(question, made[best].way.name, bestTime, static_cast<int>(made.size()));
  return std::move(made[best].kernel);
}

}  // namespace dw::cuda
