// A stopwatch on a CUDA device: memory and events of the runtime.
#ifndef DEPTHWISE_CUDNN_DEVICE_STOPWATCH_H
#define DEPTHWISE_CUDNN_DEVICE_STOPWATCH_H

#include <cuda_runtime.h>

#include "../lent.h"
#include "../plans.h"

namespace dw::cuda {

// Of one stream, which stays the caller's. Memory is lent memory first, if there is any. Throws CudaError.
class DeviceStopwatch : public Stopwatch {
 public:
  explicit DeviceStopwatch(cudaStream_t stream, LentMemory* lent = nullptr);
  ~DeviceStopwatch() override;
  DeviceStopwatch(const DeviceStopwatch&) = delete;

  void* allocate(size_t bytes) override;
  void release(void* memory) override;
  Stream stream() override { return stream_; }
  double measure(int repeats, const std::function<void()>& launch) override;

 private:
  cudaStream_t stream_;
  LentMemory* lent_;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace dw::cuda

#endif
