// A real device for plans: handles of cuDNN, and its stopwatch. libdepthwise_cuda.so has one;
// libdepthwise_cudnn.so, which needs no CUDA, has none and says so.
#ifndef DEPTHWISE_CUDNN_CURRENT_DEVICE_H
#define DEPTHWISE_CUDNN_CURRENT_DEVICE_H

#include <memory>

#include "selection.h"

namespace dw::cuda {

class CurrentDevice {
 public:
  virtual ~CurrentDevice() = default;
  // Makes targets of it, on any thread that has entered.
  virtual TargetMaker targets() const = 0;
  // Makes it the device of the calling thread.
  virtual void enter() const = 0;
  // How many threads build plans.
  virtual int threads() const = 0;
  virtual Stopwatch& stopwatch() = 0;
};

// Throws PlanError.
std::unique_ptr<CurrentDevice> openCurrentDevice(std::shared_ptr<const Cudnn> cudnn, int ordinal);

}  // namespace dw::cuda

#endif
