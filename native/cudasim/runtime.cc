// The runtime of the simulation: memory, streams, events and graphs.
//
// Work on a stream is done as late as possible, when somebody waits for it: host memory that is reused too
// early, or a result that is read without waiting, shows. With DEPTHWISE_CUDASIM_STREAMS=early the work on
// all streams of a device but the first is done at once, as far as it waits for nothing: what one stream
// leaves another shows if it is not waited for.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#include "grid.h"
#include "simulation.h"

using Work = std::function<void()>;

// In order, on whichever thread waits first.
struct cudasimStream {
  int device;
  bool early;
  std::deque<Work> pending;
  uint64_t queued = 0, done = 0;  // of all that was ever queued
  bool global = false;            // its capture
  cudasimGraph* capturing = nullptr;
  bool invalidated = false;
};
// When a stream has done as much as was queued on it then. Never recorded: done.
struct cudasimEvent {
  cudaStream_t stream = nullptr;
  uint64_t ticket = 0;
};
struct cudasimGraph {
  std::shared_ptr<std::vector<Work>> works = std::make_shared<std::vector<Work>>();
};

namespace {

// As the smallest devices that are supported; few multiprocessors, so that loops over a grid go round.
constexpr int kDevices = 3, kMultiprocessors = 4;
constexpr size_t kSharedBytes = size_t{48} << 10, kSharedBytesOptin = size_t{99} << 10;
constexpr uint64_t kMemory = uint64_t{4} << 30;
// More is done at once than left lying: the host's memory is not without end.
constexpr size_t kMostPending = 256;

std::recursive_mutex mutex;
std::map<uintptr_t, size_t> deviceMemory, pinnedMemory;  // by address
#ifdef __SANITIZE_ADDRESS__
std::vector<cudasim::Range> confined;   // allocations of which only parts can be reached
std::vector<cudasim::Range> reachable;  // these parts
cudaStream_t confining = nullptr;       // whose kernels are confined
#endif
uint64_t used = 0;
uint64_t limit = kMemory;
uint64_t launched = 0;
std::unordered_map<const void*, size_t> sharedLimits;
std::string lastMessage;
cudaError_t sticky = cudaSuccess, injected = cudaSuccess;
thread_local int chosenDevice = 0;
thread_local cudaError_t lastError = cudaSuccess;
thread_local int captures = 0;  // that this thread has begun
int globalCaptures = 0;         // that forbid every thread what waits or allocates

using Lock = std::lock_guard<std::recursive_mutex>;

cudaError_t returned(cudaError_t error) {
  if (error != cudaSuccess) lastError = error;
  return error;
}

// The allocation that [pointer, pointer + bytes) lies in; nullptr if it does not lie in one.
const std::pair<const uintptr_t, size_t>* allocationOf(const std::map<uintptr_t, size_t>& memory,
                                                       const void* pointer, size_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  auto next = memory.upper_bound(address);
  if (next == memory.begin()) return nullptr;
  const auto& found = *--next;
  const auto& [start, size] = found;
  return address - start <= size && bytes <= size - (address - start) ? &found : nullptr;
}

bool within(const std::map<uintptr_t, size_t>& memory, const void* pointer, size_t bytes) {
  return allocationOf(memory, pointer, bytes) != nullptr;
}

cudasim::Order orderOf(int device) {
  const char* name = std::getenv("DEPTHWISE_CUDASIM_ORDER");
  const std::string wanted = name ? name : "";
  if (wanted == "ascending") return cudasim::Order::ascending;
  if (wanted == "descending") return cudasim::Order::descending;
  if (wanted == "shuffled") return cudasim::Order::shuffled;
  return static_cast<cudasim::Order>(device % 3);
}

// A call that waits, or allocates: refused while this thread captures, which the capture does not survive.
bool unsafe(cudaStream_t stream = nullptr) {
  if (captures == 0 && globalCaptures == 0 && (stream == nullptr || stream->capturing == nullptr))
    return false;
  if (stream != nullptr) stream->invalidated = true;
  return true;
}

void drain(cudaStream_t stream, uint64_t ticket = UINT64_MAX) {
  while (!stream->pending.empty() && stream->done < ticket) {
    const Work work = std::move(stream->pending.front());
    stream->pending.pop_front();
    stream->done++;
    if (sticky == cudaSuccess) work();
  }
}

cudaError_t enqueue(cudaStream_t stream, Work work) {
  const Lock lock(mutex);
  if (sticky != cudaSuccess) return returned(sticky);
  if (stream == nullptr) return returned(cudaErrorInvalidResourceHandle);
  if (stream->capturing != nullptr) {
    stream->capturing->works->push_back(std::move(work));
    return cudaSuccess;
  }
  stream->pending.push_back(std::move(work));
  stream->queued++;
  if (stream->early || stream->pending.size() > kMostPending) drain(stream);
  return cudaSuccess;
}

std::vector<cudaStream_t>& streams() {
  static std::vector<cudaStream_t> all;
  return all;
}

}  // namespace

