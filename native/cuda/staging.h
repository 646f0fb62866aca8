// Copies between the host's memory and the device, by way of pinned memory: so the device copies while the
// host goes on, and nobody's memory is borrowed for longer than the call.
#ifndef DEPTHWISE_CUDA_STAGING_H
#define DEPTHWISE_CUDA_STAGING_H

#include <cuda_runtime.h>

#include <cstddef>

namespace dw::cuda {

// Two halves in turn: the device works on one while the host fills, or empties, the other.
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

  struct Half {
    char* memory;
    cudaEvent_t used;  // when the device is done with it
    size_t filled;
  };

  // A half with room for at least one more byte, whose filled part must not be touched.
  Half& open();
  void turn();

  cudaStream_t stream_;
  char* memory_ = nullptr;
  Half halves_[2] = {};
  int current_ = 0;
};

}  // namespace dw::cuda

#endif
