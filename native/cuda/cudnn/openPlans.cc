// The libraries behind a CUDA device: cuDNN's handle, the stopwatch, cuBLASLt's products, and where plans are
// kept.
#include <cstdlib>
#include <cstring>

#include "../check.h"
#include "../cublas/products.h"
#include "../device.h"
#include "cudnnPlans.h"
#include "currentDevice.h"
#include "deviceStopwatch.h"
#include "node.h"

namespace dw::cuda {

namespace {

class Handle {
 public:
  explicit Handle(std::shared_ptr<const Cudnn> cudnn) : cudnn_(std::move(cudnn)) {
    cudnn_->check(cudnn_->cudnnCreate(&raw_), "cudnnCreate");
  }
  ~Handle() { cudnn_->cudnnDestroy(raw_); }
  Handle(const Handle&) = delete;
  cudnnHandle_t raw() const { return raw_; }

 private:
  std::shared_ptr<const Cudnn> cudnn_;
  cudnnHandle_t raw_ = nullptr;
};

std::string nameOf(const cudaDeviceProp& properties) {
  return std::string(properties.name) + ", sm_" + std::to_string(properties.major * 10 + properties.minor);
}

// The plans of one device, with what they need: members are destroyed from the last to the first.
class DevicePlans : public CudnnPlans {
 public:
  DevicePlans(std::unique_ptr<Handle> handle, std::unique_ptr<DeviceStopwatch> stopwatch,
              std::shared_ptr<const Target> target, const CudnnOptions& options,
              std::unique_ptr<Plans> products)
      : CudnnPlans(std::move(target), options, std::move(products)),
        handle_(std::move(handle)),
        stopwatch_(std::move(stopwatch)) {}
  ~DevicePlans() override { forget(); }  // before the handle goes

 private:
  std::unique_ptr<Handle> handle_;
  std::unique_ptr<DeviceStopwatch> stopwatch_;
};

// DEPTHWISE_PLAN_CACHE: a folder, or "off". Default: depthwise/plans in the user's cache folder.
std::string cacheFolder() {
  const char* given = std::getenv("DEPTHWISE_PLAN_CACHE");
  if (given != nullptr && *given != '\0') return std::strcmp(given, "off") == 0 ? "" : given;
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache == '/') return std::string(cache) + "/depthwise/plans";
  const char* home = std::getenv("HOME");
  return home != nullptr && *home == '/' ? std::string(home) + "/.cache/depthwise/plans" : "";
}

// DEPTHWISE_PLAN_SECONDS: no further plan of a graph is begun after this time. Engines that are compiled take
// up to ten seconds each; with 0 the first that can be built is taken.
SelectionLimits limits() {
  SelectionLimits limits;
  const char* given = std::getenv("DEPTHWISE_PLAN_SECONDS");
  if (given != nullptr && *given != '\0') limits.seconds = std::strtod(given, nullptr);
  return limits;
}

class RealDevice : public CurrentDevice {
 public:
  RealDevice(std::shared_ptr<const Cudnn> cudnn, int ordinal) {
    check(cudaSetDevice(ordinal), "cudaSetDevice");
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, ordinal), "cudaGetDeviceProperties");
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    stopwatch_ = std::make_unique<DeviceStopwatch>(stream_);
    handle_ = std::make_unique<Handle>(cudnn);
    target_ = std::make_shared<Target>(std::move(cudnn), handle_->raw(), nameOf(properties));
  }
  ~RealDevice() override {
    stopwatch_.reset();
    handle_.reset();
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
  }
  std::shared_ptr<const Target> target() const override { return target_; }
  Stopwatch* stopwatch() override { return stopwatch_.get(); }

 private:
  cudaStream_t stream_ = nullptr;
  std::unique_ptr<DeviceStopwatch> stopwatch_;
  std::unique_ptr<Handle> handle_;
  std::shared_ptr<const Target> target_;
};

}  // namespace

std::unique_ptr<CurrentDevice> openCurrentDevice(std::shared_ptr<const Cudnn> cudnn, int ordinal) try {
  return std::make_unique<RealDevice>(std::move(cudnn), ordinal);
} catch (const CudaError& error) {
  throw PlanError(PlanError::Kind::failed, std::string(error.call()) + ": " + error.what());
}

std::unique_ptr<Plans> openPlans(const dw_device& device, const dw_options& options) try {
  std::vector<std::string> folders;
  if (options.library_folder != nullptr && *options.library_folder != '\0')
    folders = {options.library_folder};
  const std::shared_ptr<const Cudnn> cudnn = openCudnn(folders);
  auto handle = std::make_unique<Handle>(cudnn);
  auto stopwatch = std::make_unique<DeviceStopwatch>(device.stream);
  auto target = std::make_shared<Target>(cudnn, handle->raw(), nameOf(device.properties));
  CudnnOptions settings;
  settings.cacheFolder = cacheFolder();
  settings.limits = limits();
  settings.stopwatch = stopwatch.get();
  std::unique_ptr<Plans> products = openProducts(target->name(), stopwatch.get(), settings.cacheFolder);
  return std::make_unique<DevicePlans>(std::move(handle), std::move(stopwatch), std::move(target), settings,
                                       std::move(products));
} catch (const PlanError& error) {
  throw dw::Error(DW_UNSUPPORTED, "%s", error.what());
}

}  // namespace dw::cuda
