// Opening of cuDNN and what it needs.
#include "libraries.h"

#include <dlfcn.h>

#include "failure.h"

namespace dw {

uint64_t openCudnn(const std::vector<std::string>& paths) {
  if (paths.empty()) fail(FailureKind::Argument, "openCudnn: expected at least one path");
  void* library = nullptr;
  for (const std::string& path : paths) {
    library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (library == nullptr) {
      const char* reason = dlerror();
      fail(FailureKind::Load, "cannot load %s: %s", path.c_str(), reason ? reason : "unknown reason");
    }
  }
  const auto version = reinterpret_cast<size_t (*)()>(dlsym(library, "cudnnGetVersion"));
  if (version == nullptr) {
    fail(FailureKind::Load, "%s is not cuDNN: it has no function cudnnGetVersion", paths.back().c_str());
  }
  return version();
}

}  // namespace dw
