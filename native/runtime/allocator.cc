// The caching allocator: best fit, splitting, coalescing, and giving back under pressure.
#include "allocator.h"

#include <algorithm>
#include <limits>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace dw {

namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kKiB = 1024;
constexpr size_t kMiB = kKiB * kKiB;
constexpr size_t kSmallest = kMiB;           // blocks up to this size share small segments
constexpr size_t kSmallSegment = 2 * kMiB;   // a huge page
constexpr size_t kLargeSegment = 20 * kMiB;  // for blocks up to half of it; others get segments of their own
constexpr size_t kSegmentRounding = 2 * kMiB;
constexpr size_t kLargeRemainder = kMiB;  // a rest below this stays with its block

size_t roundUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

// Tells AddressSanitizer that an allocation beyond what was asked for is out of bounds, or no longer.
void fence([[maybe_unused]] char* pointer, [[maybe_unused]] size_t bytes, [[maybe_unused]] size_t size) {
#ifdef __SANITIZE_ADDRESS__
  __asan_poison_memory_region(pointer + bytes, size - bytes);
#endif
}
void unfence([[maybe_unused]] char* pointer, [[maybe_unused]] size_t size) {
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(pointer, size);
#endif
}

size_t segmentFor(size_t size) {
  if (size <= kSmallest) return kSmallSegment;
  return size <= kLargeSegment / 2 ? kLargeSegment : roundUp(size, kSegmentRounding);
}

}  // namespace

Allocator::~Allocator() {
  for (Block* block : blocks_) {
    // The first block of a segment stands for all of it.
    if (block->previous == nullptr) {
      size_t size = 0;
      for (const Block* part = block; part != nullptr; part = part->next) size += part->size;
      unfence(block->pointer, size);
      device_.release(block->pointer, size);
    }
  }
  for (Block* block : blocks_) delete block;
}

Allocator::Block* Allocator::allocate(size_t bytes, Usage usage, uint64_t completed,
                                      const std::function<void()>& drain) {
  const size_t size = roundUp(std::max<size_t>(bytes, 1), kAlignment);
  const bool small = size <= kSmallest;
  const size_t segment = caching_ ? segmentFor(size) : size;
  {
    const std::lock_guard lock(mutex_);
    if (!caching_) trim(completed);
    Block* block = caching_ ? takeCached(size, small) : nullptr;
    if (block == nullptr) block = takeFresh(segment, small);
    if (block != nullptr) {
      if (!caching_) fence(block->pointer, bytes, size);
      return use(block, size, usage);
    }
  }
  // Not under the lock: the stream thread may need it to get done.
  drain();
  const std::lock_guard lock(mutex_);
  trim(std::numeric_limits<uint64_t>::max());
  Block* block = takeFresh(segment, small);
  if (block == nullptr) block = takeFresh(size, small);
  if (block == nullptr) outOfMemory(bytes);
  if (!caching_) fence(block->pointer, bytes, size);
  return use(block, size, usage);
}

void Allocator::release(Block* block, uint64_t lastUse) {
  const std::lock_guard lock(mutex_);
  (block->usage == Usage::Buffer ? live_ : arena_) -= block->size;
  FreeBlocks& freeBlocks = block->small ? freeSmall_ : freeLarge_;
  block->free = true;
  block->lastUse = lastUse;
  if (block->next != nullptr && block->next->free) {
    freeBlocks.erase(block->next);
    absorbNext(block);
  }
  if (block->previous != nullptr && block->previous->free) {
    block = block->previous;
    freeBlocks.erase(block);
    absorbNext(block);
  }
  freeBlocks.insert(block);
}

void* Allocator::allocateDirect(size_t bytes, uint64_t completed) {
  const size_t size = roundUp(std::max<size_t>(bytes, 1), kAlignment);
  const std::lock_guard lock(mutex_);
  void* pointer = obtain(size);
  if (pointer == nullptr) {
    trim(completed);
    pointer = obtain(size);
  }
  if (pointer == nullptr) outOfMemory(bytes);
  if (!caching_) fence(static_cast<char*>(pointer), bytes, size);
  arena_ += size;
  return pointer;
}

void Allocator::releaseDirect(void* pointer, size_t bytes) {
  const size_t size = roundUp(std::max<size_t>(bytes, 1), kAlignment);
  const std::lock_guard lock(mutex_);
  arena_ -= size;
  giveBack(pointer, size);
}

