// One call of a oneDNN primitive: made once, then run with new addresses and without allocation.
#ifndef DEPTHWISE_CPU_PRIMITIVE_H
#define DEPTHWISE_CPU_PRIMITIVE_H

#include <array>

#include "device.h"

namespace dw::cpu {

// Attributes of every primitive: scratch memory comes from the caller.
inline dnnl::primitive_attr userScratchpad() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

// Places one after another in a workspace, each at a cache line.
class WorkspaceLayout {
 public:
  size_t place(size_t bytes) {
    const size_t offset = size_;
    size_ += (bytes + 63) / 64 * 64;
    return offset;
  }
  size_t size() const { return size_; }

 private:
  size_t size_ = 0;
};

class Primitive {
 public:
  Primitive() = default;

  // Its scratchpad gets a place in the workspace.
  template <class Descriptor>
  Primitive(const dw_device& device, const Descriptor& descriptor, WorkspaceLayout& layout)
      : primitive_(descriptor.get()), scratchpad_(layout.place(descriptor.scratchpad_desc().get_size())) {
    add(device, DNNL_ARG_SCRATCHPAD, descriptor.scratchpad_desc());
  }

  // Adds a memory argument; `at` then takes its address in the order of adding, from 1.
  void add(const dw_device& device, int argument, const onednn::Desc& desc) {
    memories_.at(count_) = dnnl::memory(desc, device.engine, DNNL_MEMORY_NONE);
    arguments_.at(count_) = {argument, memories_[count_].get()};
    count_++;
  }

  void at(size_t index, const void* address) {
    memories_.at(index).set_data_handle(const_cast<void*>(address));
  }

  void run(const dw_device& device, void* workspace) {
    memories_[0].set_data_handle(static_cast<char*>(workspace) + scratchpad_);
    // The C function, because the C++ one builds a map.
    dnnl::error::wrap_c_api(dnnl_primitive_execute(primitive_.get(), device.stream.get(),
                                                   static_cast<int>(count_), arguments_.data()),
                            "could not execute a primitive");
  }

  explicit operator bool() const { return count_ > 0; }

 private:
  static constexpr size_t kMost = 5;

  dnnl::primitive primitive_;
  size_t scratchpad_ = 0;
  size_t count_ = 0;
  std::array<dnnl::memory, kMost> memories_;
  std::array<dnnl_exec_arg_t, kMost> arguments_ = {};
};

inline dnnl::reorder::primitive_desc reorderDescriptor(const dw_device& device, const onednn::Desc& from,
                                                       const onednn::Desc& to) {
  return dnnl::reorder::primitive_desc(device.engine, from, device.engine, to, userScratchpad());
}

}  // namespace dw::cpu

#endif
