// The CUDA backend's side of the C interface: exceptions end here and become statuses.
//
// Launches are asynchronous: a kernel that fails is reported by a later call that waits. Some failures leave
// the device unusable for the rest of the process; these are reported in full once, and remembered.
#include <cstdio>
#include <new>

#include "check.h"
#include "op.h"
#ifdef DW_CUDASIM
#include "watch.h"
#endif

namespace dw::cuda {
namespace {

__attribute__((format(printf, 3, 4))) dw_status report(dw_error* error, dw_status status, const char* format,
                                                       ...) {
  if (error) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    error->requested = error->free = error->largest = 0;
  }
  return status;
}

dw_status reportMemory(dw_error* error, const char* what, uint64_t requested) {
  size_t available = 0, total = 0;
  if (cudaMemGetInfo(&available, &total) != cudaSuccess) cudaGetLastError();
  report(error, DW_OUT_OF_MEMORY, "%s: out of device memory: %llu bytes requested, %zu of %zu free", what,
         static_cast<unsigned long long>(requested), available, total);
  if (error) {
    error->requested = requested;
    error->free = available;
  }
  return DW_OUT_OF_MEMORY;
}

// Whether nothing works any more after an error: CUDA calls these sticky. By number, since versions differ in
// names.
bool losesDevice(cudaError_t error) {
  const int code = static_cast<int>(error);
  return code == 214 /* uncorrectable memory */ || code == 700 /* illegal address */ ||
         code == 702 /* timeout */ || code == 709 /* context destroyed */ || code == 710 /* assert */ ||
         (code >= 714 && code <= 719) /* faults */ || code == 999 /* unknown */;
}

dw_status reportCuda(dw_device* device, dw_error* error, const char* what, const CudaError& failure) {
  if (failure.error() == cudaErrorMemoryAllocation) return reportMemory(error, what, 0);
  report(error, DW_DEVICE_ERROR, "%s: %s: %s (%s)", what, failure.call(), failure.what(),
         cudaGetErrorName(failure.error()));
  if (device != nullptr && losesDevice(failure.error()) && !device->lost) {
    device->loss = error ? error->message : what;
    device->lost = true;
  }
  return DW_DEVICE_ERROR;
}

// Runs a body; whatever it throws becomes a status with the library's words. `what` names the node at hand.
template <class Body>
dw_status guard(dw_device* device, dw_error* error, const char* what, const Body& body) {
  if (device != nullptr && device->lost)
    return report(error, DW_DEVICE_ERROR, "%s: the device has failed in this process: %s", what,
                  device->loss.c_str());
  try {
    if (device != nullptr) device->use();
    try {
      body();
    } catch (const PlanError&) {
      // A library that runs on a lost device says no more than that something failed.
      if (device != nullptr) device->expectAlive();
      throw;
    }
    return DW_OK;
  } catch (const Error& failure) {
    return report(error, failure.status(), "%s", failure.what());
  } catch (const CudaError& failure) {
    return reportCuda(device, error, what, failure);
  } catch (const PlanError& failure) {
    const bool missing = failure.kind() == PlanError::Kind::unsupported;
    return report(error, missing ? DW_UNSUPPORTED : DW_DEVICE_ERROR, "%s: %s", what, failure.what());
  } catch (const std::bad_alloc&) {
    return report(error, DW_OUT_OF_MEMORY, "%s: out of host memory", what);
  } catch (const std::exception& failure) {
    return report(error, DW_INTERNAL, "%s: %s", what, failure.what());
  } catch (...) {
    return report(error, DW_INTERNAL, "%s: an unknown exception", what);
  }
}

dw_status openDevice(const dw_options* options, dw_device** device, dw_error* error) {
  return guard(nullptr, error, "open", [&] { *device = new dw_device(*options); });
}

void closeDevice(dw_device* device) { delete device; }

dw_status describeDevice(dw_device* device, char* json, size_t capacity, dw_error* error) {
  return guard(device, error, "describe", [&] {
    int driver = 0, runtime = 0;
    size_t available = 0, total = 0;
    check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
    check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
    check(cudaMemGetInfo(&available, &total), "cudaMemGetInfo");
    snprintf(
        json, capacity,
        "{\"backend\":\"" DW_BACKEND_NAME
        "\",\"gpu\":\"%s\",\"sm\":\"%d.%d\",\"multiprocessors\":%d,\"memory\":%zu,\"availableMemory\":%zu,"
        "\"driver\":\"%d.%d\",\"runtime\":\"%d.%d\",\"graphs\":%s,\"graphLaunches\":%llu}",
        device->properties.name, device->properties.major, device->properties.minor, device->multiprocessors,
        total, available, driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10,
        device->graphs ? "true" : "false", static_cast<unsigned long long>(device->graphLaunches.load()));
  });
}

dw_status allocate(dw_device* device, size_t bytes, void** pointer, dw_error* error) {
  const dw_status status =
      guard(device, error, "allocate", [&] { check(cudaMalloc(pointer, bytes), "cudaMalloc"); });
  return status == DW_OUT_OF_MEMORY ? reportMemory(error, "allocate", bytes) : status;
}

void release(dw_device* device, void* pointer, size_t) {
  dw_error error;
  // Waits for everything that runs on the device.
  guard(device, &error, "release", [&] { check(cudaFree(pointer), "cudaFree"); });
}

dw_status upload(dw_device* device, void* to, const void* from, size_t bytes, dw_error* error) {
  return guard(device, error, "upload", [&] { device->staging->upload(to, from, bytes); });
}

dw_status download(dw_device* device, void* to, const void* from, size_t bytes, dw_error* error) {
  return guard(device, error, "download", [&] { device->download(to, from, bytes); });
}

dw_status copyBytes(dw_device* device, void* to, const void* from, size_t bytes, dw_error* error) {
  return guard(device, error, "copy", [&] {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, device->stream), "cudaMemcpyAsync");
  });
}

