// A backend for tests of the runtime: a few ops on host memory, some of which are slow or fail on purpose.
//
// What its ops do, beside the obvious for f32 tensors (fill, add, scale, reshape):
//   square      [milliseconds]  sleeps, then squares
//   relu        launch fails after spoiling its output
//   sigmoid     prepare fails: the backend supports it, but cannot do it when it comes to it
//   softmax     unsupported
//   elu         [bytes]  needs that much workspace, fills all of it, then copies
//   pad         writes one element behind its output, for AddressSanitizer to see
//   sum         the launches so far, as proof of what ran
// `threads` as an option is the memory it has, in MiB; 0 for plenty.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <thread>

#include "depthwise.h"

struct dw_device {
  uint64_t capacity;
  uint64_t used = 0;
  std::atomic<int> kernels{0};
  float launches = 0;
  std::mutex mutex;
};

struct dw_kernel {
  uint32_t op;
  size_t elements;
  double attribute;
  double second;
};

namespace {

dw_status refuse(dw_error* error, dw_status status, const char* message) {
  std::snprintf(error->message, sizeof error->message, "%s", message);
  error->requested = error->free = error->largest = 0;
  return status;
}

size_t elements(const dw_aval& aval) {
  size_t count = 1;
  for (int32_t axis = 0; axis < aval.rank; axis += 1) count *= static_cast<size_t>(aval.dims[axis]);
  return count;
}

dw_status open(const dw_options* options, dw_device** device, dw_error* error) {
  if (options->ordinal > 7) return refuse(error, DW_DEVICE_ERROR, "fake: there are 8 devices");
  *device = new dw_device;
  (*device)->capacity = options->threads > 0 ? uint64_t(options->threads) << 20 : UINT64_MAX;
  return DW_OK;
}

// A runtime that forgets memory or kernels would show here, at the end of every test.
void close(dw_device* device) {
  if (device->used != 0 || device->kernels != 0) {
    std::fprintf(stderr, "fake: closed with %llu bytes and %d kernels in use\n",
                 static_cast<unsigned long long>(device->used), device->kernels.load());
    std::abort();
  }
  delete device;
}

dw_status describe(dw_device* device, char* json, size_t capacity, dw_error*) {
  std::snprintf(json, capacity, "{\"library\": \"none\", \"kernels\": %d, \"simulated\": true}",
                device->kernels.load());
  return DW_OK;
}

dw_status allocate(dw_device* device, size_t bytes, void** pointer, dw_error* error) {
  const std::lock_guard lock(device->mutex);
  *pointer = bytes <= device->capacity - device->used ? std::aligned_alloc(64, bytes) : nullptr;
  if (*pointer == nullptr) {
    refuse(error, DW_OUT_OF_MEMORY, "fake: out of memory");
    error->requested = bytes;
    error->free = error->largest = device->capacity - device->used;
    return DW_OUT_OF_MEMORY;
  }
  device->used += bytes;
  return DW_OK;
}

void release(dw_device* device, void* pointer, size_t bytes) {
  const std::lock_guard lock(device->mutex);
  std::free(pointer);
  device->used -= bytes;
}

dw_status copyBytes(dw_device*, void* to, const void* from, size_t bytes, dw_error*) {
  if (bytes > 0) std::memcpy(to, from, bytes);
  return DW_OK;
}

dw_status supports(dw_device*, const dw_node* node, dw_error* error) {
  uint32_t inputs = 1;
  switch (node->op) {
    case DW_OP_fill:
    case DW_OP_sum:
    case DW_OP_pad: inputs = 0; break;
    case DW_OP_add: inputs = 2; break;
    case DW_OP_scale:
    case DW_OP_reshape:
    case DW_OP_square:
    case DW_OP_relu:
    case DW_OP_sigmoid:
    case DW_OP_elu: break;
    default: return refuse(error, DW_UNSUPPORTED, "the fake backend knows few ops");
  }
  if (node->op == DW_OP_sum && node->n_inputs == 1) inputs = 1;
  if (node->n_inputs != inputs || node->n_outputs != 1)
    return refuse(error, DW_INVALID, "wrong number of operands");
  const bool needsAttribute = node->op == DW_OP_scale || node->op == DW_OP_square || node->op == DW_OP_elu;
  if (node->n_attributes < (node->op == DW_OP_fill ? 2u : needsAttribute ? 1u : 0u)) {
    return refuse(error, DW_INVALID, "too few attributes");
  }
  for (uint32_t i = 0; i < node->n_inputs + node->n_outputs; i += 1) {
    const dw_aval& aval = i < node->n_inputs ? node->inputs[i] : node->outputs[i - node->n_inputs];
    if (aval.dtype != DW_F32) return refuse(error, DW_UNSUPPORTED, "the fake backend computes in f32");
    if (node->op != DW_OP_sum && elements(aval) != elements(node->outputs[0])) {
      return refuse(error, DW_INVALID, "operands of different sizes");
    }
  }
  if (node->op == DW_OP_sum && elements(node->outputs[0]) == 0)
    return refuse(error, DW_INVALID, "no room for the sum");
  if (node->op == DW_OP_elu && !(node->attributes[0] >= 0 && node->attributes[0] <= 1e12)) {
    return refuse(error, DW_INVALID, "elu: not a workspace");
  }
  if (node->op == DW_OP_square && !(node->attributes[0] >= 0 && node->attributes[0] <= 60000)) {
    return refuse(error, DW_INVALID, "square: not a time");
  }
  return DW_OK;
}

dw_status prepare(dw_device* device, const dw_node* node, dw_kernel** kernel, size_t* workspace,
                  dw_error* error) {
  if (node->op == DW_OP_sigmoid) return refuse(error, DW_UNSUPPORTED, "sigmoid: no algorithm after all");
  *kernel = new dw_kernel{node->op, elements(node->outputs[0]), 0, 0};
  if (node->n_attributes > 0) (*kernel)->attribute = node->attributes[0];
  if (node->n_attributes > 1) (*kernel)->second = node->attributes[1];
  *workspace = node->op == DW_OP_elu ? static_cast<size_t>(node->attributes[0]) : 0;
  device->kernels += 1;
  return DW_OK;
}

dw_status launch(dw_device* device, dw_kernel* kernel, const void* const* inputs, void* const* outputs,
                 void* workspace, dw_error* error) {
  const auto* a = static_cast<const float*>(inputs[0]);
  auto* y = static_cast<float*>(outputs[0]);
  device->launches += 1;
  switch (kernel->op) {
    case DW_OP_fill:
      for (size_t i = 0; i < kernel->elements; i += 1) y[i] = static_cast<float>(kernel->second);
      break;
    case DW_OP_add:
      for (size_t i = 0; i < kernel->elements; i += 1) y[i] = a[i] + static_cast<const float*>(inputs[1])[i];
      break;
    case DW_OP_scale:
      for (size_t i = 0; i < kernel->elements; i += 1) y[i] = a[i] * static_cast<float>(kernel->attribute);
      break;
    case DW_OP_square:
      std::this_thread::sleep_for(std::chrono::microseconds(static_cast<int64_t>(kernel->attribute * 1000)));
      for (size_t i = 0; i < kernel->elements; i += 1) y[i] = a[i] * a[i];
      break;
    case DW_OP_relu:
      std::memset(y, 0xff, kernel->elements * sizeof(float));
      return refuse(error, DW_DEVICE_ERROR, "relu: the fake device is on fire");
    case DW_OP_elu:
      std::memset(workspace, 0x5a, static_cast<size_t>(kernel->attribute));
      std::memmove(y, a, kernel->elements * sizeof(float));
      break;
    case DW_OP_pad: y[kernel->elements] = 1; break;
    case DW_OP_sum: y[0] = device->launches; break;
    default:
      if (y != a) std::memmove(y, a, kernel->elements * sizeof(float));
  }
  return DW_OK;
}

void destroy(dw_device* device, dw_kernel* kernel) {
  device->kernels -= 1;
  delete kernel;
}

dw_status synchronize(dw_device*, dw_error*) { return DW_OK; }

constexpr dw_backend kBackend = {
    DW_ABI_VERSION, "fake",   open,    close,  describe, allocate,    release, copyBytes, copyBytes,
    copyBytes,      supports, prepare, launch, destroy,  synchronize, nullptr, nullptr,
    nullptr,        nullptr,
};

}  // namespace

extern "C" __attribute__((visibility("default"))) const dw_backend* dw_backend_entry(uint32_t abi_version) {
  return abi_version == DW_ABI_VERSION ? &kBackend : nullptr;
}
