// In libdepthwise_cudnn.so: there is no CUDA here, only descriptions of devices.
#include "currentDevice.h"

namespace dw::cuda {

std::unique_ptr<CurrentDevice> openCurrentDevice(std::shared_ptr<const Cudnn>, int) {
  throw PlanError(PlanError::Kind::unsupported, "this library plans for described devices only");
}

}  // namespace dw::cuda