// The op of a node that the backend can run; throws why it cannot.
const Op& checkedOp(const dw_device& device, const dw_node& node) {
  const Op* op = findOp(node.op);
  if (!op)
    throw Error(DW_UNSUPPORTED, "the " DW_BACKEND_NAME " backend does not have %s (op %u)", opName(node.op),
                node.op);
  op->check(device, Node(node));
  return *op;
}

dw_status supports(dw_device* device, const dw_node* node, dw_error* error) {
  return guard(device, error, opName(node->op), [&] { checkedOp(*device, *node); });
}

dw_status prepare(dw_device* device, const dw_node* node, dw_kernel** kernel, size_t* workspace,
                  dw_error* error) {
  return guard(device, error, opName(node->op), [&] {
    KernelPointer prepared = checkedOp(*device, *node).prepare(*device, Node(*node));
#ifdef DW_CUDASIM
    prepared = watch(std::move(prepared), Node(*node));
#endif
    prepared->op = opName(node->op);
    *workspace = prepared->workspace;
    *kernel = prepared.release();
  });
}

dw_status launchKernel(dw_device* device, dw_kernel* kernel, const void* const* inputs, void* const* outputs,
                       void* workspace, dw_error* error) {
  return guard(device, error, kernel->op, [&] { kernel->run({*device, inputs, outputs, workspace}); });
}

void destroy(dw_device* device, dw_kernel* kernel) {
  dw_error error;
  // Its code and constants may still be in use.
  guard(device, &error, kernel->op,
        [&] { check(cudaStreamSynchronize(device->stream), "cudaStreamSynchronize"); });
  delete kernel;
}

dw_status synchronize(dw_device* device, dw_error* error) {
  return guard(device, error, "synchronize", [&] { device->synchronize(); });
}

// What was recorded between capture_begin and capture_end: one launch for the device.
class Graph final : public dw_kernel {
 public:
  explicit Graph(cudaGraph_t graph) {
    op = "graph";
    check(cudaGraphInstantiate(&executable_, graph, 0), "cudaGraphInstantiate");
  }
  ~Graph() override { cudaGraphExecDestroy(executable_); }
  void run(const Launch& launch) override {
    check(cudaGraphLaunch(executable_, launch.stream()), "cudaGraphLaunch");
    launch.device.graphLaunches++;
  }

 private:
  cudaGraphExec_t executable_ = nullptr;
};

void lend(dw_device* device, void* memory, size_t bytes) { device->lent.lend(memory, bytes); }

dw_status captureBegin(dw_device* device, dw_error* error) {
  return guard(device, error, "capture", [&] {
    if (!device->graphs) throw Error(DW_UNSUPPORTED, "graphs are switched off (DEPTHWISE_CUDA_GRAPHS)");
    // Other threads may allocate meanwhile: only this one's calls are watched.
    check(cudaStreamBeginCapture(device->stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  });
}

dw_status captureEnd(dw_device* device, dw_kernel** kernel, dw_error* error) {
  return guard(device, error, "capture", [&] {
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(device->stream, &graph), "cudaStreamEndCapture");
    struct Destroy {
      cudaGraph_t graph;
      ~Destroy() { cudaGraphDestroy(graph); }
    } const destroys{graph};
    *kernel = new Graph(graph);
  });
}

const dw_backend backend = {
    DW_ABI_VERSION, DW_BACKEND_NAME, openDevice, closeDevice, describeDevice, allocate,     release,
    upload,         download,        copyBytes,  supports,    prepare,        launchKernel, destroy,
    synchronize,    captureBegin,    captureEnd, nullptr,     lend,
};

}  // namespace
}  // namespace dw::cuda

extern "C" __attribute__((visibility("default"))) const dw_backend* dw_backend_entry(uint32_t abi_version) {
  return abi_version == DW_ABI_VERSION ? &dw::cuda::backend : nullptr;
}
