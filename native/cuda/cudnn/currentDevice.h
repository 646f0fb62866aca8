// A real device for plans: its handle of cuDNN, and its stopwatch. libdepthwise_cuda.so has one;
// libdepthwise_cudnn.so, which needs no CUDA, has none and says so.
#ifndef DEPTHWISE_CUDNN_CURRENT_DEVICE_H
#define DEPTHWISE_CUDNN_CURRENT_DEVICE_H

#include <memory>

#include "graph.h"

namespace dw::cuda {

class CurrentDevice {
 public:
  virtual ~CurrentDevice() = default;
  virtual std::shared_ptr<const Target> target() const = 0;
  virtual Stopwatch* stopwatch() = 0;
};

// Throws PlanError.
std::unique_ptr<CurrentDevice> openCurrentDevice(std::shared_ptr<const Cudnn> cudnn, int ordinal);

}  // namespace dw::cuda

#endif
