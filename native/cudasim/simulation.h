// What tests can do to the simulation beside what CUDA's runtime does.
#ifndef DEPTHWISE_CUDASIM_SIMULATION_H
#define DEPTHWISE_CUDASIM_SIMULATION_H

#include <cuda_runtime.h>

#include <vector>

namespace cudasim {

// The next kernel that runs fails with this error, and every call after it, as when a device is lost.
void failNext(cudaError_t error);
// Bytes of device memory, of all devices together.
void limitMemory(uint64_t bytes);
// What went wrong in the last kernel; "" if nothing.
const char* message();
// How many kernels have run.
uint64_t launches();
// Everything works again.
void reset();

struct Range {
  const void* start;
  size_t bytes;
};
// Under AddressSanitizer: of the allocations that these lie in, kernels of the stream can reach nothing but
// these from now on. None: everything can be reached again.
void confine(const std::vector<Range>& ranges, cudaStream_t stream = nullptr);

}  // namespace cudasim

// The same for programs that have opened the plug-in.
extern "C" {
__attribute__((visibility("default"))) void cudasim_fail_next(int error);
__attribute__((visibility("default"))) void cudasim_limit_memory(uint64_t bytes);
__attribute__((visibility("default"))) void cudasim_reset();
__attribute__((visibility("default"))) uint64_t cudasim_launches();
}

#endif
