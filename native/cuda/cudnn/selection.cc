// The choice among engines.
#include "selection.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <exception>
#include <map>
#include <optional>
#include <thread>

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

  // The time, or kNoTime where there is no memory for the workspace.
  double time(Executable& executable, double best) {
    if (executable.workspace() > workspaceBytes_) {
      if (workspace_ != nullptr) stopwatch_.release(workspace_);
      workspaceBytes_ = executable.workspace();
      workspace_ = stopwatch_.allocate(workspaceBytes_);
      if (workspace_ == nullptr) {
        workspaceBytes_ = 0;
        return kNoTime;
      }
    }
    return timeOf(
        stopwatch_, [&] { executable.run(stopwatch_.stream(), inputs_.data(), outputs_.data(), workspace_); },
        best);
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

// One thread's means to build plans of a graph: the graph, and what the heuristics propose for it.
struct Builder {
  std::shared_ptr<const Target> target;
  std::unique_ptr<Graph> graph;
  Descriptor built;
  std::vector<Engine> engines;

  Builder(std::shared_ptr<const Target> onTarget, const GraphMaker& graphOf)
      : target(std::move(onTarget)),
        graph(graphOf(target->cudnn())),
        built(graph->build(*target)),
        engines(listEngines(*target, built)) {}

  const Engine* find(const std::string& name) const {
    for (const Engine& engine : engines)
      if (engine.name() == name) return &engine;
    return nullptr;
  }
};

// One engine to be tried, and what came of it.
struct Attempt {
  size_t at;  // in the list of engines
  std::shared_ptr<const Target> target;
  std::optional<ExecutionPlan> plan;
  std::string refused;
  double seconds = 0;
  bool tried = false;
};

// Builds plans, on several threads where that pays.
class Building {
 public:
  Building(Workshop& workshop, const GraphMaker& graphOf, const Builder& first, size_t workspaceLimit,
           double seconds)
      : workshop_(workshop),
        graphOf_(graphOf),
        first_(first),
        builders_(workshop.threads()),
        workspaceLimit_(workspaceLimit),
        seconds_(seconds) {}

  // No further plan is begun: there are some that may be used, and the time is over.
  bool late() const { return usable_ > 0 && now() - begun_ > seconds_; }

  // A plan that was built does not run after all.
  void discard() { usable_--; }

  void build(std::vector<Attempt>& attempts) {
    size_t compiled = 0;
    for (const Attempt& attempt : attempts) compiled += first_.engines[attempt.at].compiled() ? 1 : 0;
    const size_t threads = std::min(workshop_.threads(), compiled);
    std::atomic<size_t> next{0};
    std::vector<std::thread> others;
    for (size_t worker = 1; worker < threads; worker++)
      others.emplace_back([&, worker] { work(worker, attempts, next); });
    std::exception_ptr failure;
    try {
      while (const auto at = take(attempts, next))
        attempt(attempts[*at], first_, first_.engines[attempts[*at].at]);
    } catch (...) {
      failure = std::current_exception();
    }
    for (std::thread& thread : others) thread.join();
    if (failure != nullptr) std::rethrow_exception(failure);
    // What others took and could not build for want of means. Attempts are left only where it is late.
    for (Attempt& left : attempts)
      if (!left.tried && !late()) attempt(left, first_, first_.engines[left.at]);
  }

 private:
  std::optional<size_t> take(const std::vector<Attempt>& attempts, std::atomic<size_t>& next) const {
    if (late()) return std::nullopt;
    const size_t at = next++;
    return at < attempts.size() ? std::optional<size_t>(at) : std::nullopt;
  }

  // What goes wrong here is left to the first thread, which fails in the same way or does not.
  void work(size_t worker, std::vector<Attempt>& attempts, std::atomic<size_t>& next) try {
    const std::shared_ptr<const Target>& target = workshop_.target(worker);
    if (builders_[worker] == nullptr) builders_[worker] = std::make_unique<Builder>(target, graphOf_);
    const Builder& builder = *builders_[worker];
    while (const auto at = take(attempts, next)) {
      const Engine* engine = builder.find(first_.engines[attempts[*at].at].name());
      if (engine != nullptr) attempt(attempts[*at], builder, *engine);
    }
  } catch (const std::exception&) {
  }

  void attempt(Attempt& attempt, const Builder& builder, const Engine& engine) {
    const double started = now();
    try {
      attempt.plan = buildPlan(*builder.target, engine);
      attempt.target = builder.target;
      if (attempt.plan->workspace > workspaceLimit_)
        attempt.refused = "workspace beyond the limit";
      else
        usable_++;
    } catch (const PlanError& error) {
      attempt.refused = error.what();
    }
    attempt.seconds = now() - started;
    attempt.tried = true;
  }

  Workshop& workshop_;
  const GraphMaker& graphOf_;
  const Builder& first_;
  std::vector<std::unique_ptr<Builder>> builders_;
  const size_t workspaceLimit_;
  const double seconds_;
  const double begun_ = now();
  std::atomic<int> usable_{0};
};

}  // namespace