namespace cudasim {

void failNext(cudaError_t error) {
  const Lock lock(mutex);
  injected = error;
}

void limitMemory(uint64_t bytes) {
  const Lock lock(mutex);
  limit = bytes;
}

const char* message() { return lastMessage.c_str(); }

uint64_t launches() {
  const Lock lock(mutex);
  return launched;
}

void reset() {
  const Lock lock(mutex);
  sticky = injected = cudaSuccess;
  limit = kMemory;
  lastMessage.clear();
  confine({});
}

#ifdef __SANITIZE_ADDRESS__
void confine(const std::vector<Range>& ranges, cudaStream_t stream) {
  const Lock lock(mutex);
  for (const auto& [start, bytes] : confined) __asan_unpoison_memory_region(start, bytes);
  confined.clear();
  reachable = ranges;
  confining = stream;
  for (const auto& [start, bytes] : ranges) {
    const auto* allocation = bytes > 0 ? allocationOf(deviceMemory, start, bytes) : nullptr;
    if (allocation == nullptr) continue;
    confined.push_back({reinterpret_cast<const void*>(allocation->first), allocation->second});
    __asan_poison_memory_region(confined.back().start, confined.back().bytes);
  }
  for (const auto& [start, bytes] : ranges) __asan_unpoison_memory_region(start, bytes);
}
#else
void confine(const std::vector<Range>&, cudaStream_t) {}
#endif

namespace {

// While one lives, a copy of another stream can reach everything: it runs beside the kernels that are
// confined.
class Lifted {
 public:
#ifdef __SANITIZE_ADDRESS__
  explicit Lifted(cudaStream_t stream) : by_(confining) {
    if (confined.empty() || stream == by_) return;
    ranges_ = reachable;
    confine({});
  }
  ~Lifted() {
    if (!ranges_.empty()) confine(ranges_, by_);
  }

 private:
  cudaStream_t by_;
  std::vector<Range> ranges_;
#else
  explicit Lifted(cudaStream_t) {}
#endif
};

}  // namespace
}  // namespace cudasim

void cudasim_fail_next(int error) { cudasim::failNext(static_cast<cudaError_t>(error)); }
void cudasim_limit_memory(uint64_t bytes) { cudasim::limitMemory(bytes); }
void cudasim_reset() { cudasim::reset(); }
uint64_t cudasim_launches() { return cudasim::launches(); }

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInitializationError:
      return "cudaErrorInitializationError";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorNotSupported:
      return "cudaErrorNotSupported";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated:
      return "cudaErrorStreamCaptureInvalidated";
    case cudaErrorStreamCaptureUnmatched:
      return "cudaErrorStreamCaptureUnmatched";
    case cudaErrorUnknown:
      return "cudaErrorUnknown";
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaErrorLaunchFailure && !lastMessage.empty() ? lastMessage.c_str()
                                                                 : cudaGetErrorName(error);
}

