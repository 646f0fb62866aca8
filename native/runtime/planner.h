// The library that plans for described devices and for real ones, behind depthwise_cudnn.h. Adds no policy.
#ifndef DEPTHWISE_RUNTIME_PLANNER_H
#define DEPTHWISE_RUNTIME_PLANNER_H

#include <string>
#include <vector>

#include "depthwise_cudnn.h"

namespace dw {

// What a dw_plans_request has, with owners. Empty texts stand for NULL.
struct PlansRequest {
  std::string library;  // the path of libdepthwise_cudnn.so or libdepthwise_cuda.so
  std::vector<double> problem;
  std::string folders, description, driver;
  int32_t ordinal = 0;
  int32_t plans = 0;
  double seconds = 0;
  uint64_t workspaceLimit = 0;
};

// The plans as JSON. Slow; any thread. Throws Failure.
std::string planWith(const PlansRequest& request);

}  // namespace dw

#endif
