// cuBLASLt as it is found at run time: a table of functions, never linked.
#ifndef DEPTHWISE_CUBLAS_LIBRARY_H
#define DEPTHWISE_CUBLAS_LIBRARY_H

#include <cublasLt.h>

#include <memory>
#include <string>

#include "../plans.h"

namespace dw::cuda {

// Every function of cuBLASLt that is called.
#define DW_CUBLASLT_FUNCTIONS(X)          \
  X(cublasLtGetVersion)                   \
  X(cublasLtGetStatusString)              \
  X(cublasLtCreate)                       \
  X(cublasLtDestroy)                      \
  X(cublasLtMatmul)                       \
  X(cublasLtMatmulAlgoGetHeuristic)       \
  X(cublasLtMatmulDescCreate)             \
  X(cublasLtMatmulDescDestroy)            \
  X(cublasLtMatmulDescSetAttribute)       \
  X(cublasLtMatmulPreferenceCreate)       \
  X(cublasLtMatmulPreferenceDestroy)      \
  X(cublasLtMatmulPreferenceSetAttribute) \
  X(cublasLtMatrixLayoutCreate)           \
  X(cublasLtMatrixLayoutDestroy)

struct CublasLt {
#define DW_CUBLASLT_MEMBER(name) decltype(&::name) name = nullptr;
  DW_CUBLASLT_FUNCTIONS(DW_CUBLASLT_MEMBER)
#undef DW_CUBLASLT_MEMBER

  // Throws PlanError with the call and the library's own words unless all is well.
  void check(cublasStatus_t status, const char* call) const;
  std::string versionText() const;
};

// The library that is open in this process already, beside cuDNN, or that the system's loader finds. Of the
// major version that this was built for: attributes are told by number. Throws PlanError.
std::shared_ptr<const CublasLt> openCublasLt();

}  // namespace dw::cuda

#endif
