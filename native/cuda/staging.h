// Copies between the host's memory and the device, by way of pinned memory: so the device copies while the
// host goes on, and nobody's memory is borrowed for longer than the call.
#ifndef DEPTHWISE_CUDA_STAGING_H
#define DEPTHWISE_CUDA_STAGING_H

#include <cuda_runtime.h>

#include <cstddef>
#include <vector>

namespace dw::cuda {

// Large uploads go ahead of the device's stream: they are copied to the device, into parts of a ring, by a
// stream of their own while the device computes, and put in their place when its stream gets there. So a
// batch is on the device before the step that needs it begins, and neither host nor device waits. Small ones
// and downloads go through two halves in turn, of which the device works on one while the host fills, or
// empties, the other.
class Staging {
 public:
  explicit Staging(cudaStream_t stream);
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // Returns when `from` has been read; the copy itself is queued.
  void upload(void* to, const void* from, size_t bytes);
  // Returns when the bytes are there.
  void download(void* to, const void* from, size_t bytes);

 private:
  static constexpr size_t kHalf = size_t{4} << 20;
  static constexpr size_t kPart = size_t{4} << 20;
  // 128 MiB: a batch of 256 images of 299 pixels is 66 MiB. What is larger is ahead in part.
  static constexpr size_t kMostParts = 32;
  // Below this a copy costs less than the way through the ring.
  static constexpr size_t kSmall = size_t{64} << 10;

  struct Half {
    char* memory;
    cudaEvent_t used;  // when the device is done with it
    size_t filled;
  };
  struct Part {
    char *pinned = nullptr, *onDevice = nullptr;
    cudaEvent_t arrived = nullptr;  // on the device: the pinned memory is free
    cudaEvent_t taken = nullptr;    // by the device's stream: the memory on the device is free
  };

  // A half with room for at least one more byte, whose filled part must not be touched.
  Half& open();
  void turn();
  void uploadSmall(char* to, const char* from, size_t bytes);
  void uploadAhead(char* to, const char* from, size_t bytes);
  // The part to be filled next, whose pinned memory is free; NULL where there is no memory for any.
  Part* nextPart();
  // A new part before the next one; NULL where there is no memory for it.
  Part* addPart();
  static void release(const Part& part);

  cudaStream_t stream_;
  char* memory_ = nullptr;
  Half halves_[2] = {};
  int current_ = 0;
  cudaStream_t copies_ = nullptr;  // from the host into the ring
  std::vector<Part> ring_;         // as many as were ever on their way at once; the oldest is `next_`
  size_t next_ = 0;
};

}  // namespace dw::cuda

#endif
