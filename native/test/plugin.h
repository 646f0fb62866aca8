// Driving a backend plug-in through the C interface: opens it, runs one op on host arrays. For the C++ test
// programs.
#ifndef DEPTHWISE_TEST_PLUGIN_H
#define DEPTHWISE_TEST_PLUGIN_H

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "depthwise.h"

namespace plugin {

[[noreturn]] inline void die(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}

inline int64_t elements(const dw_aval& aval) {
  int64_t product = 1;
  for (int32_t i = 0; i < aval.rank; i++) product *= aval.dims[i];
  return product;
}

inline size_t bytes(const dw_aval& aval) {
  static const size_t sizes[] = {4, 8, 2, 2, 4, 1};
  return static_cast<size_t>(elements(aval)) * sizes[aval.dtype];
}

inline dw_aval shape(std::initializer_list<int64_t> dims, dw_dtype dtype = DW_F32) {
  dw_aval aval = {};
  aval.dtype = dtype;
  for (int64_t extent : dims) aval.dims[aval.rank++] = extent;
  return aval;
}

// A node with storage of its own.
struct Node {
  uint32_t op;  // dw_op, or a number that is none
  std::vector<dw_aval> inputs, outputs;
  std::vector<double> attributes;

  dw_node view() const {
    return {op,
            static_cast<uint32_t>(inputs.size()),
            static_cast<uint32_t>(outputs.size()),
            static_cast<uint32_t>(attributes.size()),
            inputs.data(),
            outputs.data(),
            attributes.data()};
  }
};

class Plugin {
 public:
  Plugin(const char* path, int threads, int ordinal = 0) {
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) die(dlerror());
    const auto entry = reinterpret_cast<dw_backend_entry_function>(dlsym(library, DW_BACKEND_ENTRY));
    api = entry ? entry(DW_ABI_VERSION) : nullptr;
    if (!api) die("not a plug-in of this version");
    dw_options options = {};
    options.threads = threads;
    options.ordinal = ordinal;
    if (api->open(&options, &device, &error) != DW_OK) die(error.message);
  }
  ~Plugin() { api->close(device); }
  Plugin(const Plugin&) = delete;

  std::string describe() {
    char text[1024];
    api->describe(device, text, sizeof text, &error);
    return text;
  }

  void* allocate(size_t size) {
    void* pointer = nullptr;
    if (api->allocate(device, size, &pointer, &error) != DW_OK) die(error.message);
    return pointer;
  }

  const dw_backend* api;
  dw_device* device = nullptr;
  dw_error error = {};
};

// A prepared node with memory for its operands.
class Kernel {
 public:
  Kernel(Plugin& p, const Node& node) : plugin_(p), node_(node) {
    const dw_node view = node_.view();
    status = p.api->prepare(p.device, &view, &kernel_, &workspaceBytes_, &p.error);
    if (status != DW_OK) return;
    workspace_ = p.allocate(workspaceBytes_);
    for (const dw_aval& aval : node_.inputs) inputs.push_back(p.allocate(bytes(aval)));
    for (const dw_aval& aval : node_.outputs) outputs.push_back(p.allocate(bytes(aval)));
  }
  ~Kernel() {
    if (status != DW_OK) return;
    plugin_.api->destroy(plugin_.device, kernel_);
    plugin_.api->release(plugin_.device, workspace_, workspaceBytes_);
    for (size_t i = 0; i < inputs.size(); i++)
      plugin_.api->release(plugin_.device, inputs[i], bytes(node_.inputs[i]));
    for (size_t i = 0; i < outputs.size(); i++)
      plugin_.api->release(plugin_.device, outputs[i], bytes(node_.outputs[i]));
  }
  Kernel(const Kernel&) = delete;

  dw_status launch() {
    return plugin_.api->launch(plugin_.device, kernel_, inputs.data(), outputs.data(), workspace_,
                               &plugin_.error);
  }

  dw_status status;
  std::vector<void*> inputs;
  std::vector<void*> outputs;

 private:
  Plugin& plugin_;
  Node node_;
  dw_kernel* kernel_ = nullptr;
  void* workspace_ = nullptr;
  size_t workspaceBytes_ = 0;
};

}  // namespace plugin

#endif
