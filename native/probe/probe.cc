// The probe: asks the CUDA driver and cuDNN what they are, in a process of its own, because a bad driver can end its
// process. It links nothing of NVIDIA's and knows nothing of the rest of depthwise.
//
//   depthwise_probe driver          opens libcuda.so.1 and lists its devices
//   depthwise_probe locate NAME...  where the system's loader finds each library
//   depthwise_probe cudnn PATH...   opens libraries in this order, the last of them cuDNN, and asks its version
//
// Prints one JSON object per line, each as soon as it is known: {"trying": ...} before a call that may not return, so
// that whoever reads the output of a process that was killed knows which one it was.
#include <dlfcn.h>
#include <link.h>
#include <sys/prctl.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

using CUresult = int;
using CUdevice = int;

std::string quoted(const char* words) {
  std::string result = "\"";
  for (const char* at = words; *at != '\0'; at += 1) {
    const auto byte = static_cast<unsigned char>(*at);
    if (byte == '"' || byte == '\\') {
      result += '\\';
      result += *at;
    } else if (byte < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", byte);
      result += escape;
    } else {
      result += *at;
    }
  }
  return result + "\"";
}

void say(const std::string& line) {
  std::fputs((line + "\n").c_str(), stdout);
  std::fflush(stdout);
}

void trying(const std::string& call) { say("{\"trying\":" + quoted(call.c_str()) + "}"); }

std::string lastError() {
  const char* words = dlerror();
  return quoted(words != nullptr ? words : "unknown reason");
}

// The path under which the loader knows a library, as found: symbolic links are not followed.
std::string pathOf(void* library) {
  link_map* map = nullptr;
  return dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 && map != nullptr ? map->l_name : "";
}

// The function `name` of a library as a pointer to a function of type F; null where there is none.
template <typename F>
F* function(void* library, const char* name) {
  return reinterpret_cast<F*>(dlsym(library, name));
}

// The driver's library: where the loader finds it, or where clusters and WSL put it without telling the loader.
void* openDriver(std::string& reason) {
  for (const char* name :
       {"libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1"}) {
    trying(std::string("dlopen ") + name);
    if (void* library = dlopen(name, RTLD_NOW | RTLD_GLOBAL)) return library;
    if (reason.empty()) reason = lastError();
  }
  return nullptr;
}

// {"library", "file"} or {"missing"}; {"cuda"}; {"init", "initName"}; one {"device"} each; {"done"}.
int driver() {
  std::string reason;
  void* library = openDriver(reason);
  if (library == nullptr) {
    say("{\"missing\":" + reason + "}");
    return 0;
  }
  const std::string path = pathOf(library);
  char file[PATH_MAX] = "";
  if (realpath(path.c_str(), file) == nullptr) file[0] = '\0';
  say("{\"library\":" + quoted(path.c_str()) + ",\"file\":" + quoted(file) + "}");
  const auto init = function<CUresult(unsigned)>(library, "cuInit");
  const auto getVersion = function<CUresult(int*)>(library, "cuDriverGetVersion");
  const auto getCount = function<CUresult(int*)>(library, "cuDeviceGetCount");
  const auto get = function<CUresult(CUdevice*, int)>(library, "cuDeviceGet");
  const auto getName = function<CUresult(char*, int, CUdevice)>(library, "cuDeviceGetName");
  const auto getAttribute = function<CUresult(int*, int, CUdevice)>(library, "cuDeviceGetAttribute");
  const auto getMemory = function<CUresult(size_t*, CUdevice)>(library, "cuDeviceTotalMem_v2");
  const auto getErrorName = function<CUresult(CUresult, const char**)>(library, "cuGetErrorName");
  if (!init || !getVersion || !getCount || !get || !getName || !getAttribute || !getMemory) {
    say("{\"missing\":\"libcuda.so.1 lacks functions of a CUDA driver\"}");
    return 0;
  }
  trying("cuDriverGetVersion");
  int version = 0;
  if (getVersion(&version) == 0) say("{\"cuda\":" + std::to_string(version) + "}");
  trying("cuInit");
  const CUresult status = init(0);
  const char* name = nullptr;
  if (getErrorName == nullptr || getErrorName(status, &name) != 0 || name == nullptr) name = "";
  say("{\"init\":" + std::to_string(status) + ",\"initName\":" + quoted(name) + "}");
  if (status != 0) return 0;
  trying("cuDeviceGetCount");
  int count = 0;
  if (getCount(&count) != 0) count = 0;
  for (int i = 0; i < count; i += 1) {
    constexpr int kMajor = 75, kMinor = 76;  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
    trying("cuDeviceGet " + std::to_string(i));
    CUdevice device = 0;
    char words[256] = "";
    int major = 0, minor = 0;
    size_t bytes = 0;
    if (get(&device, i) != 0 || getName(words, sizeof words - 1, device) != 0) continue;
    if (getAttribute(&major, kMajor, device) != 0 || getAttribute(&minor, kMinor, device) != 0) continue;
    if (getMemory(&bytes, device) != 0) bytes = 0;
    say("{\"device\":{\"ordinal\":" + std::to_string(i) + ",\"name\":" + quoted(words) + ",\"capability\":" +
        std::to_string(major * 10 + minor) + ",\"bytes\":" + std::to_string(bytes) + "}}");
  }
  say("{\"done\":true}");
  return 0;
}

// {"name", "path"} for each library that the loader finds.
int locate(int count, char** names) {
  for (int i = 0; i < count; i += 1) {
    trying(std::string("dlopen ") + names[i]);
    if (void* library = dlopen(names[i], RTLD_LAZY | RTLD_LOCAL)) {
      say("{\"name\":" + quoted(names[i]) + ",\"path\":" + quoted(pathOf(library).c_str()) + "}");
    }
  }
  say("{\"done\":true}");
  return 0;
}

// {"error"}, or {"version", "cudart"}: numbers as cudnnGetVersion and cudnnGetCudartVersion give them.
int cudnn(int count, char** paths) {
  void* library = nullptr;
  for (int i = 0; i < count; i += 1) {
    trying(std::string("dlopen ") + paths[i]);
    library = dlopen(paths[i], RTLD_NOW | RTLD_GLOBAL);
    if (library == nullptr) {
      say("{\"error\":" + lastError() + "}");
      return 0;
    }
  }
  const auto getVersion = library ? function<size_t()>(library, "cudnnGetVersion") : nullptr;
  const auto getCudart = library ? function<size_t()>(library, "cudnnGetCudartVersion") : nullptr;
  if (getVersion == nullptr || getCudart == nullptr) {
    say("{\"error\":\"it has no function cudnnGetVersion, or no cudnnGetCudartVersion\"}");
    return 0;
  }
  trying("cudnnGetVersion");
  say("{\"version\":" + std::to_string(getVersion()) + ",\"cudart\":" + std::to_string(getCudart()) + "}");
  return 0;
}

}  // namespace

int main(int count, char** words) {
  // A crash here is an answer, not a fault to be reported: no core file, no crash reporter.
  prctl(PR_SET_DUMPABLE, 0);
  const char* command = count > 1 ? words[1] : "";
  if (std::strcmp(command, "driver") == 0) return driver();
  if (std::strcmp(command, "locate") == 0) return locate(count - 2, words + 2);
  if (std::strcmp(command, "cudnn") == 0) return cudnn(count - 2, words + 2);
  std::fputs("usage: depthwise_probe driver | locate NAME... | cudnn PATH...\n", stderr);
  return 2;
}
