// The libraries behind a CUDA device: cuDNN's handles, the stopwatch, cuBLASLt's products, and where choices
// are kept.
#include <algorithm>
#include <thread>

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

// A target with the handle that it is made for.
struct OwnTarget {
  Handle handle;
  Target target;
  OwnTarget(const std::shared_ptr<const Cudnn>& cudnn, const std::string& name)
      : handle(cudnn), target(cudnn, handle.raw(), name) {}
};

// Targets of the current device.
TargetMaker targetsOf(const std::shared_ptr<const Cudnn>& cudnn, const std::string& name) {
  return [=] {
    const auto own = std::make_shared<OwnTarget>(cudnn, name);
    return std::shared_ptr<const Target>(own, &own->target);
  };
}

std::string nameOf(const cudaDeviceProp& properties) {
  return std::string(properties.name) + ", sm_" + std::to_string(properties.major * 10 + properties.minor);
}

// Threads that build plans: half of the processor's, since others have work too.
int builders() { return static_cast<int>(std::clamp(std::thread::hardware_concurrency() / 2, 1u, 8u)); }

// The plans of one device, with what they time with. Plans hold the handles that they run on.
struct DeviceTiming {
  DeviceStopwatch stopwatch;
  Timing timing;
  DeviceTiming(dw_device& device, const std::string& context)
      : stopwatch(device.stream, &device.lent),
        timing(stopwatch, secondsForChoosing(), context, folderForChoices()) {}
};

class DevicePlans : public CudnnPlans {
 public:
  DevicePlans(std::unique_ptr<DeviceTiming> timing, const TargetMaker& make, const CudnnOptions& options,
              std::unique_ptr<Plans> products)
      : CudnnPlans(make, options, std::move(products)), timing_(std::move(timing)) {}

 private:
  std::unique_ptr<DeviceTiming> timing_;
};

class RealDevice : public CurrentDevice {
 public:
  RealDevice(std::shared_ptr<const Cudnn> cudnn, int ordinal) : ordinal_(ordinal), cudnn_(std::move(cudnn)) {
    check(cudaSetDevice(ordinal), "cudaSetDevice");
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, ordinal), "cudaGetDeviceProperties");
    name_ = nameOf(properties);
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    stopwatch_ = std::make_unique<DeviceStopwatch>(stream_);
  }
  ~RealDevice() override {
    stopwatch_.reset();
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
  }
  TargetMaker targets() const override { return targetsOf(cudnn_, name_); }
  void enter() const override { check(cudaSetDevice(ordinal_), "cudaSetDevice"); }
  int threads() const override { return builders(); }
  Stopwatch& stopwatch() override { return *stopwatch_; }

 private:
  int ordinal_;
  std::shared_ptr<const Cudnn> cudnn_;
  std::string name_;
  cudaStream_t stream_ = nullptr;
  std::unique_ptr<DeviceStopwatch> stopwatch_;
};

}  // namespace

std::unique_ptr<CurrentDevice> openCurrentDevice(std::shared_ptr<const Cudnn> cudnn, int ordinal) try {
  return std::make_unique<RealDevice>(std::move(cudnn), ordinal);
} catch (const CudaError& error) {
  throw PlanError(PlanError::Kind::failed, std::string(error.call()) + ": " + error.what());
}

std::unique_ptr<Plans> openPlans(dw_device& device, const dw_options& options) try {
  std::vector<std::string> folders;
  if (options.library_folder != nullptr && *options.library_folder != '\0')
    folders = {options.library_folder};
  const std::shared_ptr<const Cudnn> cudnn = openCudnn(folders);
  const std::string name = nameOf(device.properties);
  CudnnOptions settings;
  settings.cacheFolder = folderForChoices();
  settings.threads = builders();
  settings.enter = [ordinal = device.ordinal] { check(cudaSetDevice(ordinal), "cudaSetDevice"); };
  const std::string context = name + " | cuDNN " + cudnn->versionText() + " | kernels " DW_KERNELS;
  auto timing = std::make_unique<DeviceTiming>(device, context);
  settings.timing = &timing->timing;
  std::unique_ptr<Plans> products = openProducts(name, &timing->timing, settings.cacheFolder);
  return std::make_unique<DevicePlans>(std::move(timing), targetsOf(cudnn, name), settings,
                                       std::move(products));
} catch (const PlanError& error) {
  throw dw::Error(DW_UNSUPPORTED, "%s", error.what());
}

}  // namespace dw::cuda
