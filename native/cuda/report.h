// What kernels find wrong with their operands' values: kept on the device, looked at when results are read.
#ifndef DEPTHWISE_CUDA_REPORT_H
#define DEPTHWISE_CUDA_REPORT_H

#include <cuda_runtime.h>

#include <cstdint>

namespace dw::cuda {

// A label that is none of the classes. The first to come is kept.
struct Report {
  int32_t op;  // dw_op; 0: nothing
  int32_t label;
  int64_t index, classes;
};

// The slot on the device. Without cost for devices that run no kernel that reports.
class Reports {
 public:
  Reports() = default;
  ~Reports();
  Reports(const Reports&) = delete;
  Reports& operator=(const Reports&) = delete;

  // For a kernel that is being prepared: where to report.
  Report* slot(cudaStream_t stream);
  // Queues a copy to the host, of what has been reported so far.
  void fetch(cudaStream_t stream);
  // After the stream has been waited for: throws what was fetched, once.
  void raise(cudaStream_t stream);

 private:
  Report* device_ = nullptr;
  Report* host_ = nullptr;  // pinned
};

}  // namespace dw::cuda

#endif