const std::shared_ptr<const Target>& Workshop::target(size_t worker) {
  if (worker > 0 && enter_) enter_();
  if (targets_[worker] == nullptr) targets_[worker] = make_();
  return targets_[worker];
}

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

Selection choose(Workshop& workshop, const GraphMaker& graphOf, const Requirements& requirements,
                 const SelectionLimits& limits, Timing* timing, std::vector<Candidate>* candidates) {
  Builder first(workshop.target(0), graphOf);
  const Target& target = *first.target;
  const Binding binding(*first.graph);
  // Where the bits must repeat, the choice may not depend on times: they differ from one opening of a device
  // to the next.
  const bool repeats = requirements.deterministic && candidates == nullptr;
  std::unique_ptr<Scratch> scratch;
  if (timing != nullptr && !target.described() && !repeats && !timing->budget.spent()) {
    scratch = std::make_unique<Scratch>(timing->stopwatch, binding);
    if (!scratch->complete()) scratch = nullptr;
  }
  // Without a stopwatch the first plan is taken, and others are built only for a caller who asked to hear of
  // them.
  const int wanted = scratch || candidates != nullptr ? limits.plans : 1;

  // Plans are built and timed in turns of as many as are still wanted. However little time is left, turns go on
  // until there is a plan that may be used.
  std::vector<Candidate> all(first.engines.size());
  // One question may not take more than is left for all.
  const double seconds = scratch ? std::min(limits.seconds, timing->budget.left()) : limits.seconds;
  Building building(workshop, graphOf, first, requirements.workspaceLimit, seconds);
  std::map<int64_t, int> perEngine;
  std::deque<size_t> waiting;
  for (size_t at = 0; at < all.size(); at++) {
    all[at].refused = refusal(first.engines[at], requirements);
    if (all[at].refused.empty()) waiting.push_back(at);
  }
  Selection best;
  double bestTime = kNoTime;
  int usable = 0;
  while (!waiting.empty() && usable < wanted && !building.late()) {
    std::vector<Attempt> attempts;
    while (!waiting.empty() && usable + static_cast<int>(attempts.size()) < wanted) {
      const size_t at = waiting.front();
      waiting.pop_front();
      const Engine& engine = first.engines[at];
      const int most = engine.compiled() ? limits.perCompiled : limits.perEngine;
      if (scratch && perEngine[engine.index] >= most) continue;
      perEngine[engine.index]++;
      attempts.push_back({at, nullptr, std::nullopt, "", 0, false});
    }
    building.build(attempts);
    std::vector<size_t> left;
    for (Attempt& attempt : attempts) {
      const Engine& engine = first.engines[attempt.at];
      Candidate& candidate = all[attempt.at];
      if (!attempt.tried) {
        left.push_back(attempt.at);
      } else {
        candidate.refused = attempt.refused;
        candidate.buildSeconds = attempt.seconds;
        candidate.built = attempt.plan.has_value();
        if (attempt.plan) candidate.workspace = attempt.plan->workspace;
      }
      if (!attempt.tried || !candidate.refused.empty()) {
        perEngine[engine.index]--;
        continue;
      }
      const auto executable =
          std::make_shared<Executable>(std::move(attempt.target), std::move(*attempt.plan), binding);
      double time = kNoTime;
      try {
        if (scratch) time = scratch->time(*executable, bestTime);
      } catch (const PlanError& error) {
        candidate.refused = error.what();
        building.discard();
        continue;
      }
      usable++;
      if (time < kNoTime) candidate.milliseconds = time;
      if (best.executable != nullptr && !(time < bestTime)) continue;
      bestTime = time;
      best.executable = executable;
      best.description.engine = engine.name();
      best.description.notes = engine.noteText();
      best.description.milliseconds = candidate.milliseconds;
    }
    waiting.insert(waiting.begin(), left.begin(), left.end());
  }

  std::string lastReason;
  for (size_t i = 0; i < all.size(); i++)
    if (!all[i].refused.empty() && lastReason.empty())
      lastReason = first.engines[i].name() + ": " + all[i].refused;
  if (best.executable == nullptr && candidates == nullptr) {
    throw PlanError(PlanError::Kind::unsupported, all.empty() ? "cuDNN " + target.cudnn().versionText() +
                                                                    " has no engine for this graph on " +
                                                                    target.name()
                                                              : "no engine can be used: " + lastReason);
  }
  best.description.library = "cuDNN " + target.cudnn().versionText();
  best.description.candidates = static_cast<int>(all.size());
  if (candidates != nullptr) {
    for (size_t i = 0; i < all.size(); i++) all[i].engine = std::move(first.engines[i]);
    *candidates = std::move(all);
  }
  return best;
}

}  // namespace dw::cuda
