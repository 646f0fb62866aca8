// The choice among engines.
#include "selection.h"

#include <chrono>
#include <map>

namespace dw::cuda {

namespace {

double now() {
  using Clock = std::chrono::steady_clock;
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

// Zeroed memory for all operands and a workspace, for timing.
class Scratch {
 public:
  Scratch(Stopwatch& stopwatch, const Binding& binding) : stopwatch_(stopwatch) {
    for (const size_t bytes : binding.inputBytes) inputs_.push_back(take(bytes));
    for (const size_t bytes : binding.outputBytes) outputs_.push_back(take(bytes));
  }
  Scratch(const Scratch&) = delete;
  ~Scratch() {
    for (void* memory : owned_) stopwatch_.release(memory);
    if (workspace_ != nullptr) stopwatch_.release(workspace_);
  }

  bool complete() const { return complete_; }

  // The median, or below 0 where there is no memory for the workspace.
  double time(Executable& executable, int runs) {
    if (executable.workspace() > workspaceBytes_) {
      if (workspace_ != nullptr) stopwatch_.release(workspace_);
      workspaceBytes_ = executable.workspace();
      workspace_ = stopwatch_.allocate(workspaceBytes_);
      if (workspace_ == nullptr) {
        workspaceBytes_ = 0;
        return -1;
      }
    }
    const Stream stream = stopwatch_.stream();
    return stopwatch_.median(stream, runs,
                             [&] { executable.run(stream, inputs_.data(), outputs_.data(), workspace_); });
  }

 private:
  void* take(size_t bytes) {
    void* memory = stopwatch_.allocate(bytes);
    if (memory != nullptr)
      owned_.push_back(memory);
    else
      complete_ = false;
    return memory;
  }

  Stopwatch& stopwatch_;
  std::vector<void*> owned_;
  std::vector<const void*> inputs_;
  std::vector<void*> outputs_;
  bool complete_ = true;
  void* workspace_ = nullptr;
  size_t workspaceBytes_ = 0;
};

}  // namespace

Binding::Binding(const Graph& graph) : scalars(graph.scalars()) {
  for (const Operand* operand : graph.inputs()) {
    inputs.push_back(operand->uid);
    inputBytes.push_back(operand->bytes);
  }
  for (const Operand* operand : graph.outputs()) {
    outputs.push_back(operand->uid);
    outputBytes.push_back(operand->bytes);
  }
}

Executable::Executable(std::shared_ptr<const Target> target, ExecutionPlan plan, Binding binding)
    : target_(std::move(target)), plan_(std::move(plan)), binding_(std::move(binding)) {}

void Executable::run(Stream stream, const void* const* inputs, void* const* outputs, void* workspace) {
  const Cudnn& cudnn = target_->cudnn();
  if (target_->described())
    throw PlanError(PlanError::Kind::unsupported, "a plan for a described device cannot run");
  bool same = static_cast<bool>(pack_);
  size_t at = 0;
  const auto place = [&](void* address) {
    if (at == addresses_.size()) addresses_.push_back(nullptr);
    same = same && addresses_[at] == address;
    addresses_[at++] = address;
  };
  for (size_t i = 0; i < binding_.inputs.size(); i++) place(const_cast<void*>(inputs[i]));
  for (size_t i = 0; i < binding_.outputs.size(); i++) place(outputs[i]);
  for (Scalar& scalar : binding_.scalars) place(&scalar.value);
  place(workspace);
  if (!same) {
    std::vector<int64_t> uids = binding_.inputs;
    uids.insert(uids.end(), binding_.outputs.begin(), binding_.outputs.end());
    for (const Scalar& scalar : binding_.scalars) uids.push_back(scalar.uid);
    pack_ = Descriptor();
    Descriptor pack(cudnn, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, uids)
        .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS,
             std::vector<void*>(addresses_.begin(), addresses_.end() - 1))
        .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, workspace)
        .finalize();
    pack_ = std::move(pack);
  }
  cudnn.check(cudnn.cudnnSetStream(target_->handle(), static_cast<cudaStream_t>(stream)), "cudnnSetStream");
  cudnn.check(cudnn.cudnnBackendExecute(target_->handle(), plan_.descriptor.raw(), pack_.raw()),
              "cudnnBackendExecute");
}

Selection choose(const std::shared_ptr<const Target>& target, Graph& graph, const Requirements& requirements,
                 const SelectionLimits& limits, Stopwatch* stopwatch, std::vector<Candidate>* candidates) {
  const Descriptor built = graph.build(*target);
  const Binding binding(graph);
  // Where the bits must repeat, the choice may not depend on times: they differ from one opening of a device
  // to the next.
  const bool repeats = requirements.deterministic && candidates == nullptr;
  const bool timed = !target->described() && stopwatch != nullptr && !repeats;
  std::unique_ptr<Scratch> scratch;
  if (timed) {
    scratch = std::make_unique<Scratch>(*stopwatch, binding);
    if (!scratch->complete()) scratch = nullptr;
  }

  Selection best;
  double bestTime = 0;
  int plans = 0, looked = 0;
  std::map<int64_t, int> perEngine;
  std::string lastReason;
  const double begun = now();
  for (Engine& engine : listEngines(*target, built)) {
    Candidate candidate;
    candidate.refused = refusal(engine, requirements);
    looked++;
    // Without a stopwatch the first plan is taken, and others are built only for a caller who asked to hear
    // of them.
    const bool enough = plans >= limits.plans ||
                        (best.executable != nullptr && !scratch && candidates == nullptr) ||
                        (plans > 0 && now() - begun > limits.seconds) ||
                        (scratch && perEngine[engine.index] >= limits.perEngine);
    if (candidate.refused.empty() && !enough) {
      const double started = now();
      try {
        ExecutionPlan plan = buildPlan(*target, engine);
        candidate.built = true;
        candidate.workspace = plan.workspace;
        candidate.buildSeconds = now() - started;
        if (plan.workspace > requirements.workspaceLimit) {
          candidate.refused = "workspace beyond the limit";
        } else {
          plans++;
          perEngine[engine.index]++;
          auto executable = std::make_shared<Executable>(target, std::move(plan), binding);
          if (scratch) candidate.milliseconds = scratch->time(*executable, limits.runs);
          const bool faster =
              candidate.milliseconds >= 0 && (bestTime < 0 || candidate.milliseconds < bestTime);
          if (best.executable == nullptr || faster) {
            bestTime = candidate.milliseconds;
            best.executable = std::move(executable);
            best.description.engine = engine.name();
            best.description.notes = engine.noteText();
            best.description.milliseconds = candidate.milliseconds;
          }
        }
      } catch (const PlanError& error) {
        candidate.refused = error.what();
        candidate.buildSeconds = now() - started;
      }
    }
    if (!candidate.refused.empty() && lastReason.empty())
      lastReason = engine.name() + ": " + candidate.refused;
    if (candidates != nullptr) {
      candidate.engine = std::move(engine);
      candidates->push_back(std::move(candidate));
    } else if (enough && plans >= limits.plans) {
      break;
    }
  }
  if (best.executable == nullptr && candidates == nullptr) {
    throw PlanError(PlanError::Kind::unsupported, looked == 0 ? "cuDNN " + target->cudnn().versionText() +
                                                                    " has no engine for this graph on " +
                                                                    target->name()
                                                              : "no engine can be used: " + lastReason);
  }
  best.description.library = "cuDNN " + target->cudnn().versionText();
  best.description.candidates = looked;
  return best;
}

}  // namespace dw::cuda
