// The kernel cache and the workspace.
#include "kernel_cache.h"

namespace dw {

namespace {

// Everything by which nodes differ, as bytes.
std::string keyOf(const dw_node& node) {
  std::string key;
  const auto append = [&](const void* data, size_t bytes) {
    key.append(static_cast<const char*>(data), bytes);
  };
  const uint32_t counts[] = {node.op, node.n_inputs, node.n_outputs, node.n_attributes};
  append(counts, sizeof counts);
  const auto appendAvals = [&](const dw_aval* avals, uint32_t count) {
    for (uint32_t i = 0; i < count; i += 1) {
      append(&avals[i].dtype, sizeof avals[i].dtype);
      append(&avals[i].rank, sizeof avals[i].rank);
      append(avals[i].dims, sizeof avals[i].dims[0] * static_cast<size_t>(avals[i].rank));
    }
  };
  appendAvals(node.inputs, node.n_inputs);
  appendAvals(node.outputs, node.n_outputs);
  append(node.attributes, sizeof node.attributes[0] * node.n_attributes);
  return key;
}

}  // namespace

std::shared_ptr<Kernel> KernelCache::get(const dw_node& node) {
  std::string key = keyOf(node);
  if (const auto found = byKey_.find(key); found != byKey_.end()) {
    entries_.splice(entries_.begin(), entries_, found->second);
    return entries_.front().kernel;
  }
  auto kernel = std::make_shared<Kernel>(device_, node);
  entries_.push_front({std::move(key), kernel});
  byKey_.emplace(entries_.front().key, entries_.begin());
  if (entries_.size() > kCapacity) {
    byKey_.erase(entries_.back().key);
    entries_.pop_back();
  }
  return kernel;
}

Workspace::~Workspace() {
  if (pointer_ != nullptr) allocator_.releaseDirect(pointer_, bytes_);
}

void* Workspace::atLeast(size_t bytes, const Stream& stream) {
  // Without caching each run gets memory of its own, of just this size: what is read there before it is
  // written, or beyond, shows.
  if (bytes <= bytes_ && allocator_.caching()) return pointer_;
  if (pointer_ != nullptr) {
    // Launches may still be using it where the backend is asynchronous itself.
    device_.synchronize();
    allocator_.releaseDirect(pointer_, bytes_);
    pointer_ = nullptr;
    bytes_ = 0;
  }
  pointer_ = allocator_.allocateDirect(bytes, stream.completed());
  bytes_ = bytes;
  return pointer_;
}

}  // namespace dw
