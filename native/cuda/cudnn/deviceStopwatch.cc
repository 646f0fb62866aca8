// Times by events on a CUDA device.
#include "deviceStopwatch.h"

#include "../check.h"

namespace dw::cuda {

DeviceStopwatch::DeviceStopwatch(cudaStream_t stream, LentMemory* lent) : stream_(stream), lent_(lent) {
  check(cudaEventCreate(&begin_), "cudaEventCreate");
  check(cudaEventCreate(&end_), "cudaEventCreate");
}

DeviceStopwatch::~DeviceStopwatch() {
  cudaEventDestroy(begin_);
  cudaEventDestroy(end_);
}

void* DeviceStopwatch::allocate(size_t bytes) {
  void* memory = lent_ != nullptr ? lent_->take(bytes) : nullptr;
  if (memory == nullptr) {
    const cudaError_t error = cudaMalloc(&memory, bytes > 0 ? bytes : 1);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // the next call does not report it again
      return nullptr;
    }
    check(error, "cudaMalloc");
  }
  check(cudaMemsetAsync(memory, 0, bytes, stream_), "cudaMemsetAsync");
  return memory;
}

void DeviceStopwatch::release(void* memory) {
  if (lent_ == nullptr || !lent_->giveBack(memory)) cudaFree(memory);
}

double DeviceStopwatch::measure(int repeats, const std::function<void()>& launch) {
  float milliseconds = 0;
  check(cudaEventRecord(begin_, stream_), "cudaEventRecord");
  for (int i = 0; i < repeats; i++) launch();
  check(cudaEventRecord(end_, stream_), "cudaEventRecord");
  check(cudaEventSynchronize(end_), "cudaEventSynchronize");
  check(cudaEventElapsedTime(&milliseconds, begin_, end_), "cudaEventElapsedTime");
  return milliseconds;
}

}  // namespace dw::cuda