cudaError_t cudaGetLastError() {
  const cudaError_t error = lastError;
  lastError = cudaSuccess;
  return sticky != cudaSuccess ? sticky : error;
}
cudaError_t cudaPeekAtLastError() { return sticky != cudaSuccess ? sticky : lastError; }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = kDevices;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= kDevices) return returned(cudaErrorInvalidDevice);
  chosenDevice = device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device < 0 || device >= kDevices) return returned(cudaErrorInvalidDevice);
  static const char* const orders[] = {"ascending", "descending", "shuffled"};
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "simulation, threads %s",
                orders[static_cast<int>(orderOf(device))]);
  properties->totalGlobalMem = limit;
  properties->sharedMemPerBlock = kSharedBytes;
  properties->sharedMemPerBlockOptin = kSharedBytesOptin;
  properties->major = 8, properties->minor = 6;
  properties->multiProcessorCount = kMultiprocessors;
  properties->maxThreadsPerMultiProcessor = 1536;
  properties->l2CacheSize = 4 << 20;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  const Lock lock(mutex);
  *pointer = nullptr;
  if (sticky != cudaSuccess) return returned(sticky);
  if (unsafe()) return returned(cudaErrorStreamCaptureUnsupported);
  if (bytes == 0) return cudaSuccess;
  if (bytes > limit || used > limit - bytes) return returned(cudaErrorMemoryAllocation);
  if (posix_memalign(pointer, 256, bytes) != 0) return returned(cudaErrorMemoryAllocation);
  std::memset(*pointer, 0xff, bytes);  // NaN
  deviceMemory[reinterpret_cast<uintptr_t>(*pointer)] = bytes;
  used += bytes;
  return cudaSuccess;
}

cudaError_t cudaFree(void* pointer) {
  const Lock lock(mutex);
  if (pointer == nullptr) return cudaSuccess;
  if (unsafe()) return returned(cudaErrorStreamCaptureUnsupported);
  const auto found = deviceMemory.find(reinterpret_cast<uintptr_t>(pointer));
  if (found == deviceMemory.end()) return returned(cudaErrorInvalidValue);
  for (cudaStream_t stream : streams()) drain(stream);
  cudasim::confine({});
  used -= found->second;
  deviceMemory.erase(found);
  std::free(pointer);
  return sticky;
}

cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  const Lock lock(mutex);
  if (unsafe()) return returned(cudaErrorStreamCaptureUnsupported);
  if (posix_memalign(pointer, 4096, bytes) != 0) return returned(cudaErrorMemoryAllocation);
  pinnedMemory[reinterpret_cast<uintptr_t>(*pointer)] = bytes;
  return cudaSuccess;
}

