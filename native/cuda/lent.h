// Memory that is lent for a while: for trying algorithms in place of memory of one's own.
#ifndef DEPTHWISE_CUDA_LENT_H
#define DEPTHWISE_CUDA_LENT_H

#include <cstddef>
#include <cstdint>

namespace dw::cuda {

// On the stream's thread. Given out piece by piece; there is room again when all pieces are back.
class LentMemory {
 public:
  // NULL: taken back. No piece may be out.
  void lend(void* memory, size_t bytes) {
    begin_ = reinterpret_cast<uintptr_t>(memory);
    end_ = begin_ + bytes;
    next_ = begin_;
  }

  // Aligned to 256 bytes; NULL where there is no room.
  void* take(size_t bytes) {
    const uintptr_t at = (next_ + 255) / 256 * 256;
    if (begin_ == 0 || at > end_ || bytes > end_ - at) return nullptr;
    next_ = at + bytes;
    out_++;
    return reinterpret_cast<void*>(at);
  }

  // False where the piece is not of this memory.
  bool giveBack(void* piece) {
    const auto at = reinterpret_cast<uintptr_t>(piece);
    if (at < begin_ || at >= end_) return false;
    if (--out_ == 0) next_ = begin_;
    return true;
  }

 private:
  uintptr_t begin_ = 0, end_ = 0, next_ = 0;
  size_t out_ = 0;
};

}  // namespace dw::cuda

#endif
