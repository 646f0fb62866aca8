// What was chosen, on disk: one file per problem, device and version of the libraries, so that a second start
// neither compiles nor times. Knows text only.
#ifndef DEPTHWISE_CUDA_PLAN_CACHE_H
#define DEPTHWISE_CUDA_PLAN_CACHE_H

#include <optional>
#include <string>

#include "plans.h"

namespace dw::cuda {

struct StoredPlan {
  PlanDescription description;
  size_t workspace = 0;
  std::string saved;  // the library's own text of the plan
};

class PlanCache {
 public:
  // A folder that is made when the first plan is stored; "" keeps nothing.
  explicit PlanCache(std::string folder) : folder_(std::move(folder)) {}

  // The plan stored under a key, which is one line of text. None where the file is not there, is of another
  // key or of another format, or is damaged.
  std::optional<StoredPlan> load(const std::string& key) const;
  // Writes beside the file and renames, so that no reader sees half a plan. A folder that cannot be written
  // to is no error: the plan is chosen again the next time.
  void store(const std::string& key, const StoredPlan& plan) const;

  std::string fileOf(const std::string& key) const;

 private:
  std::string folder_;
};

// The key of a problem: every field by name, in one line.
std::string keyOf(const ConvolutionProblem& problem);
std::string keyOf(const MatrixProblem& problem);
std::string keyOf(const NormalizationProblem& problem);
std::string keyOf(const PoolingProblem& problem);

}  // namespace dw::cuda

#endif