cudaError_t cudaFreeHost(void* pointer) {
  const Lock lock(mutex);
  if (pointer == nullptr) return cudaSuccess;
  if (unsafe()) return returned(cudaErrorStreamCaptureUnsupported);
  for (cudaStream_t stream : streams()) drain(stream);
  if (pinnedMemory.erase(reinterpret_cast<uintptr_t>(pointer)) == 0) return returned(cudaErrorInvalidValue);
  std::free(pointer);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
  const Lock lock(mutex);
  if (sticky != cudaSuccess) return returned(sticky);
  *available = limit - std::min(limit, used);
  *total = limit;
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  const Lock lock(mutex);
  const bool toDevice = kind != cudaMemcpyDeviceToHost, fromDevice = kind != cudaMemcpyHostToDevice;
  if (bytes > 0 &&
      ((toDevice && !within(deviceMemory, to, bytes)) || (fromDevice && !within(deviceMemory, from, bytes)) ||
       (!toDevice && within(deviceMemory, to, 1)) || (!fromDevice && within(deviceMemory, from, 1))))
    return returned(cudaErrorInvalidValue);
  // Memory of the host that is not pinned is copied before the call returns.
  const bool pageable =
      (!toDevice && !within(pinnedMemory, to, bytes)) || (!fromDevice && !within(pinnedMemory, from, bytes));
  if (pageable && unsafe(stream)) return returned(cudaErrorStreamCaptureUnsupported);
  const cudaError_t error = enqueue(stream, [=] {
    [[maybe_unused]] const cudasim::Lifted lifted(stream);
    std::memmove(to, from, bytes);
  });
  if (pageable) drain(stream);
  return error;
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  const Lock lock(mutex);
  if (bytes > 0 && !within(deviceMemory, to, bytes)) return returned(cudaErrorInvalidValue);
  return enqueue(stream, [=] {
    [[maybe_unused]] const cudasim::Lifted lifted(stream);
    std::memset(to, value, bytes);
  });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const Lock lock(mutex);
  if (sticky != cudaSuccess) return returned(sticky);
  const char* mode = std::getenv("DEPTHWISE_CUDASIM_STREAMS");
  const auto& all = streams();
  const bool first =
      std::none_of(all.begin(), all.end(), [](auto one) { return one->device == chosenDevice; });
  *stream = new cudasimStream;
  (*stream)->device = chosenDevice;
  (*stream)->early = !first && mode != nullptr && std::string(mode) == "early";
  streams().push_back(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Lock lock(mutex);
  drain(stream);
  auto& all = streams();
  for (size_t i = 0; i < all.size(); i++)
    if (all[i] == stream) all.erase(all.begin() + static_cast<std::ptrdiff_t>(i));
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Lock lock(mutex);
  if (unsafe(stream)) return returned(cudaErrorStreamCaptureUnsupported);
  drain(stream);
  return returned(sticky);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new cudasimEvent;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Lock lock(mutex);
  event->stream = stream;
  event->ticket = stream->queued;
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Lock lock(mutex);
  if (event->stream == nullptr) return cudaSuccess;
  if (unsafe(event->stream)) return returned(cudaErrorStreamCaptureUnsupported);
  drain(event->stream, event->ticket);
  return returned(sticky);
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const Lock lock(mutex);
  if (event->stream == nullptr || event->stream->done >= event->ticket) return returned(sticky);
  if (unsafe(event->stream)) return returned(cudaErrorStreamCaptureUnsupported);
  return returned(cudaErrorNotReady);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Lock lock(mutex);
  if (event->stream == nullptr) return cudaSuccess;
  // Of what was recorded so far; that the event is recorded again does not matter.
  return enqueue(stream, [other = event->stream, ticket = event->ticket] { drain(other, ticket); });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const Lock lock(mutex);
  if (sticky != cudaSuccess) return returned(sticky);
  if (stream->capturing != nullptr) return returned(cudaErrorInvalidValue);
  stream->capturing = new cudasimGraph;
  // As what CUDA cannot capture: noticed at the end.
  stream->invalidated = std::getenv("DEPTHWISE_CUDASIM_UNCAPTURABLE") != nullptr;
  stream->global = mode == cudaStreamCaptureModeGlobal;
  if (stream->global) globalCaptures++;
  captures++;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const Lock lock(mutex);
  *graph = nullptr;
  if (stream->capturing == nullptr) return returned(cudaErrorInvalidValue);
  std::unique_ptr<cudasimGraph> captured(stream->capturing);
  stream->capturing = nullptr;
  captures--;
  if (stream->global) globalCaptures--;
  if (stream->invalidated) return returned(cudaErrorStreamCaptureInvalidated);
  *graph = captured.release();
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new cudasimGraph(*graph);
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  return enqueue(stream, [works = executable->works] {
    for (const Work& work : *works)
      if (sticky == cudaSuccess) work();
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute, int value) {
  const Lock lock(mutex);
  if (value < 0 || static_cast<size_t>(value) > kSharedBytesOptin) return returned(cudaErrorInvalidValue);
  sharedLimits[function] = static_cast<size_t>(value);
  return cudaSuccess;
}

cudaError_t cudasimEnqueue(cudaStream_t stream, Work work) { return enqueue(stream, std::move(work)); }

cudaError_t cudasimLaunch(const void* function, dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                          std::function<void()> thread) {
  const Lock lock(mutex);
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  const auto found = sharedLimits.find(function);
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535 ||
      threads == 0 || threads > 1024 || block.z > 64 ||
      shared > (found == sharedLimits.end() ? kSharedBytes : found->second))
    return returned(cudaErrorInvalidConfiguration);
  // A kernel goes to a stream of the device that the thread has chosen, or nowhere.
  if (stream == nullptr || stream->device != chosenDevice) return returned(cudaErrorInvalidResourceHandle);
  return enqueue(stream, [=, order = orderOf(stream->device)] {
    if (injected != cudaSuccess) {
      sticky = injected;
      injected = cudaSuccess;
      return;
    }
    launched++;
    lastMessage = cudasim::run({grid, block, shared, &thread}, order);
    if (!lastMessage.empty()) sticky = cudaErrorLaunchFailure;
  });
}
