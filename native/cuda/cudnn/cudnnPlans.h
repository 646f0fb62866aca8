// Plans on cuDNN: heuristics, timed choice, and a cache in memory and on disk.
#ifndef DEPTHWISE_CUDNN_PLANS_H
#define DEPTHWISE_CUDNN_PLANS_H

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "planCache.h"
#include "selection.h"

namespace dw::cuda {

struct CudnnOptions {
  size_t workspaceLimit = size_t{256} << 20;
  SelectionLimits limits;
  std::string cacheFolder;         // "": plans are kept in memory only
  Stopwatch* stopwatch = nullptr;  // NULL on described devices; outlives the plans
};

// Convolutions, normalization and pooling. Products of matrices are those of the Plans given as `products`,
// if any. May be asked from several threads; plans run on the stream's thread.
class CudnnPlans : public Plans {
 public:
  CudnnPlans(std::shared_ptr<const Target> target, CudnnOptions options,
             std::unique_ptr<Plans> products = nullptr);

  std::string unsupported(const ConvolutionProblem& problem) override;
  std::string unsupported(const MatrixProblem& problem) override;
  std::string unsupported(const NormalizationProblem& problem) override;
  std::string unsupported(const PoolingProblem& problem) override;
  std::unique_ptr<Plan> plan(const ConvolutionProblem& problem) override;
  std::unique_ptr<Plan> plan(const MatrixProblem& problem) override;
  std::unique_ptr<Plan> plan(const NormalizationProblem& problem) override;
  std::unique_ptr<Plan> plan(const PoolingProblem& problem) override;
  Stopwatch* stopwatch() override { return options_.stopwatch; }

  // All engines for a problem and what became of each; plans are built for the first `limits.plans` that may
  // be used.
  std::vector<Candidate> candidates(const ConvolutionProblem& problem, const SelectionLimits& limits);
  std::vector<Candidate> candidates(const NormalizationProblem& problem, const SelectionLimits& limits);
  std::vector<Candidate> candidates(const PoolingProblem& problem, const SelectionLimits& limits);

 protected:
  // Drops all plans of this object. Those that were given out must be gone.
  void forget() { chosen_.clear(); }

 private:
  template <class Problem>
  std::string reasonAgainst(const Problem& problem);
  template <class Problem>
  std::unique_ptr<Plan> planOf(const Problem& problem);
  template <class Problem>
  std::vector<Candidate> candidatesOf(const Problem& problem, const SelectionLimits& limits);
  template <class Problem>
  Requirements requirementsOf(const Problem& problem) const;
  std::string fullKey(const std::string& key) const;

  std::shared_ptr<const Target> target_;
  CudnnOptions options_;
  PlanCache disk_;
  std::unique_ptr<Plans> products_;
  std::mutex mutex_;  // of the maps, and of the handle: while a plan is made, and while one is launched
  std::map<std::string, Selection> chosen_;
  std::map<std::string, std::string> reasons_;
};

}  // namespace dw::cuda

#endif
