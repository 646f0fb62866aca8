// Plans on cuDNN: heuristics, timed choice, and a cache in memory and on disk.
#ifndef DEPTHWISE_CUDNN_PLANS_H
#define DEPTHWISE_CUDNN_PLANS_H

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "selection.h"

namespace dw::cuda {

struct CudnnOptions {
  size_t workspaceLimit = size_t{256} << 20;
  SelectionLimits limits;
  std::string cacheFolder;      // "": plans are kept in memory only
  Timing* timing = nullptr;     // NULL on described devices; outlives the plans
  int threads = 1;              // that build plans beside each other
  std::function<void()> enter;  // called on each of these but the first
};

// Convolutions, normalization and pooling. Products of matrices are those of the Plans given as `products`,
// if any. May be asked from several threads; plans run on the stream's thread.
class CudnnPlans : public Plans {
 public:
  CudnnPlans(const TargetMaker& make, CudnnOptions options, std::unique_ptr<Plans> products = nullptr);

  std::string unsupported(const ConvolutionProblem& problem) override;
  std::string unsupported(const MatrixProblem& problem) override;
  std::string unsupported(const NormalizationProblem& problem) override;
  std::string unsupported(const PoolingProblem& problem) override;
  std::unique_ptr<Plan> plan(const ConvolutionProblem& problem) override;
  std::unique_ptr<Plan> plan(const MatrixProblem& problem) override;
  std::unique_ptr<Plan> plan(const NormalizationProblem& problem) override;
  std::unique_ptr<Plan> plan(const PoolingProblem& problem) override;
  Timing* timing() override { return options_.timing; }

  // All engines for a problem and what became of each; plans are built for the first `limits.plans` that may
  // be used.
  std::vector<Candidate> candidates(const ConvolutionProblem& problem, const SelectionLimits& limits);
  std::vector<Candidate> candidates(const NormalizationProblem& problem, const SelectionLimits& limits);
  std::vector<Candidate> candidates(const PoolingProblem& problem, const SelectionLimits& limits);

  // "NVIDIA H200, sm_90"
  const std::string& deviceName() const { return asked_->name(); }

 private:
  template <class Problem>
  std::string reasonAgainst(const Problem& problem);
  template <class Problem>
  std::unique_ptr<Plan> planOf(const Problem& problem);
  template <class Problem>
  std::vector<Candidate> candidatesOf(const Problem& problem, const SelectionLimits& limits);
  Selection chooseAndKeep(const GraphMaker& graph, const Requirements& requirements, const std::string& full);
  template <class Problem>
  Requirements requirementsOf(const Problem& problem) const;
  std::string fullKey(const std::string& key) const;

  CudnnOptions options_;
  PlanCache disk_;
  std::unique_ptr<Plans> products_;
  // What is supported is asked on a handle of its own: nobody who asks waits for plans being built.
  std::mutex asking_;  // of the maps too
  std::shared_ptr<const Target> asked_;
  std::mutex planning_;  // while a plan is made, and while one is launched
  Workshop workshop_;
  std::map<std::string, Selection> chosen_;
  std::map<std::string, std::string> reasons_;
};

}  // namespace dw::cuda

#endif
