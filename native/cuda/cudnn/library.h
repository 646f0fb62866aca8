// cuDNN as it is found at run time: a table of functions, filled from libraries that are opened by path,
// never linked.
#ifndef DEPTHWISE_CUDNN_LIBRARY_H
#define DEPTHWISE_CUDNN_LIBRARY_H

#include <cudnn_graph.h>

#include <memory>
#include <string>
#include <vector>

#include "../plans.h"

namespace dw::cuda {

// Every function of cuDNN that is called.
#define DW_CUDNN_FUNCTIONS(X)      \
  X(cudnnGetVersion)               \
  X(cudnnGetErrorString)           \
  X(cudnnGetLastErrorString)       \
  X(cudnnCreate)                   \
  X(cudnnDestroy)                  \
  X(cudnnSetStream)                \
  X(cudnnBackendCreateDescriptor)  \
  X(cudnnBackendDestroyDescriptor) \
  X(cudnnBackendFinalize)          \
  X(cudnnBackendSetAttribute)      \
  X(cudnnBackendGetAttribute)      \
  X(cudnnBackendExecute)

struct Cudnn {
#define DW_CUDNN_MEMBER(name) decltype(&::name) name = nullptr;
  DW_CUDNN_FUNCTIONS(DW_CUDNN_MEMBER)
#undef DW_CUDNN_MEMBER

  size_t version = 0;  // 92400 for 9.24.0
  std::string folder;  // "" where the system's loader found it

  std::string versionText() const;

  // Throws PlanError with the call and cuDNN's own words unless all is well.
  void check(cudnnStatus_t status, const char* call) const;
};

// The oldest cuDNN that plans for described devices.
constexpr size_t kOldestCudnn = 90800;

// Opens cuDNN's parts, all from one of `folders` or, where there are none, from where the system's loader
// finds them. Other folders may hold libraries that these need (cuBLASLt). What was opened stays open until
// the process ends, since cuDNN does not survive being closed; asking again for the same folders is free.
// Throws PlanError with the reason.
std::shared_ptr<const Cudnn> openCudnn(const std::vector<std::string>& folders);

// "12.3.1" style text of a number as cuDNN has it.
std::string cudnnVersionText(size_t version);

}  // namespace dw::cuda

#endif
