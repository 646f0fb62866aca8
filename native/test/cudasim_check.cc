// Tests of the simulation of CUDA itself: does it show what it is there to show?
//
//   cudasim_check                    all checks but the next
//   cudasim_check out-of-bounds      writes behind shared memory: AddressSanitizer ends the program
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <tuple>
#include <vector>

#include "simulation.h"

namespace {

int failures = 0, checks = 0;

void expect(bool holds, const char* what) {
  checks++;
  if (holds) return;
  failures++;
  std::printf("FAILED: %s\n", what);
}

void must(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::printf("FAILED: %s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}

// Kernels.

float* shared() { return static_cast<float*>(cudasim::sharedMemory()); }

// y = x of each block the other way round.
void reverse(const float* x, float* y, bool barrier) {
  const unsigned i = threadIdx.x, n = blockDim.x, first = blockIdx.x * n;
  shared()[i] = x[first + i];
  if (barrier) __syncthreads();
  y[first + i] = shared()[n - 1 - i];
}

// Sums of a block by halves; without the barrier in the loop, halves are added before they are complete.
void sum(const float* x, float* y, bool barrier) {
  const unsigned i = threadIdx.x;
  shared()[i] = x[blockIdx.x * blockDim.x + i];
  __syncthreads();
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    if (i < half) shared()[i] += shared()[i + half];
    if (barrier) __syncthreads();
  }
  if (i == 0) y[blockIdx.x] = shared()[0];
}

void warpSum(const float* x, float* y) {
  float value = x[threadIdx.x];
  for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(0xffffffffu, value, lanes);
  y[threadIdx.x] = value;
}

void shiftDown(const float* x, float* y) {
  y[threadIdx.x] = __shfl_down_sync(0xffffffffu, x[threadIdx.x], 1);
}

void readUnwritten(float* y) { y[threadIdx.x] = shared()[threadIdx.x]; }

void count(unsigned* total) { atomicAdd(total, 1u); }

void leaveEarly() {
  if (threadIdx.x < 5) return;
  __syncthreads();
}

void writeBehind(int at) { shared()[at] = 1; }

void increment(float* y) { y[threadIdx.x] += 1; }

// The launch that the backend's launch.h does, with less.
template <class... Parameters>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t bytes, cudaStream_t stream,
                   Parameters... arguments) {
  const std::tuple<Parameters...> values(arguments...);
  return cudasimLaunch(reinterpret_cast<const void*>(kernel), grid, block, bytes, stream,
                       [kernel, values] { std::apply(kernel, values); });
}

// A device with one stream.
class Device {
 public:
  explicit Device(int ordinal) {
    must(cudaSetDevice(ordinal), "cudaSetDevice");
    must(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  }
  ~Device() { cudaStreamDestroy(stream); }
  Device(const Device&) = delete;

  float* floats(size_t count) {
    void* memory = nullptr;
    must(cudaMalloc(&memory, count * sizeof(float)), "cudaMalloc");
    return static_cast<float*>(memory);
  }
  float* upload(const std::vector<float>& values) {
    float* memory = floats(values.size());
    must(
        cudaMemcpyAsync(memory, values.data(), values.size() * sizeof(float), cudaMemcpyHostToDevice, stream),
        "upload");
    return memory;
  }
  std::vector<float> download(const float* memory, size_t count) {
    std::vector<float> values(count);
    must(cudaMemcpyAsync(values.data(), memory, count * sizeof(float), cudaMemcpyDeviceToHost, stream),
         "download");
    return values;
  }

  cudaStream_t stream = nullptr;
};

constexpr int kOrders = 3;

std::vector<float> numbers(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; i++) values[i] = static_cast<float>(i + 1);
  return values;
}

// How many of the orders give `expected`.
template <class Run>
int agreeing(const std::vector<float>& expected, const Run& run) {
  int agree = 0;
  for (int order = 0; order < kOrders; order++) {
    Device device(order);
    if (run(device) == expected) agree++;
  }
  return agree;
}

void checkBarriers() {
  constexpr unsigned kBlocks = 5, kThreads = 96;
  const std::vector<float> x = numbers(kBlocks * kThreads);
  std::vector<float> reversed(x.size());
  for (size_t i = 0; i < x.size(); i++)
    reversed[i] = x[i / kThreads * kThreads + kThreads - 1 - i % kThreads];
  const auto runReverse = [&](bool barrier) {
    return agreeing(reversed, [&](Device& device) {
      float *from = device.upload(x), *to = device.floats(x.size());
      must(launch(reverse, kBlocks, kThreads, kThreads * sizeof(float), device.stream,
                  static_cast<const float*>(from), to, barrier),
           "reverse");
      return device.download(to, x.size());
    });
  };
  expect(runReverse(true) == kOrders, "a kernel with its barrier is right in every order of threads");
  expect(runReverse(false) < kOrders, "a missing barrier shows in some order");

  std::vector<float> sums(kBlocks);
  const std::vector<float> terms = numbers(kBlocks * 64);
  for (size_t i = 0; i < terms.size(); i++) sums[i / 64] += terms[i];
  const auto runSum = [&](bool barrier) {
    return agreeing(sums, [&](Device& device) {
      float *from = device.upload(terms), *to = device.floats(kBlocks);
      must(launch(sum, kBlocks, 64, 64 * sizeof(float), device.stream, static_cast<const float*>(from), to,
                  barrier),
           "sum");
      return device.download(to, kBlocks);
    });
  };
  expect(runSum(true) == kOrders, "a sum by halves is right in every order");
  expect(runSum(false) < kOrders, "a missing barrier inside a loop shows in some order");
}

void checkWarps() {
  for (unsigned threads : {32u, 64u, 96u}) {
    const std::vector<float> x = numbers(threads);
    std::vector<float> sums(threads), shifted(threads);
    for (unsigned i = 0; i < threads; i++) {
      for (unsigned j = 0; j < 32; j++) sums[i] += x[i / 32 * 32 + j];
      shifted[i] = i % 32 == 31 ? x[i] : x[i + 1];
    }
    expect(agreeing(sums,
                    [&](Device& device) {
                      float *from = device.upload(x), *to = device.floats(threads);
                      must(launch(warpSum, 1, threads, 0, device.stream, static_cast<const float*>(from), to),
                           "warpSum");
                      return device.download(to, threads);
                    }) == kOrders,
           "warps exchange values");
    expect(
        agreeing(shifted,
                 [&](Device& device) {
                   float *from = device.upload(x), *to = device.floats(threads);
                   must(launch(shiftDown, 1, threads, 0, device.stream, static_cast<const float*>(from), to),
                        "shiftDown");
                   return device.download(to, threads);
                 }) == kOrders,
        "the last lane keeps its own value");
  }
}

void checkMemory() {
  Device device(0);
  float* y = device.floats(64);
  expect(std::isnan(device.download(y, 64)[63]), "device memory starts as NaN");
  must(launch(readUnwritten, 1, 64, 64 * sizeof(float), device.stream, y), "readUnwritten");
  bool nan = true;
  for (float value : device.download(y, 64)) nan = nan && std::isnan(value);
  expect(nan, "shared memory starts as NaN");
  float host[4] = {};
  expect(cudaMemcpyAsync(host, y, 65 * sizeof(float), cudaMemcpyDeviceToHost, device.stream) ==
             cudaErrorInvalidValue,
         "a copy beyond an allocation is refused");
  expect(cudaMemcpyAsync(host, host + 1, 4, cudaMemcpyDeviceToDevice, device.stream) == cudaErrorInvalidValue,
         "host memory is not taken for device memory");
  expect(cudaFree(y + 1) == cudaErrorInvalidValue, "only what was allocated can be freed");
  cudasim::limitMemory(1 << 20);
  void* large = nullptr;
  expect(cudaMalloc(&large, 2 << 20) == cudaErrorMemoryAllocation, "memory is limited");
  cudasim::reset();

  // Work is done when somebody waits: pinned memory that is changed before shows.
  void* pinned = nullptr;
  must(cudaMallocHost(&pinned, sizeof(float)), "cudaMallocHost");
  *static_cast<float*>(pinned) = 1;
  must(cudaMemcpyAsync(y, pinned, sizeof(float), cudaMemcpyHostToDevice, device.stream), "upload");
  *static_cast<float*>(pinned) = 2;
  expect(device.download(y, 1)[0] == 2, "pinned memory is read when the copy is done, not when it is queued");
}

void checkLaunches() {
  Device device(2);
  void* memory = nullptr;
  must(cudaMalloc(&memory, sizeof(unsigned)), "cudaMalloc");
  must(cudaMemsetAsync(memory, 0, sizeof(unsigned), device.stream), "cudaMemsetAsync");
  must(launch(count, dim3(7, 3, 2), dim3(10, 4, 2), 0, device.stream, static_cast<unsigned*>(memory)),
       "count");
  unsigned total = 0;
  must(cudaMemcpyAsync(&total, memory, sizeof total, cudaMemcpyDeviceToHost, device.stream), "download");
  expect(total == 7 * 3 * 2 * 10 * 4 * 2, "every thread of every block runs once");

  unsigned* counter = static_cast<unsigned*>(memory);
  expect(launch(count, 0, 32, 0, device.stream, counter) == cudaErrorInvalidConfiguration,
         "an empty grid is refused");
  expect(launch(count, 1, 1025, 0, device.stream, counter) == cudaErrorInvalidConfiguration,
         "too large a block is refused");
  expect(launch(count, 1, 32, 49 << 10, device.stream, counter) == cudaErrorInvalidConfiguration,
         "too much shared memory is refused");
  must(cudaFuncSetAttribute(reinterpret_cast<const void*>(count), cudaFuncAttributeMaxDynamicSharedMemorySize,
                            64 << 10),
       "cudaFuncSetAttribute");
  expect(launch(count, 1, 32, 49 << 10, device.stream, counter) == cudaSuccess, "unless it was asked for");

  expect(launch(leaveEarly, 1, 32, 0, device.stream) == cudaSuccess &&
             cudaStreamSynchronize(device.stream) == cudaErrorLaunchFailure,
         "threads that leave a kernel before its barrier are an error");
  expect(std::strstr(cudasim::message(), "27 threads wait at a barrier") != nullptr,
         "which says how many wait");
  expect(launch(count, 1, 32, 0, device.stream, counter) == cudaErrorLaunchFailure,
         "after which nothing works");
  cudasim::reset();
}

void checkGraphs() {
  Device device(0);
  float* y = device.upload(numbers(8));
  must(cudaStreamBeginCapture(device.stream, cudaStreamCaptureModeThreadLocal), "begin");
  must(launch(increment, 1, 8, 0, device.stream, y), "increment");
  void* memory = nullptr;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  must(cudaStreamEndCapture(device.stream, &graph), "end");
  must(cudaGraphInstantiate(&executable, graph, 0), "instantiate");
  cudaGraphDestroy(graph);
  expect(device.download(y, 8) == numbers(8), "capturing runs nothing");
  for (int i = 0; i < 3; i++) must(cudaGraphLaunch(executable, device.stream), "launch");
  std::vector<float> expected = numbers(8);
  for (float& value : expected) value += 3;
  expect(device.download(y, 8) == expected, "each launch runs all of it");
  cudaGraphExecDestroy(executable);

  must(cudaStreamBeginCapture(device.stream, cudaStreamCaptureModeThreadLocal), "begin");
  expect(cudaStreamSynchronize(device.stream) == cudaErrorStreamCaptureUnsupported,
         "capturing does not wait");
  expect(cudaMalloc(&memory, 8) == cudaErrorStreamCaptureUnsupported, "nor allocate");
  expect(cudaStreamEndCapture(device.stream, &graph) == cudaErrorStreamCaptureInvalidated && graph == nullptr,
         "and does not survive it");
}

// Conversions against arithmetic: the nearest of all values.
void checkTypes() {
  bool same = true, nearest = true;
  for (unsigned bits = 0; bits < 0x10000; bits++) {
    const __half half = {static_cast<uint16_t>(bits)};
    const __nv_bfloat16 brain = {static_cast<uint16_t>(bits)};
    const float x = __half2float(half), z = __bfloat162float(brain);
    if (x == x) same = same && __float2half_rn(x).bits == bits;
    if (z == z) same = same && __float2bfloat16_rn(z).bits == bits;
    // Halfway to the next: to the even one.
    if ((bits & 0x7fff) < 0x7bff) {
      const float next = __half2float({static_cast<uint16_t>(bits + 1)});
      nearest = nearest && __float2half_rn((x + next) / 2).bits == (bits + 1) / 2 * 2;
      nearest = nearest && __float2half_rn(x + (next - x) * 0.75f).bits == bits + 1;
    }
  }
  expect(same, "every f16 and bf16 comes back from f32");
  expect(nearest, "f32 is rounded to the nearest f16, ties to even");
  expect(__float2half_rn(65520.0f).bits == 0x7c00 && __float2half_rn(65519.0f).bits == 0x7bff,
         "f16 overflows to infinity");
  expect(std::isnan(__half2float(__float2half_rn(NAN))) &&
             std::isnan(__bfloat162float(__float2bfloat16_rn(NAN))),
         "NaN stays NaN");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "out-of-bounds") == 0) {
    Device device(0);
    must(launch(writeBehind, 1, 1, 10 * sizeof(float), device.stream, 10), "writeBehind");
    cudaStreamSynchronize(device.stream);
    std::printf("nothing noticed it\n");
    return 0;
  }
  checkBarriers();
  checkWarps();
  checkMemory();
  checkLaunches();
  checkGraphs();
  checkTypes();
  std::printf("%d checks, %d failures\n", checks, failures);
  return failures == 0 ? 0 : 1;
}
