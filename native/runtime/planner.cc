// Loading of the planning library, and its call.
#include "planner.h"

#include <dlfcn.h>

#include <memory>

#include "failure.h"

namespace dw {

namespace {

// A library once opened stays: cuDNN does not survive being closed.
const dw_cudnn& load(const std::string& path) {
  dlerror();
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* reason = dlerror();
    fail(FailureKind::Load, "cannot load %s: %s", path.c_str(), reason ? reason : "unknown reason");
  }
  const auto entry = reinterpret_cast<dw_cudnn_entry_function>(dlsym(library, DW_CUDNN_ENTRY));
  if (entry == nullptr) {
    fail(FailureKind::Load, "%s makes no plans: it has no symbol %s", path.c_str(), DW_CUDNN_ENTRY);
  }
  const dw_cudnn* api = entry(DW_CUDNN_ABI_VERSION);
  if (api == nullptr || api->abi_version != DW_CUDNN_ABI_VERSION || !api->plans || !api->release) {
    fail(FailureKind::Load, "%s speaks another version of the planning interface (expected %u): rebuild both",
         path.c_str(), DW_CUDNN_ABI_VERSION);
  }
  return *api;
}

const char* orNull(const std::string& text) { return text.empty() ? nullptr : text.c_str(); }

}  // namespace

std::string planWith(const PlansRequest& request) {
  const dw_cudnn& api = load(request.library);
  dw_plans_request plain{};
  plain.problem = request.problem.data();
  plain.problem_length = request.problem.size();
  plain.folders = orNull(request.folders);
  plain.description = orNull(request.description);
  plain.driver = orNull(request.driver);
  plain.ordinal = request.ordinal;
  plain.plans = request.plans;
  plain.seconds = request.seconds;
  plain.workspace_limit = request.workspaceLimit;
  char* json = nullptr;
  dw_error error{};
  check(api.plans(&plain, &json, &error), error, "plans");
  const std::unique_ptr<char, void (*)(char*)> owned(json, api.release);
  return std::string(owned.get());
}

}  // namespace dw
