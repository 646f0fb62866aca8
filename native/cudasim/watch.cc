// Confines the kernels of a node to its operands; see watch.h.
#include "watch.h"

#ifdef __SANITIZE_ADDRESS__

#include <utility>
#include <vector>

#include "check.h"
#include "simulation.h"

namespace dw::cuda {
namespace {

size_t bytesOf(const dw_aval& aval) { return static_cast<size_t>(elements(aval)) * byteSize(aval.dtype); }

class Watched final : public dw_kernel {
 public:
  Watched(KernelPointer kernel, const Node& node) : kernel_(std::move(kernel)) {
    for (uint32_t i = 0; i < node.inputs(); i++) inputs_.push_back(bytesOf(node.input(i)));
    for (uint32_t i = 0; i < node.outputs(); i++) outputs_.push_back(bytesOf(node.output(i)));
    workspace = kernel_->workspace;
  }

  void run(const Launch& launch) override {
    std::vector<cudasim::Range> ranges;
    for (size_t i = 0; i < inputs_.size(); i++) ranges.push_back({launch.inputs[i], inputs_[i]});
    for (size_t i = 0; i < outputs_.size(); i++) ranges.push_back({launch.outputs[i], outputs_[i]});
    ranges.push_back({launch.workspace, workspace});
    // As work on the stream: kernels run later than they are launched, and again where a graph has recorded
    // them.
    confine(launch.stream(), std::move(ranges));
    struct Release {
      cudaStream_t stream;
      ~Release() { confine(stream, {}); }
    } const releases{launch.stream()};
    kernel_->run(launch);
  }

 private:
  // An error of the stream is that of the next call too.
  static void confine(cudaStream_t stream, std::vector<cudasim::Range> ranges) {
    cudasimEnqueue(stream, [ranges = std::move(ranges), stream] { cudasim::confine(ranges, stream); });
  }

  KernelPointer kernel_;
  std::vector<size_t> inputs_, outputs_;  // bytes
};

}  // namespace

KernelPointer watch(KernelPointer kernel, const Node& node) {
  return std::make_unique<Watched>(std::move(kernel), node);
}

}  // namespace dw::cuda

#else

namespace dw::cuda {

KernelPointer watch(KernelPointer kernel, const Node&) { return kernel; }

}  // namespace dw::cuda

#endif
