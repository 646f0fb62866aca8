// Opens cuDNN: one folder with the complete set, all of it before the first call.
#include "library.h"

#include <dlfcn.h>
#include <sys/stat.h>

#include <map>
#include <mutex>

namespace dw::cuda {

namespace {

// What the dispatcher opens by bare name later on. Opened by path first, each from the same folder: two
// versions mixed crash at the first convolution. The order is that of their dependencies; the last ones came
// with later versions.
struct Part {
  const char* file;
  bool required;
};
constexpr Part kParts[] = {
    {"libcudnn_graph.so.9", true},
    {"libcudnn_ops.so.9", true},
    {"libcudnn_engines_precompiled.so.9", true},
    {"libcudnn_engines_runtime_compiled.so.9", true},
    {"libcudnn_heuristic.so.9", true},
    {"libcudnn_cnn.so.9", true},
    {"libcudnn_adv.so.9", true},
    {"libcudnn_engines_tensor_ir.so.9", false},
    {"libcudnn_ext.so.9", false},
};
constexpr const char* kDispatcher = "libcudnn.so.9";

// What cuDNN opens by bare name from CUDA, by major version.
constexpr const char* kCublas[] = {"libcublasLt.so.13", "libcublas.so.13", "libcublasLt.so.12",
                                   "libcublas.so.12"};

bool exists(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0;
}

[[noreturn]] void refuse(const std::string& message) {
  throw PlanError(PlanError::Kind::unsupported, message);
}

void* openLibrary(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    const char* why = dlerror();
    refuse(why != nullptr ? why : path + " cannot be opened");
  }
  return library;
}

// The first folder with the dispatcher.
std::string folderOf(const std::vector<std::string>& folders) {
  std::string searched;
  for (const std::string& folder : folders) {
    if (exists(folder + "/" + kDispatcher)) return folder;
    searched += (searched.empty() ? "" : ", ") + folder;
  }
  refuse(std::string(kDispatcher) + " not found in " + searched);
}

std::shared_ptr<const Cudnn> load(const std::vector<std::string>& folders) {
  auto cudnn = std::make_shared<Cudnn>();
  std::string prefix;
  if (!folders.empty()) {
    cudnn->folder = folderOf(folders);
    prefix = cudnn->folder + "/";
    for (const Part& part : kParts)
      if (part.required && !exists(prefix + part.file)) refuse(cudnn->folder + ": missing " + part.file);
  }
  for (const char* file : kCublas)
    for (const std::string& folder : folders)
      if (exists(folder + "/" + file)) openLibrary(folder + "/" + file);
  // Only the dispatcher and the graphs are needed before the parts are called; opening all now keeps them
  // together.
  for (const Part& part : kParts)
    if (part.required || exists(prefix + part.file)) openLibrary(prefix + part.file);
  void* dispatcher = openLibrary(prefix + kDispatcher);
#define DW_CUDNN_LOAD(name)                                                        \
  cudnn->name = reinterpret_cast<decltype(cudnn->name)>(dlsym(dispatcher, #name)); \
  if (cudnn->name == nullptr) refuse(std::string(kDispatcher) + " has no function " #name);
  DW_CUDNN_FUNCTIONS(DW_CUDNN_LOAD)
#undef DW_CUDNN_LOAD
  cudnn->version = cudnn->cudnnGetVersion();
  if (cudnn->version < kOldestCudnn || cudnn->version >= 100000)
    refuse("cuDNN " + cudnn->versionText() + ": needed is 9.8 or later, of 9");
  return cudnn;
}

}  // namespace

std::string cudnnVersionText(size_t version) {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

std::string Cudnn::versionText() const { return cudnnVersionText(version); }

void Cudnn::check(cudnnStatus_t status, const char* call) const {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char why[1024] = {0};
  cudnnGetLastErrorString(why, sizeof why);
  const int code = static_cast<int>(status);
  const bool unsupported = code >= 3000 && code < 4000;  // CUDNN_STATUS_NOT_SUPPORTED and its kinds
  std::string message = std::string(call) + ": " + cudnnGetErrorString(status);
  if (why[0] != '\0') message += std::string(": ") + why;
  throw PlanError(unsupported ? PlanError::Kind::unsupported : PlanError::Kind::failed, message);
}

std::shared_ptr<const Cudnn> openCudnn(const std::vector<std::string>& folders) {
  static std::mutex mutex;
  static auto& opened = *new std::map<std::vector<std::string>, std::shared_ptr<const Cudnn>>;
  const std::lock_guard<std::mutex> lock(mutex);
  std::shared_ptr<const Cudnn>& entry = opened[folders];
  if (entry == nullptr) entry = load(folders);
  return entry;
}

}  // namespace dw::cuda
