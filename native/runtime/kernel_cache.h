// Prepared kernels, shared by all programs of a device and kept by use; and the scratch memory of their
// launches. Both belong to the stream thread.
#ifndef DEPTHWISE_RUNTIME_KERNEL_CACHE_H
#define DEPTHWISE_RUNTIME_KERNEL_CACHE_H

#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "allocator.h"
#include "stream.h"

namespace dw {

class Kernel {
 public:
  Kernel(BackendDevice& device, const dw_node& node) : device_(device) {
    handle_ = device.prepare(node, workspace_);
  }
  ~Kernel() { device_.destroy(handle_); }
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;

  dw_kernel* handle() const { return handle_; }
  size_t workspace() const { return workspace_; }

 private:
  BackendDevice& device_;
  dw_kernel* handle_ = nullptr;
  size_t workspace_ = 0;
};

// The least recently used kernel goes first; programs that use it keep it alive.
class KernelCache {
 public:
  static constexpr size_t kCapacity = 4096;

  explicit KernelCache(BackendDevice& device) : device_(device) {}

  // The kernel of this node, prepared now if there is none. Slow then. Throws what preparing throws.
  std::shared_ptr<Kernel> get(const dw_node& node);

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<Kernel> kernel;
  };

  BackendDevice& device_;
  std::list<Entry> entries_;  // most recently used first
  std::unordered_map<std::string_view, std::list<Entry>::iterator> byKey_;
};

// One scratch buffer for all launches: they run one after the other. Grows to the largest need; without
// caching it is another for each run.
class Workspace {
 public:
  Workspace(BackendDevice& device, Allocator& allocator) : device_(device), allocator_(allocator) {}
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  void* atLeast(size_t bytes, const Stream& stream);

 private:
  BackendDevice& device_;
  Allocator& allocator_;
  void* pointer_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace dw

#endif
