// Copies by way of pinned memory.
#include "staging.h"

#include <algorithm>
#include <cstring>

#include "check.h"

namespace dw::cuda {

Staging::Staging(cudaStream_t stream) : stream_(stream) {
  void* memory = nullptr;
  check(cudaMallocHost(&memory, 2 * kHalf), "cudaMallocHost");
  memory_ = static_cast<char*>(memory);
  for (int i = 0; i < 2; i++) {
    halves_[i].memory = memory_ + static_cast<size_t>(i) * kHalf;
    check(cudaEventCreateWithFlags(&halves_[i].used, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  }
}

Staging::~Staging() {
  for (const Half& half : halves_)
    if (half.used != nullptr) cudaEventDestroy(half.used);
  cudaFreeHost(memory_);
}

// From now on the other half is filled; the device may still be at work on this one.
void Staging::turn() {
  check(cudaEventRecord(halves_[current_].used, stream_), "cudaEventRecord");
  current_ ^= 1;
  check(cudaEventSynchronize(halves_[current_].used), "cudaEventSynchronize");
  halves_[current_].filled = 0;
}

Staging::Half& Staging::open() {
  if (halves_[current_].filled >= kHalf) turn();
  return halves_[current_];
}

void Staging::upload(void* to, const void* from, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    Half& half = open();
    const size_t count = std::min(bytes - done, kHalf - half.filled);
    char* staged = half.memory + half.filled;
    std::memcpy(staged, static_cast<const char*>(from) + done, count);
    check(cudaMemcpyAsync(static_cast<char*>(to) + done, staged, count, cudaMemcpyHostToDevice, stream_),
          "cudaMemcpyAsync");
    // The next copy starts at a cache line.
    half.filled = std::min(kHalf, half.filled + (count + 63) / 64 * 64);
    done += count;
  }
}

void Staging::download(void* to, const void* from, size_t bytes) {
  // The part that is on its way, in the half that was current before.
  char* target = nullptr;
  size_t coming = 0;
  Half* previous = nullptr;
  const auto collect = [&] {
    if (coming == 0) return;
    check(cudaEventSynchronize(previous->used), "cudaEventSynchronize");
    std::memcpy(target, previous->memory, coming);
    coming = 0;
  };
  for (size_t done = 0; done < bytes;) {
    turn();
    Half& half = halves_[current_];
    const size_t count = std::min(bytes - done, kHalf);
    check(cudaMemcpyAsync(half.memory, static_cast<const char*>(from) + done, count, cudaMemcpyDeviceToHost,
                          stream_),
          "cudaMemcpyAsync");
    check(cudaEventRecord(half.used, stream_), "cudaEventRecord");
    half.filled = kHalf;
    collect();
    previous = &half, target = static_cast<char*>(to) + done, coming = count;
    done += count;
  }
  collect();
}

}  // namespace dw::cuda
