// Programs recorded by backends that can (CUDA graphs): a run with addresses that were met before is one
// launch.
#ifndef DEPTHWISE_RUNTIME_RECORDING_H
#define DEPTHWISE_RUNTIME_RECORDING_H

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <vector>

#include "backend.h"

namespace dw {

// The recordings of one program; on the stream thread. The first run with some addresses launches kernel by
// kernel and so warms them up, the second is recorded, those that follow are replayed. Training steps use few
// sets of addresses: the allocator hands the same blocks out again.
class Recordings {
 public:
  // What was recorded with these addresses, or is now, by way of `launches`, which gives false where it was
  // cut short; null where it is to be launched kernel by kernel. What `launches` throws meanwhile is not
  // thrown: nothing has run, and running it says it again.
  dw_kernel* find(BackendDevice& device, std::vector<void*> addresses, const std::function<bool()>& launches);

 private:
  // Most kept at once, and most made in all: a program whose addresses never settle is launched kernel by
  // kernel.
  static constexpr size_t kMostKept = 16;
  static constexpr int kMostMade = 64;

  struct Entry {
    std::vector<void*> addresses;
    std::shared_ptr<dw_kernel> recorded;  // null: met once
  };

  std::shared_ptr<dw_kernel> record(BackendDevice& device, const std::function<bool()>& launches);

  std::list<Entry> entries_;  // most recently used first
  int made_ = 0;
  bool refused_ = false;
};

}  // namespace dw

#endif
