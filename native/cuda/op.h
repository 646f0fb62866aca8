// What an op is to the CUDA backend: a check of a node, and a kernel made from it. Knows no particular op.
#ifndef DEPTHWISE_CUDA_OP_H
#define DEPTHWISE_CUDA_OP_H

#include <cstdint>
#include <memory>
#include <utility>

#include "depthwise.h"
#include "device.h"
#include "node.h"

namespace dw::cuda {

// One call of a kernel: the addresses of this run.
struct Launch {
  dw_device& device;
  const void* const* inputs;
  void* const* outputs;
  void* workspace;

  cudaStream_t stream() const { return device.stream; }
  template <class T = float>
  const T* in(int i) const {
    return static_cast<const T*>(inputs[i]);
  }
  template <class T = float>
  T* out(int i) const {
    return static_cast<T*>(outputs[i]);
  }
  // Scratch memory from this byte on.
  template <class T = float>
  T* scratch(size_t offset = 0) const {
    return reinterpret_cast<T*>(static_cast<char*>(workspace) + offset);
  }
};

// Scratch memory is given out in pieces that libraries and vector loads can take.
constexpr size_t kPiece = 256;
inline size_t piece(size_t bytes) { return (bytes + kPiece - 1) / kPiece * kPiece; }

}  // namespace dw::cuda

// A prepared node. `run` allocates nothing, and waits for nothing.
struct dw_kernel {
  virtual ~dw_kernel() = default;
  virtual void run(const dw::cuda::Launch& launch) = 0;

  size_t workspace = 0;
  const char* op = "";  // for messages
};

namespace dw::cuda {

using KernelPointer = std::unique_ptr<dw_kernel>;

// A kernel from a function of a Launch.
template <class Function>
KernelPointer makeKernel(Function function, size_t workspace = 0) {
  struct FunctionKernel final : dw_kernel {
    explicit FunctionKernel(Function f) : function(std::move(f)) {}
    void run(const Launch& launch) override { function(launch); }
    Function function;
  };
  auto kernel = std::make_unique<FunctionKernel>(std::move(function));
  kernel->workspace = workspace;
  return kernel;
}

// A kernel that has nothing to do: results without elements.
inline KernelPointer makeNothing() {
  return makeKernel([](const Launch&) {});
}

struct Op {
  // Throws an Error that says why the backend cannot run the node.
  void (*check)(const dw_device& device, const Node& node);
  // Called with a node that passed the check.
  KernelPointer (*prepare)(dw_device& device, const Node& node);
};

// NULL where this backend does not have the op: some of the table (fused ones) are optional.
const Op* findOp(uint32_t op);

}  // namespace dw::cuda

#endif
