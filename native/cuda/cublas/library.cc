// Opens cuBLASLt.
#include "library.h"

#include <dlfcn.h>

namespace dw::cuda {

namespace {

[[noreturn]] void refuse(const std::string& message) {
  throw PlanError(PlanError::Kind::unsupported, message);
}

}  // namespace

void CublasLt::check(cublasStatus_t status, const char* call) const {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  const bool unsupported = status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_ARCH_MISMATCH;
  throw PlanError(unsupported ? PlanError::Kind::unsupported : PlanError::Kind::failed,
                  std::string(call) + ": " + cublasLtGetStatusString(status));
}

std::string CublasLt::versionText() const {
  const size_t version = cublasLtGetVersion();
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

std::shared_ptr<const CublasLt> openCublasLt() {
  const std::string file = "libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR);
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    const char* why = dlerror();
    refuse(why != nullptr ? why : file + " cannot be opened");
  }
  auto lt = std::make_shared<CublasLt>();
#define DW_CUBLASLT_LOAD(name)                                            \
  lt->name = reinterpret_cast<decltype(lt->name)>(dlsym(library, #name)); \
  if (lt->name == nullptr) refuse(file + " has no function " #name);
  DW_CUBLASLT_FUNCTIONS(DW_CUBLASLT_LOAD)
#undef DW_CUBLASLT_LOAD
  return lt;
}

}  // namespace dw::cuda
