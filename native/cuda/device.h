// A CUDA device: its stream, pinned memory for copies from and to the host, what kernels report, and the
// plans of libraries.
#ifndef DEPTHWISE_CUDA_DEVICE_H
#define DEPTHWISE_CUDA_DEVICE_H

#include <cuda_runtime.h>

#include <atomic>
#include <memory>
#include <string>

#include "depthwise.h"
#include "lent.h"
#include "plans.h"
#include "report.h"
#include "staging.h"

struct dw_device {
  // Throws CudaError, or dw::Error.
  explicit dw_device(const dw_options& options);
  ~dw_device();
  dw_device(const dw_device&) = delete;
  dw_device& operator=(const dw_device&) = delete;

  // The device in use is a property of the calling thread.
  void use() const;
  // Returns when everything queued has finished. Throws what failed, and what kernels have reported.
  void synchronize();
  // Throws CudaError where the device is lost: a library that fails then says so in words of its own, which
  // hide the cause.
  void expectAlive() const;
  void download(void* to, const void* from, size_t bytes);

  int ordinal;
  bool deterministic;
  bool allowTf32;
  bool graphs;  // whether programs are captured
  std::atomic<uint64_t> graphLaunches{0};
  cudaDeviceProp properties;
  int multiprocessors;

  cudaStream_t stream = nullptr;
  std::unique_ptr<dw::cuda::Staging> staging;
  dw::cuda::Reports reports;
  dw::cuda::LentMemory lent;  // for choosing plans
  std::unique_ptr<dw::cuda::Plans> plans;

  // After some failures nothing works any more in this process. Written once, before `lost`.
  std::string loss;
  std::atomic<bool> lost{false};
};

namespace dw::cuda {

// The libraries behind the device: cuDNN and cuBLASLt, or the simulation's loops. Throws dw::Error.
std::unique_ptr<Plans> openPlans(dw_device& device, const dw_options& options);

}  // namespace dw::cuda

#endif
