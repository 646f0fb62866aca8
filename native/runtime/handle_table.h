// Handles: numbers that JavaScript holds in place of pointers. Stale and invented ones are refused.
#ifndef DEPTHWISE_RUNTIME_HANDLE_TABLE_H
#define DEPTHWISE_RUNTIME_HANDLE_TABLE_H

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "failure.h"

namespace dw {

// A handle is generation * 2^22 + index, below 2^52, so that a double holds it exactly. A slot's generation
// rises with each use and the slot is retired when it runs out. Tables start at different generations, so
// that a handle of one device is refused by another. For one thread.
template <typename T>
class HandleTable {
 public:
  // `noun` names what is kept, for messages: "buffer".
  explicit HandleTable(const char* noun) : noun_(noun), firstGeneration_(nextFirstGeneration()) {}

  double add(std::shared_ptr<T> value) {
    if (free_.empty()) {
      if (slots_.size() >= kSlots) {
        fail(FailureKind::OutOfMemory, "%s: more than %u are in use at once", noun_, kSlots);
      }
      // Room for the index first: remove() then never has to allocate, so it cannot fail.
      free_.reserve(slots_.size() + 1);
      slots_.push_back({firstGeneration_, nullptr});
      free_.push_back(static_cast<uint32_t>(slots_.size() - 1));
    }
    const uint32_t index = free_.back();
    free_.pop_back();
    slots_[index].value = std::move(value);
    count_ += 1;
    return static_cast<double>(uint64_t{slots_[index].generation} * kSlots + index);
  }

  const std::shared_ptr<T>& get(uint64_t handle) const {
    const uint64_t index = handle % kSlots;
    if (index >= slots_.size() || slots_[index].value == nullptr ||
        slots_[index].generation != handle / kSlots) {
      fail(FailureKind::Disposed, "%s: handle %llu is stale, or of another device", noun_,
           static_cast<unsigned long long>(handle));
    }
    return slots_[index].value;
  }

  // After get(handle).
  void remove(uint64_t handle) {
    Slot& slot = slots_[handle % kSlots];
    slot.value = nullptr;
    slot.generation += 1;
    count_ -= 1;
    if (slot.generation < kGenerations) free_.push_back(static_cast<uint32_t>(handle % kSlots));
  }

  uint64_t count() const { return count_; }

  template <typename F>
  void forEach(F&& visit) const {
    for (const Slot& slot : slots_) {
      if (slot.value != nullptr) visit(*slot.value);
    }
  }

  void clear() {
    slots_.clear();
    free_.clear();
    count_ = 0;
  }

 private:
  static constexpr uint32_t kSlots = 1u << 22;
  static constexpr uint32_t kGenerations = 1u << 30;

  struct Slot {
    uint32_t generation;
    std::shared_ptr<T> value;
  };

  static uint32_t nextFirstGeneration() {
    // The golden ratio spreads successive tables over half of the range and leaves the rest for reuse.
    static std::atomic<uint32_t> serial{1};
    return serial.fetch_add(1) * 0x9E3779B1u % (kGenerations / 2) + 1;
  }

  const char* noun_;
  uint32_t firstGeneration_;
  uint64_t count_ = 0;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
};

}  // namespace dw

#endif
