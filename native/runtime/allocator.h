// A caching allocator in stream order, over a backend's raw memory.
//
// All use of memory is queued on one in-order stream, and blocks are taken and given back on the thread that
// queues. So a block given back can be handed out again at once: whoever gets it is queued behind the last
// use. Large blocks are split and coalesced within the segments that came from the backend; segments go back
// only when memory runs out, or at the end.
#ifndef DEPTHWISE_RUNTIME_ALLOCATOR_H
#define DEPTHWISE_RUNTIME_ALLOCATOR_H

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_set>

#include "backend.h"

namespace dw {

// Bytes. `live` is in buffers, `arena` in programs and workspace, `cached` kept for reuse.
struct MemoryFigures {
  uint64_t live = 0;
  uint64_t cached = 0;
  uint64_t arena = 0;
  uint64_t peak = 0;
};

enum class Usage { Buffer, Arena };

class Allocator {
 public:
  struct Block {
    char* pointer;
    size_t size;
    Usage usage;
    bool free;
    bool small;        // from a segment for small blocks
    uint64_t lastUse;  // ticket of the last task that may use it, where free
    Block* previous;   // neighbours in the segment
    Block* next;
  };

  // `limit` in bytes; 0: what the backend gives. Without caching every block is an allocation of the
  // backend's and goes back as soon as its last user is done: slow, but AddressSanitizer then sees a kernel
  // that leaves its operands.
  Allocator(BackendDevice& device, uint64_t limit, bool caching)
      : device_(device), limit_(limit), caching_(caching) {}
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  // At least `bytes`, 64-byte aligned. On the queueing thread. When memory is short, `drain` is called, which
  // returns when all queued work is done; then what is cached goes back to the backend. `completed` is the
  // ticket of the last task done. Throws OutOfMemory.
  Block* allocate(size_t bytes, Usage usage, uint64_t completed, const std::function<void()>& drain);
  // `lastUse`: ticket of the last task queued so far.
  void release(Block* block, uint64_t lastUse);

  // Memory outside the cache, for the stream thread: it is behind the queueing thread in time, so a cached
  // block may still have users queued. What was cached after `completed` is left alone.
  void* allocateDirect(size_t bytes, uint64_t completed);
  void releaseDirect(void* pointer, size_t bytes);

  MemoryFigures figures() const;
  bool caching() const { return caching_; }

 private:
  struct BySize {
    bool operator()(const Block* a, const Block* b) const {
      return a->size != b->size ? a->size < b->size : a->pointer < b->pointer;
    }
  };
  using FreeBlocks = std::set<Block*, BySize>;

  Block* takeCached(size_t size, bool small);
  Block* takeFresh(size_t segment, bool small);
  Block* use(Block* block, size_t size, Usage usage);
  void absorbNext(Block* block);
  void* obtain(size_t bytes);
  void giveBack(void* pointer, size_t bytes);
  void trim(uint64_t completed);
  [[noreturn]] void outOfMemory(size_t bytes) const;
  uint64_t cached() const { return held_ - live_ - arena_; }

  BackendDevice& device_;
  const uint64_t limit_;
  const bool caching_;
  mutable std::mutex mutex_;
  FreeBlocks freeSmall_;
  FreeBlocks freeLarge_;
  std::unordered_set<Block*> blocks_;  // all of them, so that the end can free whatever is left
  uint64_t held_ = 0;
  uint64_t live_ = 0;
  uint64_t arena_ = 0;
  uint64_t peak_ = 0;
  // What the backend said when it last had no memory; 0 where unknown.
  uint64_t backendFree_ = 0;
  uint64_t backendLargest_ = 0;
};

}  // namespace dw

#endif
