// Opening a device, waiting for it, and what kernels have reported.
#include "device.h"

#include <cstdlib>
#include <cstring>

#include "check.h"
#include "node.h"

namespace dw::cuda {
namespace {

// DEPTHWISE_CUDA_GRAPHS=off: every kernel is launched by itself, for comparison and for finding faults.
bool wantsGraphs() {
  const char* value = std::getenv("DEPTHWISE_CUDA_GRAPHS");
  return value == nullptr || (std::strcmp(value, "off") != 0 && std::strcmp(value, "0") != 0);
}

}  // namespace

Reports::~Reports() {
  cudaFree(device_);
  cudaFreeHost(host_);
}

Report* Reports::slot(cudaStream_t stream) {
  if (device_ == nullptr) {
    void *device = nullptr, *host = nullptr;
    check(cudaMallocHost(&host, sizeof(Report)), "cudaMallocHost");
    host_ = static_cast<Report*>(host);
    *host_ = {};
    check(cudaMalloc(&device, sizeof(Report)), "cudaMalloc");
    device_ = static_cast<Report*>(device);
    check(cudaMemsetAsync(device_, 0, sizeof(Report), stream), "cudaMemsetAsync");
  }
  return device_;
}

void Reports::fetch(cudaStream_t stream) {
  if (device_ == nullptr) return;
  check(cudaMemcpyAsync(host_, device_, sizeof(Report), cudaMemcpyDeviceToHost, stream), "cudaMemcpyAsync");
}

void Reports::raise(cudaStream_t stream) {
  if (host_ == nullptr || host_->op == 0) return;
  const Report report = *host_;
  *host_ = {};
  check(cudaMemsetAsync(device_, 0, sizeof(Report), stream), "cudaMemsetAsync");
  throw Error(DW_DEVICE_ERROR, "%s: label %d at index %lld is not from 0 to %lld",
              opName(static_cast<uint32_t>(report.op)), report.label, static_cast<long long>(report.index),
              static_cast<long long>(report.classes - 1));
}

}  // namespace dw::cuda

using dw::cuda::check;

dw_device::dw_device(const dw_options& options)
    : ordinal(options.ordinal),
      deterministic(options.deterministic != 0),
      allowTf32(options.allow_tf32 != 0),
      graphs(dw::cuda::wantsGraphs()) {
  int count = 0;
  check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  if (ordinal < 0 || ordinal >= count)
    throw dw::Error(DW_INVALID, "there are %d devices, from 0 on; got number %d", count, ordinal);
  use();
  check(cudaGetDeviceProperties(&properties, ordinal), "cudaGetDeviceProperties");
  multiprocessors = properties.multiProcessorCount;
  try {
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    staging = std::make_unique<dw::cuda::Staging>(stream);
    plans = dw::cuda::openPlans(*this, options);
  } catch (...) {
    staging.reset();
    if (stream != nullptr) cudaStreamDestroy(stream);
    throw;
  }
}

dw_device::~dw_device() {
  cudaSetDevice(ordinal);
  cudaStreamSynchronize(stream);
  plans.reset();
  staging.reset();
  cudaStreamDestroy(stream);
}

// Not remembered: another device, or a library, may have chosen since.
void dw_device::use() const { check(cudaSetDevice(ordinal), "cudaSetDevice"); }

void dw_device::synchronize() {
  reports.fetch(stream);
  check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  reports.raise(stream);
}

// Any call that reaches the device tells; this one neither waits nor disturbs a capture.
void dw_device::expectAlive() const {
  size_t available = 0, total = 0;
  check(cudaMemGetInfo(&available, &total), "cudaMemGetInfo");
}

void dw_device::download(void* to, const void* from, size_t bytes) {
  reports.fetch(stream);
  if (bytes > 0)
    staging->download(to, from, bytes);
  else
    check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  reports.raise(stream);
}
