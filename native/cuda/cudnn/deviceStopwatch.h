// A stopwatch on a CUDA device: memory and events of the runtime.
#ifndef DEPTHWISE_CUDNN_DEVICE_STOPWATCH_H
#define DEPTHWISE_CUDNN_DEVICE_STOPWATCH_H

#include <cuda_runtime.h>

#include "../plans.h"

namespace dw::cuda {

// Of one stream, which stays the caller's.
class DeviceStopwatch : public Stopwatch {
 public:
  explicit DeviceStopwatch(cudaStream_t stream);
  ~DeviceStopwatch() override;
  DeviceStopwatch(const DeviceStopwatch&) = delete;

  void* allocate(size_t bytes) override;
  void release(void* memory) override;
  Stream stream() override { return stream_; }
  double median(Stream stream, int runs, const std::function<void()>& launch) override;

 private:
  cudaStream_t stream_;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace dw::cuda

#endif
