// Times by events on a CUDA device.
#include "deviceStopwatch.h"

#include <algorithm>
#include <string>
#include <vector>

namespace dw::cuda {

namespace {

void expect(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // the next call does not report it again
  throw PlanError(PlanError::Kind::failed, std::string(call) + ": " + cudaGetErrorString(error));
}

}  // namespace

DeviceStopwatch::DeviceStopwatch(cudaStream_t stream) : stream_(stream) {
  expect(cudaEventCreate(&begin_), "cudaEventCreate");
  expect(cudaEventCreate(&end_), "cudaEventCreate");
}

DeviceStopwatch::~DeviceStopwatch() {
  cudaEventDestroy(begin_);
  cudaEventDestroy(end_);
}

void* DeviceStopwatch::allocate(size_t bytes) {
  void* memory = nullptr;
  if (cudaMalloc(&memory, bytes > 0 ? bytes : 1) != cudaSuccess) {
    cudaGetLastError();
    return nullptr;
  }
  expect(cudaMemsetAsync(memory, 0, bytes, stream_), "cudaMemsetAsync");
  return memory;
}

void DeviceStopwatch::release(void* memory) { cudaFree(memory); }

double DeviceStopwatch::median(Stream stream, int runs, const std::function<void()>& launch) {
  const auto on = static_cast<cudaStream_t>(stream);
  std::vector<float> times;
  // Short work is repeated for about a millisecond: once, it takes as long as the host needs to launch it.
  int repeats = 1;
  for (int run = -2; run < runs; run++) {  // not counted: one that is cold, one that tells the repeats
    float milliseconds = 0;
    expect(cudaEventRecord(begin_, on), "cudaEventRecord");
    for (int i = 0; i < repeats; i++) launch();
    expect(cudaEventRecord(end_, on), "cudaEventRecord");
    expect(cudaEventSynchronize(end_), "cudaEventSynchronize");
    expect(cudaEventElapsedTime(&milliseconds, begin_, end_), "cudaEventElapsedTime");
    if (run == -1) repeats = static_cast<int>(std::clamp(1.0f / milliseconds, 1.0f, 32.0f));
    if (run >= 0) times.push_back(milliseconds / static_cast<float>(repeats));
  }
  if (times.empty()) return -1;
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

}  // namespace dw::cuda
