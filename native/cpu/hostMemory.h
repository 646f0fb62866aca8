// Host memory for tensors: aligned, on huge pages where it is large, and refused instead of overcommitted.
#ifndef DEPTHWISE_CPU_HOST_MEMORY_H
#define DEPTHWISE_CPU_HOST_MEMORY_H

#include <cstddef>
#include <cstdint>

namespace dw::cpu {

// Bytes that can still be had without swapping, by the kernel's estimate and the control group's limit.
uint64_t availableMemory();
// Bytes of physical memory, or the control group's limit if that is lower.
uint64_t totalMemory();

// At least 64-byte aligned; from 2 MiB on, aligned to 2 MiB. NULL when memory is short.
void* allocateHost(size_t bytes);
void releaseHost(void* pointer, size_t bytes);

}  // namespace dw::cpu

#endif
