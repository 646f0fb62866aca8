// Failures of CUDA calls as exceptions.
#ifndef DEPTHWISE_CUDA_CHECK_H
#define DEPTHWISE_CUDA_CHECK_H

#include <cuda_runtime.h>

#include <exception>

namespace dw::cuda {

class CudaError : public std::exception {
 public:
  CudaError(cudaError_t error, const char* call) : error_(error), call_(call) {}
  cudaError_t error() const { return error_; }
  // The name of the function that failed: a constant.
  const char* call() const { return call_; }
  const char* what() const noexcept override { return cudaGetErrorString(error_); }

 private:
  cudaError_t error_;
  const char* call_;
};

inline void check(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // the next call does not report it again
  throw CudaError(error, call);
}

}  // namespace dw::cuda

#endif
