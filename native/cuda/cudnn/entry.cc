// The C interface of depthwise_cudnn.h: plans for people, as JSON.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>

#include "cudnnPlans.h"
#include "currentDevice.h"
#include "depthwise_cudnn.h"
#include "problems.h"

namespace dw::cuda {

namespace {

std::vector<std::string> split(const char* folders) {
  std::vector<std::string> parts;
  if (folders == nullptr) return parts;
  for (const char* begin = folders; *begin != '\0';) {
    const char* end = std::strchr(begin, ':');
    if (end == nullptr) end = begin + std::strlen(begin);
    if (end > begin) parts.emplace_back(begin, end);
    begin = *end == ':' ? end + 1 : end;
  }
  return parts;
}

// cuDNN leaves the engines out that are compiled at run time where it cannot open libcuda.so.1. For plans
// that are never run, a library of that name without a device will do. A real driver is always preferred.
void openDriver(const char* substitute) {
  static std::mutex mutex;
  const std::lock_guard<std::mutex> lock(mutex);
  if (substitute == nullptr || dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL) != nullptr) return;
  if (dlopen(substitute, RTLD_NOW | RTLD_GLOBAL) != nullptr) return;
  const char* why = dlerror();
  throw PlanError(PlanError::Kind::failed, why != nullptr ? why : "the driver's substitute cannot be opened");
}

class Json {
 public:
  Json& raw(const std::string& text) {
    text_ += text;
    return *this;
  }
  Json& key(const char* name) { return raw(std::string(first() ? "" : ",") + '"' + name + "\":"); }
  Json& string(const std::string& text) {
    text_ += '"';
    for (const char c : text) {
      char escaped[8];
      if (c == '"' || c == '\\') {
        (text_ += '\\') += c;
      } else if (static_cast<unsigned char>(c) < 0x20) {
        snprintf(escaped, sizeof escaped, "\\u%04x", c);
        text_ += escaped;
      } else {
        text_ += c;
      }
    }
    return raw("\"");
  }
  Json& number(double value) {
    char text[32];
    snprintf(text, sizeof text, "%.9g", value);
    return raw(text);
  }
  Json& whole(uint64_t value) { return raw(std::to_string(value)); }
  Json& boolean(bool value) { return raw(value ? "true" : "false"); }
  // Text, or null where there is none.
  Json& optional(const std::string& text) { return text.empty() ? raw("null") : string(text); }
  const std::string& text() const { return text_; }

 private:
  bool first() const { return text_.empty() || text_.back() == '{' || text_.back() == '['; }
  std::string text_;
};

void write(Json& json, const Candidate& candidate) {
  const Engine& engine = candidate.engine;
  json.raw("{").key("engine").whole(static_cast<uint64_t>(engine.index));
  json.key("knobs").string(engine.knobs).key("notes").raw("[");
  bool first = true;
  for (const auto note : engine.notes) {
    if (!first) json.raw(",");
    json.string(nameOf(note));
    first = false;
  }
  json.raw("]").key("fallback").boolean(engine.fallback).key("compiled").boolean(engine.compiled());
  json.key("refused").optional(candidate.refused).key("built").boolean(candidate.built);
  json.key("workspace").whole(candidate.workspace).key("buildSeconds").number(candidate.buildSeconds);
  json.key("milliseconds");
  if (candidate.milliseconds >= 0)
    json.number(candidate.milliseconds);
  else
    json.raw("null");
  json.raw("}");
}

std::string plansOf(const dw_plans_request& request) {
  const Problem problem = readProblem(request.problem, request.problem_length);
  if (request.description != nullptr) openDriver(request.driver);
  const std::shared_ptr<const Cudnn> cudnn = openCudnn(split(request.folders));
  CudnnOptions options;
  options.workspaceLimit = static_cast<size_t>(request.workspace_limit);
  // A device and its stopwatch must outlive the plans.
  std::unique_ptr<CurrentDevice> device;
  std::optional<Timing> timing;
  TargetMaker make;
  if (request.description != nullptr) {
    make = [&] { return std::make_shared<const Target>(cudnn, request.description); };
  } else {
    device = openCurrentDevice(cudnn, request.ordinal);
    make = device->targets();
    timing.emplace(device->stopwatch(), kNoTime, "", "");
    options.timing = &*timing;
    options.threads = device->threads();
    options.enter = [&] { device->enter(); };
  }
  CudnnPlans plans(make, options);
  SelectionLimits limits;
  limits.plans = request.plans;
  limits.perEngine = limits.perCompiled = request.plans;
  limits.seconds = request.seconds;

  Json json;
  json.raw("{").key("cudnn").string(cudnn->versionText()).key("device").string(plans.deviceName());
  std::vector<Candidate> candidates;
  std::string reason;
  try {
    candidates = std::visit([&](const auto& p) { return plans.candidates(p, limits); }, problem);
    if (candidates.empty()) reason = "no engine for this graph";
  } catch (const PlanError& error) {
    if (error.kind() != PlanError::Kind::unsupported) throw;
    reason = error.what();
  }
  json.key("reason").optional(reason).key("plans").raw("[");
  for (size_t i = 0; i < candidates.size(); i++) {
    if (i > 0) json.raw(",");
    write(json, candidates[i]);
  }
  json.raw("]}");
  return json.text();
}

dw_status report(dw_error* error, dw_status status, const char* message) {
  if (error != nullptr) {
    snprintf(error->message, sizeof error->message, "%s", message);
    error->requested = error->free = error->largest = 0;
  }
  return status;
}

dw_status plansEntry(const dw_plans_request* request, char** json, dw_error* error) try {
  if (request == nullptr || json == nullptr || request->problem == nullptr || request->plans < 0)
    return report(error, DW_INVALID, "plans: expected a request");
  const std::string text = plansOf(*request);
  *json = static_cast<char*>(std::malloc(text.size() + 1));
  if (*json == nullptr) return report(error, DW_OUT_OF_MEMORY, "plans: no memory for the result");
  std::memcpy(*json, text.c_str(), text.size() + 1);
  return DW_OK;
} catch (const PlanError& failure) {
  const bool unsupported = failure.kind() == PlanError::Kind::unsupported;
  return report(error, unsupported ? DW_UNSUPPORTED : DW_DEVICE_ERROR, failure.what());
} catch (const std::invalid_argument& failure) {
  return report(error, DW_INVALID, failure.what());
} catch (const std::bad_alloc&) {
  return report(error, DW_OUT_OF_MEMORY, "plans: out of host memory");
} catch (const std::exception& failure) {
  return report(error, DW_INTERNAL, failure.what());
}

void releaseEntry(char* json) { std::free(json); }

constexpr dw_cudnn kEntry = {DW_CUDNN_ABI_VERSION, plansEntry, releaseEntry};

}  // namespace

}  // namespace dw::cuda

extern "C" __attribute__((visibility("default"))) const dw_cudnn* dw_cudnn_entry(uint32_t abi_version) {
  return abi_version == DW_CUDNN_ABI_VERSION ? &dw::cuda::kEntry : nullptr;
}