MemoryFigures Allocator::figures() const {
  const std::lock_guard lock(mutex_);
  return {live_, cached(), arena_, peak_};
}

Allocator::Block* Allocator::takeCached(size_t size, bool small) {
  FreeBlocks& freeBlocks = small ? freeSmall_ : freeLarge_;
  Block wanted{};
  wanted.size = size;
  const auto found = freeBlocks.lower_bound(&wanted);
  if (found == freeBlocks.end()) return nullptr;
  Block* block = *found;
  freeBlocks.erase(found);
  return block;
}

Allocator::Block* Allocator::takeFresh(size_t segment, bool small) {
  auto block = std::make_unique<Block>();
  blocks_.insert(block.get());
  void* pointer = obtain(segment);
  if (pointer == nullptr) {
    blocks_.erase(block.get());
    return nullptr;
  }
  *block = {static_cast<char*>(pointer), segment, Usage::Buffer, true, small, 0, nullptr, nullptr};
  return block.release();
}

// Marks a block that is in no free list as used, after splitting off what is more than `size`.
Allocator::Block* Allocator::use(Block* block, size_t size, Usage usage) {
  const size_t rest = block->size - size;
  if (rest >= (block->small ? kAlignment : kLargeRemainder)) {
    auto* remainder = new Block{block->pointer + size, rest,           block->usage, true,
                                block->small,          block->lastUse, block,        block->next};
    if (block->next != nullptr) block->next->previous = remainder;
    block->next = remainder;
    block->size = size;
    blocks_.insert(remainder);
    (block->small ? freeSmall_ : freeLarge_).insert(remainder);
  }
  block->free = false;
  block->usage = usage;
  (usage == Usage::Buffer ? live_ : arena_) += block->size;
  return block;
}

void Allocator::absorbNext(Block* block) {
  Block* gone = block->next;
  block->size += gone->size;
  block->lastUse = std::max(block->lastUse, gone->lastUse);
  block->next = gone->next;
  if (gone->next != nullptr) gone->next->previous = block;
  blocks_.erase(gone);
  delete gone;
}

// Memory from the backend, or nullptr where it has none or the limit is reached.
void* Allocator::obtain(size_t bytes) {
  if (limit_ != 0 && (held_ > limit_ || bytes > limit_ - held_)) {
    backendFree_ = backendLargest_ = limit_ - std::min(held_, limit_);
    return nullptr;
  }
  void* pointer = nullptr;
  try {
    pointer = device_.allocate(bytes);
  } catch (const Failure& failure) {
    if (failure.kind != FailureKind::OutOfMemory) throw;
    backendFree_ = failure.free;
    backendLargest_ = failure.largest;
    return nullptr;
  }
  held_ += bytes;
  peak_ = std::max(peak_, held_);
  return pointer;
}

void Allocator::giveBack(void* pointer, size_t bytes) {
  unfence(static_cast<char*>(pointer), bytes);
  device_.release(pointer, bytes);
  held_ -= bytes;
}

void Allocator::trim(uint64_t completed) {
  for (FreeBlocks* freeBlocks : {&freeSmall_, &freeLarge_}) {
    for (auto at = freeBlocks->begin(); at != freeBlocks->end();) {
      Block* block = *at;
      const bool whole = block->previous == nullptr && block->next == nullptr;
      if (!whole || block->lastUse > completed) {
        ++at;
        continue;
      }
      at = freeBlocks->erase(at);
      giveBack(block->pointer, block->size);
      blocks_.erase(block);
      delete block;
    }
  }
}

void Allocator::outOfMemory(size_t bytes) const {
  size_t largest = 0;
  for (const FreeBlocks* freeBlocks : {&freeSmall_, &freeLarge_}) {
    if (!freeBlocks->empty()) largest = std::max(largest, (*freeBlocks->rbegin())->size);
  }
  Failure failure(
      FailureKind::OutOfMemory,
      text("out of memory: %zu bytes requested; %llu in buffers, %llu in programs, %llu free but in pieces "
           "of at most %zu%s",
           bytes, static_cast<unsigned long long>(live_), static_cast<unsigned long long>(arena_),
           static_cast<unsigned long long>(cached()), largest,
           limit_ ? text(", limit %llu", static_cast<unsigned long long>(limit_)).c_str() : ""));
  failure.requested = bytes;
  failure.free = backendFree_ + cached();
  failure.largest = std::max<uint64_t>(largest, backendLargest_);
  throw failure;
}

}  // namespace dw
