// Loading of backends, and their calls with statuses turned into failures.
#include "backend.h"

#include <dlfcn.h>

#include <cstdlib>
#include <mutex>
#include <vector>

namespace dw {

namespace {

// Empty, for the callee to fill. Not zeroed: `dw_error` is a kilobyte, and launches are frequent.
struct EmptyError : dw_error {
  EmptyError() {
    message[0] = '\0';
    requested = free = largest = 0;
  }
};

// Threads of OpenMP that wait for each other spin first: by default for milliseconds, which takes the
// processor from whatever the machine does beside, even from the thread that is waited for (a step of
// Xception beside one compiler on two cores: 3.7 s, and 1.2 s with this). GNU's OpenMP reads the variable
// when it is loaded, as a part of a backend. A user's own setting stays.
void spinShortly() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (std::getenv("OMP_WAIT_POLICY") == nullptr) setenv("GOMP_SPINCOUNT", "10000", 0);
  });
}

}  // namespace

const dw_backend& loadBackend(const std::string& path) {
  spinShortly();
  dlerror();
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* reason = dlerror();
    fail(FailureKind::Load, "cannot load the backend %s: %s", path.c_str(),
         reason ? reason : "unknown reason");
  }
  const auto entry = reinterpret_cast<dw_backend_entry_function>(dlsym(library, DW_BACKEND_ENTRY));
  if (entry == nullptr) {
    fail(FailureKind::Load, "%s is not a depthwise backend: it has no symbol %s", path.c_str(),
         DW_BACKEND_ENTRY);
  }
  const dw_backend* api = entry(DW_ABI_VERSION);
  if (api == nullptr || api->abi_version != DW_ABI_VERSION) {
    fail(FailureKind::Load,
         "%s speaks another version of the backend interface (expected %u%s): rebuild both", path.c_str(),
         DW_ABI_VERSION, api ? text(", got %u", api->abi_version).c_str() : "");
  }
  const bool complete = api->name && api->open && api->close && api->describe && api->allocate &&
                        api->release && api->upload && api->download && api->copy && api->supports &&
                        api->prepare && api->launch && api->destroy && api->synchronize;
  if (!complete) fail(FailureKind::Load, "%s lacks functions that every backend must have", path.c_str());
  return *api;
}

BackendDevice::BackendDevice(const dw_backend& api, const dw_options& options) : api_(api) {
  EmptyError error;
  check(api_.open(&options, &device_, &error), error, "open");
  if (device_ == nullptr) fail(FailureKind::Internal, "%s: open made no device", api_.name);
}

BackendDevice::~BackendDevice() { api_.close(device_); }

std::string BackendDevice::describe() {
  std::vector<char> json(16384, '\0');
  EmptyError error;
  check(api_.describe(device_, json.data(), json.size(), &error), error, "describe");
  json.back() = '\0';
  return std::string(json.data());
}

void* BackendDevice::allocate(size_t bytes) {
  void* pointer = nullptr;
  EmptyError error;
  check(api_.allocate(device_, bytes, &pointer, &error), error, "allocate");
  if (pointer == nullptr) fail(FailureKind::Internal, "%s: allocate gave no memory and no reason", api_.name);
  return pointer;
}

void BackendDevice::upload(void* to, const void* from, size_t bytes) {
  EmptyError error;
  check(api_.upload(device_, to, from, bytes, &error), error, "upload");
}

void BackendDevice::download(void* to, const void* from, size_t bytes) {
  EmptyError error;
  check(api_.download(device_, to, from, bytes, &error), error, "download");
}

void BackendDevice::copy(void* to, const void* from, size_t bytes) {
  EmptyError error;
  check(api_.copy(device_, to, from, bytes, &error), error, "copy");
}

void BackendDevice::synchronize() {
  EmptyError error;
  check(api_.synchronize(device_, &error), error, "synchronize");
}

void BackendDevice::supports(const dw_node& node) {
  EmptyError error;
  check(api_.supports(device_, &node, &error), error, "supports");
}

size_t BackendDevice::packedBytes(const dw_node& node) {
  size_t bytes = 0;
  if (api_.packed_bytes == nullptr) return bytes;
  EmptyError error;
  check(api_.packed_bytes(device_, &node, &bytes, &error), error, "packed_bytes");
  return bytes;
}

dw_kernel* BackendDevice::prepare(const dw_node& node, size_t& workspace) {
  dw_kernel* kernel = nullptr;
  EmptyError error;
  check(api_.prepare(device_, &node, &kernel, &workspace, &error), error, "prepare");
  if (kernel == nullptr) fail(FailureKind::Internal, "%s: prepare made no kernel", api_.name);
  return kernel;
}

void BackendDevice::launch(dw_kernel* kernel, const void* const* inputs, void* const* outputs,
                           void* workspace) {
  EmptyError error;
  check(api_.launch(device_, kernel, inputs, outputs, workspace, &error), error, "launch");
}

bool BackendDevice::beginRecording() {
  EmptyError error;
  return api_.capture_begin(device_, &error) == DW_OK;
}

dw_kernel* BackendDevice::endRecording() {
  dw_kernel* recorded = nullptr;
  EmptyError error;
  return api_.capture_end(device_, &recorded, &error) == DW_OK ? recorded : nullptr;
}

}  // namespace dw
