// A backend's library and a device of it, with statuses turned into failures. Adds no policy.
#ifndef DEPTHWISE_RUNTIME_BACKEND_H
#define DEPTHWISE_RUNTIME_BACKEND_H

#include <cstddef>
#include <string>

#include "failure.h"

namespace dw {

// Opens the plug-in at `path` and checks that it speaks this ABI and is complete. Throws Load.
// A library once opened stays: thread pools of its own may outlive every device.
const dw_backend& loadBackend(const std::string& path);

class BackendDevice {
 public:
  BackendDevice(const dw_backend& api, const dw_options& options);
  ~BackendDevice();
  BackendDevice(const BackendDevice&) = delete;
  BackendDevice& operator=(const BackendDevice&) = delete;

  const char* name() const { return api_.name; }
  std::string describe();

  void* allocate(size_t bytes);
  void release(void* pointer, size_t bytes) { api_.release(device_, pointer, bytes); }

  void upload(void* to, const void* from, size_t bytes);
  void download(void* to, const void* from, size_t bytes);
  void copy(void* to, const void* from, size_t bytes);
  void synchronize();

  void supports(const dw_node& node);
  size_t packedBytes(const dw_node& node);  // 0: nothing to pack
  // Memory of the device's for what preparing tries out; null: taken back.
  void lend(void* memory, size_t bytes) {
    if (api_.lend != nullptr) api_.lend(device_, memory, bytes);
  }
  dw_kernel* prepare(const dw_node& node, size_t& workspace);
  void launch(dw_kernel* kernel, const void* const* inputs, void* const* outputs, void* workspace);
  void destroy(dw_kernel* kernel) { api_.destroy(device_, kernel); }

  // Whether launches between the two calls that follow can be recorded as one kernel, which is launched
  // without operands.
  bool records() const { return api_.capture_begin != nullptr && api_.capture_end != nullptr; }
  // False, or null, where the backend cannot record what it is asked to: for all that, launching goes on
  // working.
  bool beginRecording();
  dw_kernel* endRecording();

 private:
  const dw_backend& api_;
  dw_device* device_ = nullptr;
};

}  // namespace dw

#endif
