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
  if (copies_ != nullptr) cudaStreamSynchronize(copies_);
  for (const Part& part : ring_) release(part);
  if (copies_ != nullptr) cudaStreamDestroy(copies_);
  for (const Half& half : halves_)
    if (half.used != nullptr) cudaEventDestroy(half.used);
  cudaFreeHost(memory_);
}

void Staging::release(const Part& part) {
  if (part.arrived != nullptr) cudaEventDestroy(part.arrived);
  if (part.taken != nullptr) cudaEventDestroy(part.taken);
  cudaFree(part.onDevice);
  cudaFreeHost(part.pinned);
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
  const auto send = bytes <= kSmall ? &Staging::uploadSmall : &Staging::uploadAhead;
  (this->*send)(static_cast<char*>(to), static_cast<const char*>(from), bytes);
}

void Staging::uploadSmall(char* to, const char* from, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    Half& half = open();
    const size_t count = std::min(bytes - done, kHalf - half.filled);
    char* staged = half.memory + half.filled;
    std::memcpy(staged, from + done, count);
    check(cudaMemcpyAsync(to + done, staged, count, cudaMemcpyHostToDevice, stream_), "cudaMemcpyAsync");
    // The next copy starts at a cache line.
    half.filled = std::min(kHalf, half.filled + (count + 63) / 64 * 64);
    done += count;
  }
}

void Staging::uploadAhead(char* to, const char* from, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    Part* part = nextPart();
    if (part == nullptr) return uploadSmall(to + done, from + done, bytes - done);
    const size_t count = std::min(bytes - done, kPart);
    std::memcpy(part->pinned, from + done, count);
    // What was in the part before may not have been taken yet. An event that was never recorded is no wait.
    check(cudaStreamWaitEvent(copies_, part->taken, 0), "cudaStreamWaitEvent");
    check(cudaMemcpyAsync(part->onDevice, part->pinned, count, cudaMemcpyHostToDevice, copies_),
          "cudaMemcpyAsync");
    check(cudaEventRecord(part->arrived, copies_), "cudaEventRecord");
    check(cudaStreamWaitEvent(stream_, part->arrived, 0), "cudaStreamWaitEvent");
    check(cudaMemcpyAsync(to + done, part->onDevice, count, cudaMemcpyDeviceToDevice, stream_),
          "cudaMemcpyAsync");
    check(cudaEventRecord(part->taken, stream_), "cudaEventRecord");
    done += count;
  }
}

Staging::Part* Staging::nextPart() {
  Part* part = ring_.empty() ? nullptr : &ring_[next_];
  // A part whose content still waits for its turn would hold the copy up, and all that come after it.
  if (part == nullptr || cudaEventQuery(part->taken) == cudaErrorNotReady) {
    cudaGetLastError();  // not an error
    if (ring_.size() < kMostParts)
      if (Part* added = addPart()) part = added;
    if (part == nullptr) return nullptr;
  }
  next_ = (next_ + 1) % ring_.size();
  check(cudaEventSynchronize(part->arrived), "cudaEventSynchronize");
  return part;
}

Staging::Part* Staging::addPart() {
  if (copies_ == nullptr)
    check(cudaStreamCreateWithFlags(&copies_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  Part part;
  void *pinned = nullptr, *onDevice = nullptr;
  const bool complete =
      cudaMallocHost(&pinned, kPart) == cudaSuccess && cudaMalloc(&onDevice, kPart) == cudaSuccess;
  part.pinned = static_cast<char*>(pinned);
  part.onDevice = static_cast<char*>(onDevice);
  if (!complete) {
    cudaGetLastError();  // the next call does not report it again
    release(part);
    return nullptr;
  }
  check(cudaEventCreateWithFlags(&part.arrived, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  check(cudaEventCreateWithFlags(&part.taken, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  return &*ring_.insert(ring_.begin() + static_cast<std::ptrdiff_t>(next_), part);
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
