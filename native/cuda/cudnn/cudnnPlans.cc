// Plans on cuDNN.
#include "cudnnPlans.h"

#include <algorithm>
#include <cstdio>
#include <optional>

namespace dw::cuda {

namespace {

class CudnnPlan : public Plan {
 public:
  CudnnPlan(const Selection& selection, std::mutex& mutex)
      : executable_(selection.executable), mutex_(mutex) {
    workspaceBytes = executable_->workspace();
    description = selection.description;
  }
  void run(Stream stream, const void* const* inputs, void* const* outputs, void* workspace) override {
    // A handle is for one thread at a time, and another may be choosing.
    const std::lock_guard<std::mutex> lock(mutex_);
    executable_->run(stream, inputs, outputs, workspace);
  }

 private:
  std::shared_ptr<Executable> executable_;
  std::mutex& mutex_;
};

// cuDNN indexes the tensors of grouped convolutions with 32 bits: beyond that its results are known to be
// wrong.
constexpr int64_t kMostGroupedElements = int64_t{1} << 31;

std::string knownFailure(const ConvolutionProblem& p) {
  if (p.groups == 1) return "";
  const int64_t most = std::max(p.n * p.h * p.w * p.c, p.n * p.oh * p.ow * p.o);
  if (most < kMostGroupedElements) return "";
  return "cuDNN's grouped convolutions of 2^31 or more elements give wrong results";
}

std::string knownFailure(const NormalizationProblem& p) {
  if (p.type != DataType::f32 && p.c % 8 != 0)
    return "cuDNN normalizes 16-bit images of multiples of 8 channels only";
  return "";
}

std::string knownFailure(const PoolingProblem&) { return ""; }

}  // namespace

CudnnPlans::CudnnPlans(const TargetMaker& make, CudnnOptions options, std::unique_ptr<Plans> products)
    : options_(std::move(options)),
      disk_(options_.cacheFolder),
      products_(std::move(products)),
      asked_(make()),
      workshop_(make, options_.threads, options_.enter) {}

template <>
Requirements CudnnPlans::requirementsOf(const ConvolutionProblem& p) const {
  return {p.type, p.tf32, p.deterministic, options_.workspaceLimit};
}

// Normalization and pooling multiply no matrices: what an engine notes of tensor cores is not about them.
template <>
Requirements CudnnPlans::requirementsOf(const NormalizationProblem& p) const {
  return {p.type, true, false, options_.workspaceLimit};
}

template <>
Requirements CudnnPlans::requirementsOf(const PoolingProblem& p) const {
  return {p.type, true, p.deterministic, options_.workspaceLimit};
}

std::string CudnnPlans::fullKey(const std::string& key) const {
  return key + " | " + asked_->name() + " | cuDNN " + asked_->cudnn().versionText() + " | workspace " +
         std::to_string(options_.workspaceLimit);
}

template <class Problem>
std::string CudnnPlans::reasonAgainst(const Problem& problem) {
  const std::string failure = knownFailure(problem);
  if (!failure.empty()) return failure;
  const std::string key = keyOf(problem);
  const std::lock_guard<std::mutex> lock(asking_);
  if (chosen_.count(key) > 0) return "";
  const auto known = reasons_.find(key);
  if (known != reasons_.end()) return known->second;
  std::string reason;
  const Cudnn& cudnn = asked_->cudnn();
  try {
    const Requirements requirements = requirementsOf(problem);
    const std::unique_ptr<Graph> graph = graphOf(cudnn, problem);
    reason = "cuDNN " + cudnn.versionText() + " has no engine for this graph on " + asked_->name();
    for (const Engine& engine : listEngines(*asked_, graph->build(*asked_))) {
      reason = refusal(engine, requirements);
      if (reason.empty()) break;
    }
  } catch (const PlanError& error) {
    reason = error.what();
  }
  return reasons_[key] = reason;
}

template <class Problem>
std::unique_ptr<Plan> CudnnPlans::planOf(const Problem& problem) {
  const std::string failure = knownFailure(problem);
  if (!failure.empty()) throw PlanError(PlanError::Kind::unsupported, failure);
  const std::string key = keyOf(problem), full = fullKey(key);
  const std::lock_guard<std::mutex> lock(planning_);
  {
    const std::lock_guard<std::mutex> asking(asking_);
    const auto known = chosen_.find(key);
    if (known != chosen_.end()) return std::make_unique<CudnnPlan>(known->second, planning_);
  }
  const auto graph = [&](const Cudnn& cudnn) { return graphOf(cudnn, problem); };
  Selection selection;
  if (const auto stored = disk_.load(full)) {
    try {
      const std::shared_ptr<const Target>& target = workshop_.target(0);
      ExecutionPlan plan = restorePlan(*target, stored->saved);
      selection.executable =
          std::make_shared<Executable>(target, std::move(plan), Binding(*graph(target->cudnn())));
      selection.description = stored->description;
    } catch (const PlanError& error) {
      // Saved by a driver or a build of cuDNN that this one does not follow: chosen anew, and stored over it.
      std::fprintf(stderr, "depthwise: a kept plan is of no use and chosen anew: %s\n", error.what());
    }
  }
  if (selection.executable == nullptr) selection = chooseAndKeep(graph, requirementsOf(problem), full);
  const std::lock_guard<std::mutex> asking(asking_);
  const auto placed = chosen_.emplace(key, std::move(selection)).first;
  return std::make_unique<CudnnPlan>(placed->second, planning_);
}

Selection CudnnPlans::chooseAndKeep(const GraphMaker& graph, const Requirements& requirements,
                                    const std::string& full) {
  Timing* timing = options_.timing;
  std::optional<Budget::Use> use;
  if (timing != nullptr) use.emplace(timing->budget);
  Selection selection = choose(workshop_, graph, requirements, options_.limits, timing);
  // Where there was no time or no memory to choose, the next process may have it.
  const bool timed = selection.description.milliseconds >= 0;
  if (timing != nullptr && !timed && !requirements.deterministic) return selection;
  try {
    disk_.store(full, {selection.description, selection.executable->workspace(),
                       savePlan(selection.executable->plan())});
  } catch (const PlanError&) {
    // Not every engine has a text. Chosen again the next time.
  }
  return selection;
}

template <class Problem>
std::vector<Candidate> CudnnPlans::candidatesOf(const Problem& problem, const SelectionLimits& limits) {
  const std::string failure = knownFailure(problem);
  if (!failure.empty()) throw PlanError(PlanError::Kind::unsupported, failure);
  const std::lock_guard<std::mutex> lock(planning_);
  std::vector<Candidate> all;
  choose(
      workshop_, [&](const Cudnn& cudnn) { return graphOf(cudnn, problem); }, requirementsOf(problem), limits,
      options_.timing, &all);
  return all;
}

std::string CudnnPlans::unsupported(const ConvolutionProblem& problem) { return reasonAgainst(problem); }
std::string CudnnPlans::unsupported(const NormalizationProblem& problem) { return reasonAgainst(problem); }
std::string CudnnPlans::unsupported(const PoolingProblem& problem) { return reasonAgainst(problem); }
std::string CudnnPlans::unsupported(const MatrixProblem& problem) {
  return products_ != nullptr ? products_->unsupported(problem) : "cuBLASLt is not there";
}

std::unique_ptr<Plan> CudnnPlans::plan(const ConvolutionProblem& problem) { return planOf(problem); }
std::unique_ptr<Plan> CudnnPlans::plan(const NormalizationProblem& problem) { return planOf(problem); }
std::unique_ptr<Plan> CudnnPlans::plan(const PoolingProblem& problem) { return planOf(problem); }
std::unique_ptr<Plan> CudnnPlans::plan(const MatrixProblem& problem) {
  if (products_ == nullptr) throw PlanError(PlanError::Kind::unsupported, unsupported(problem));
  return products_->plan(problem);
}

std::vector<Candidate> CudnnPlans::candidates(const ConvolutionProblem& problem,
                                              const SelectionLimits& limits) {
  return candidatesOf(problem, limits);
}
std::vector<Candidate> CudnnPlans::candidates(const NormalizationProblem& problem,
                                              const SelectionLimits& limits) {
  return candidatesOf(problem, limits);
}
std::vector<Candidate> CudnnPlans::candidates(const PoolingProblem& problem, const SelectionLimits& limits) {
  return candidatesOf(problem, limits);
}

}  // namespace dw::cuda
