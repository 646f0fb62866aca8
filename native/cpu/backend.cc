// The CPU backend's side of the C interface: exceptions end here and become statuses.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "hostMemory.h"
#include "op.h"

namespace dw::cpu {
namespace {

const char* nameOf(dnnl_status_t status) {
  switch (status) {
    case dnnl_out_of_memory:
      return "out of memory";
    case dnnl_invalid_arguments:
      return "invalid arguments";
    case dnnl_unimplemented:
      return "unimplemented";
    case dnnl_runtime_error:
      return "runtime error";
    default:
      return "error";
  }
}

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

dw_status reportMemory(dw_error* error, uint64_t requested) {
  const uint64_t available = availableMemory();
  report(error, DW_OUT_OF_MEMORY, "cpu: cannot allocate %llu bytes, %llu are available",
         static_cast<unsigned long long>(requested), static_cast<unsigned long long>(available));
  if (error) {
    error->requested = requested;
    error->free = available;
  }
  return DW_OUT_OF_MEMORY;
}

// Runs a body; whatever it throws becomes a status with the library's words. `op` names the node at hand.
template <class Body>
dw_status guard(dw_error* error, const char* op, const Body& body) {
  try {
    body();
    return DW_OK;
  } catch (const Error& failure) {
    return report(error, failure.status(), "%s", failure.what());
  } catch (const dnnl::error& failure) {
    if (failure.status == dnnl_out_of_memory) return reportMemory(error, 0);
    const dw_status status = failure.status == dnnl_unimplemented ? DW_UNSUPPORTED : DW_DEVICE_ERROR;
    return report(error, status, "%s: oneDNN: %s (%s)", op, failure.message, nameOf(failure.status));
  } catch (const std::bad_alloc&) {
    return reportMemory(error, 0);
  } catch (const std::exception& failure) {
    return report(error, DW_INTERNAL, "%s: %s", op, failure.what());
  } catch (...) {
    return report(error, DW_INTERNAL, "%s: an unknown exception", op);
  }
}

// Limits oneDNN as well, so that one variable shows how the whole backend does on a lesser processor.
void limitOnednn(const char* isa) {
  if (!isa || !*isa) return;
  // Refused once oneDNN has made a primitive; then the limit of the first device holds.
  if (std::strcmp(isa, "avx2") == 0) dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx2);
  if (std::strcmp(isa, "baseline") == 0) dnnl_set_max_cpu_isa(dnnl_cpu_isa_sse41);
}

dw_status openDevice(const dw_options* options, dw_device** device, dw_error* error) {
  return guard(error, "open", [&] {
    if (options->ordinal != 0)
      throw Error(DW_INVALID, "cpu: there is one device, number 0, got %d", options->ordinal);
    if (options->threads < 0 || options->threads > 4096)
      throw Error(DW_INVALID, "cpu: threads: expected 0 to 4096, got %d", options->threads);
    const char *isa = std::getenv("DEPTHWISE_CPU_ISA"), *reason = "";
    const Kernels* kernels = selectKernels(isa, &reason);
    if (!kernels) throw Error(DW_UNSUPPORTED, "cpu: instruction set '%s': %s", isa ? isa : "", reason);
    limitOnednn(isa);
    dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    dnnl::stream stream(engine);
    const int threads = options->threads > 0 ? options->threads : availableCores();
    *device = new dw_device{std::move(engine), std::move(stream), threads, kernels};
  });
}

void closeDevice(dw_device* device) { delete device; }

dw_status describeDevice(dw_device* device, char* json, size_t capacity, dw_error* error) {
  return guard(error, "describe", [&] {
    const dnnl_version_t* version = dnnl_version();
    snprintf(json, capacity,
             "{\"backend\":\"cpu\",\"onednn\":\"%d.%d.%d\",\"isa\":\"%s\",\"threads\":%d,\"memory\":%llu,"
             "\"availableMemory\":%llu}",
             version->major, version->minor, version->patch, device->kernels->isa, device->threads,
             static_cast<unsigned long long>(totalMemory()),
             static_cast<unsigned long long>(availableMemory()));
  });
}

dw_status allocate(dw_device*, size_t bytes, void** pointer, dw_error* error) {
  *pointer = allocateHost(bytes);
  return *pointer ? DW_OK : reportMemory(error, bytes);
}

void release(dw_device*, void* pointer, size_t bytes) { releaseHost(pointer, bytes); }

dw_status copyBytes(dw_device* device, void* to, const void* from, size_t bytes, dw_error* error) {
  return guard(error, "copy", [&] {
    device->useThreads();
    parallelFor(static_cast<int64_t>(bytes), 1, [&](int64_t begin, int64_t end) {
      std::memcpy(static_cast<char*>(to) + begin, static_cast<const char*>(from) + begin,
                  static_cast<size_t>(end - begin));
    });
  });
}

// The op of a node that the backend can run; throws why it cannot.
const Op& checkedOp(const dw_node& node) {
  const Op* op = findOp(node.op);
  if (!op) throw Error(DW_UNSUPPORTED, "the cpu backend does not have %s (op %u)", opName(node.op), node.op);
  op->check(Node(node));
  return *op;
}

dw_status supports(dw_device* device, const dw_node* node, dw_error* error) {
  return guard(error, opName(node->op), [&] {
    device->useThreads();  // oneDNN's layouts depend on how many there are
    checkedOp(*node);
  });
}

dw_status packedBytes(dw_device* device, const dw_node* node, size_t* bytes, dw_error* error) {
  return guard(error, opName(node->op), [&] {
    device->useThreads();
    const Op& op = checkedOp(*node);
    *bytes = op.packedBytes ? op.packedBytes(*device, Node(*node)) : 0;
  });
}

dw_status prepare(dw_device* device, const dw_node* node, dw_kernel** kernel, size_t* workspace,
                  dw_error* error) {
  return guard(error, opName(node->op), [&] {
    device->useThreads();
    KernelPointer prepared = checkedOp(*node).prepare(*device, Node(*node));
    prepared->op = opName(node->op);
    *workspace = prepared->workspace;
    *kernel = prepared.release();
  });
}

dw_status launch(dw_device* device, dw_kernel* kernel, const void* const* inputs, void* const* outputs,
                 void* workspace, dw_error* error) {
  return guard(error, kernel->op, [&] {
    device->useThreads();
    kernel->run({*device, inputs, outputs, workspace});
  });
}

void destroy(dw_device*, dw_kernel* kernel) { delete kernel; }

// Launches return when they have finished.
dw_status synchronize(dw_device*, dw_error*) { return DW_OK; }

const dw_backend backend = {
    DW_ABI_VERSION, "cpu",     openDevice,  closeDevice, describeDevice, allocate,
    release,        copyBytes, copyBytes,   copyBytes,   supports,       prepare,
    launch,         destroy,   synchronize, nullptr,     nullptr,        packedBytes,
    nullptr,
};

}  // namespace
}  // namespace dw::cpu

extern "C" __attribute__((visibility("default"))) const dw_backend* dw_backend_entry(uint32_t abi_version) {
  return abi_version == DW_ABI_VERSION ? &dw::cpu::backend : nullptr;
}
