// Drives the CUDA backend's device through the C interface, with faults that only the simulation can be asked
// for: memory that runs out, a device that is lost, captures that fail, copies larger than what is staged.
//
//   cuda_device build/Release/libdepthwise_cudasim.so
#include <cmath>
#include <memory>
#include <string>
#include <thread>

#include "plugin.h"

namespace {

using plugin::die;
using plugin::Kernel;
using plugin::Node;
using plugin::Plugin;
using plugin::shape;

int failures = 0, checks = 0;

void expect(bool holds, const std::string& what) {
  checks++;
  if (holds) return;
  failures++;
  std::printf("FAILED: %s\n", what.c_str());
}

void must(dw_status status, const Plugin& plugin, const char* what) {
  if (status != DW_OK) die(std::string(what) + ": " + plugin.error.message);
}

bool contains(const char* text, const char* part) { return std::strstr(text, part) != nullptr; }

// What the simulation lets tests do; see native/cudasim/simulation.h.
struct Hooks {
  void (*failNext)(int);
  void (*limitMemory)(uint64_t);
  void (*reset)();
  uint64_t (*launches)();

  explicit Hooks(const char* path) {
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) die(dlerror());
    failNext = reinterpret_cast<decltype(failNext)>(dlsym(library, "cudasim_fail_next"));
    limitMemory = reinterpret_cast<decltype(limitMemory)>(dlsym(library, "cudasim_limit_memory"));
    reset = reinterpret_cast<decltype(reset)>(dlsym(library, "cudasim_reset"));
    launches = reinterpret_cast<decltype(launches)>(dlsym(library, "cudasim_launches"));
    if (!failNext || !limitMemory || !reset || !launches) die("this is not the simulation");
  }
};

void upload(Plugin& plugin, void* to, const std::vector<float>& values) {
  must(plugin.api->upload(plugin.device, to, values.data(), values.size() * sizeof(float), &plugin.error),
       plugin, "upload");
}

std::vector<float> download(Plugin& plugin, const void* from, size_t count) {
  std::vector<float> values(count);
  must(plugin.api->download(plugin.device, values.data(), from, count * sizeof(float), &plugin.error), plugin,
       "download");
  return values;
}

std::vector<float> numbers(size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; i++) values[i] = static_cast<float>(i % 1000);
  return values;
}

void checkDescription(Plugin& plugin) {
  const std::string json = plugin.describe();
  expect(contains(json.c_str(), "\"backend\":\"cudasim\"") && contains(json.c_str(), "\"graphs\":true"),
         "the device describes itself: " + json);
}

// More than is staged at once, and less than a cache line; one after the other without waiting.
void checkCopies(Plugin& plugin) {
  for (size_t count : {size_t{1}, size_t{3}, size_t{1 << 20}, size_t{(5 << 20) + 7}}) {
    std::vector<float> values = numbers(count);
    void *first = plugin.allocate(count * 4), *second = plugin.allocate(count * 4);
    upload(plugin, first, values);
    const std::vector<float> kept = values;
    for (float& value : values) value = -1;  // the caller's memory is free at once
    must(plugin.api->copy(plugin.device, second, first, count * 4, &plugin.error), plugin, "copy");
    expect(download(plugin, second, count) == kept, std::to_string(count) + " numbers come back");
    plugin.api->release(plugin.device, first, count * 4);
    plugin.api->release(plugin.device, second, count * 4);
  }
  // Many small ones, more than a half holds.
  constexpr size_t kSmall = 100000;
  void* target = plugin.allocate(kSmall * 64);
  for (size_t i = 0; i < kSmall; i++) {
    const float value = static_cast<float>(i);
    must(plugin.api->upload(plugin.device, static_cast<char*>(target) + i * 64, &value, 4, &plugin.error),
         plugin, "upload");
  }
  const std::vector<float> all = download(plugin, target, kSmall * 16);
  bool right = true;
  for (size_t i = 0; i < kSmall; i++) right = right && all[i * 16] == static_cast<float>(i);
  expect(right, "small copies one after the other keep their places");
  plugin.api->release(plugin.device, target, kSmall * 64);
}

Node addition(int64_t count);

// Uploads that follow work on the device neither wait for it nor come before it: what is read by the work is
// what was there when it was queued.
void checkCopiesAhead(Plugin& plugin, const Hooks& hooks, const std::string& when) {
  constexpr int64_t kCount = (6 << 20) + 5;  // seven parts of the ring
  Kernel kernel(plugin, addition(kCount));
  const std::vector<float> ones(kCount, 1), twos(kCount, 2), threes(kCount, 3);
  upload(plugin, kernel.inputs[0], ones);
  upload(plugin, kernel.inputs[1], twos);
  must(plugin.api->synchronize(plugin.device, &plugin.error), plugin, "synchronize");
  const uint64_t before = hooks.launches();
  must(kernel.launch(), plugin, "launch");
  upload(plugin, kernel.inputs[0], threes);
  expect(hooks.launches() == before, "an upload does not wait for the work before it, " + when);
  const std::vector<float> first = download(plugin, kernel.outputs[0], kCount);
  must(kernel.launch(), plugin, "launch");
  const std::vector<float> second = download(plugin, kernel.outputs[0], kCount);
  expect(first == std::vector<float>(kCount, 3) && second == std::vector<float>(kCount, 5),
         "nor does it come before that, " + when);
  // Batches as they follow each other in training, more than the ring holds, with no wait between.
  constexpr int kBatches = 8;
  std::vector<void*> results;
  for (int batch = 0; batch < kBatches; batch++) {
    upload(plugin, kernel.inputs[batch % 2], std::vector<float>(kCount, static_cast<float>(batch)));
    must(kernel.launch(), plugin, "launch");
    results.push_back(plugin.allocate(kCount * 4));
    must(plugin.api->copy(plugin.device, results.back(), kernel.outputs[0], kCount * 4, &plugin.error),
         plugin, "copy");
  }
  bool right = true;
  for (int batch = 0; batch < kBatches; batch++) {
    // What was in the other operand at first: two.
    const int other = batch == 0 ? 2 : batch - 1;
    const std::vector<float> sums(kCount, static_cast<float>(batch + other));
    right = right && download(plugin, results[static_cast<size_t>(batch)], kCount) == sums;
    plugin.api->release(plugin.device, results[static_cast<size_t>(batch)], kCount * 4);
  }
  expect(right, "parts of the ring are used again when they are free, " + when);
}

// Without memory for the ring copies go through the halves.
void checkCopiesWithoutRing(const char* path, const Hooks& hooks) {
  Plugin plugin(path, 0, 2);
  constexpr size_t kCount = size_t{5} << 20;
  void* memory = plugin.allocate(kCount * 4);
  hooks.limitMemory(kCount * 4);
  upload(plugin, memory, numbers(kCount));
  expect(download(plugin, memory, kCount) == numbers(kCount), "an upload needs no memory on the device");
  hooks.reset();
  plugin.api->release(plugin.device, memory, kCount * 4);
}

Node addition(int64_t count) { return {DW_OP_add, {shape({count}), shape({count})}, {shape({count})}, {}}; }

void checkMemory(Plugin& plugin, const Hooks& hooks) {
  hooks.limitMemory(64 << 20);
  void* memory = nullptr;
  const dw_status status = plugin.api->allocate(plugin.device, 128 << 20, &memory, &plugin.error);
  expect(status == DW_OUT_OF_MEMORY && plugin.error.requested == 128 << 20 && plugin.error.free > 0 &&
             plugin.error.free <= 64 << 20,
         std::string("memory that runs out is reported with figures: ") + plugin.error.message);
  hooks.reset();
  memory = plugin.allocate(128 << 20);
  plugin.api->release(plugin.device, memory, 128 << 20);
  Kernel kernel(plugin, addition(100));
  upload(plugin, kernel.inputs[0], numbers(100));
  upload(plugin, kernel.inputs[1], numbers(100));
  must(kernel.launch(), plugin, "launch");
  expect(download(plugin, kernel.outputs[0], 100)[99] == 198, "and survived");
}

void checkCapture(Plugin& plugin) {
  Kernel kernel(plugin, addition(100));
  upload(plugin, kernel.inputs[0], numbers(100));
  upload(plugin, kernel.inputs[1], numbers(100));
  must(kernel.launch(), plugin, "launch");
  dw_kernel* graph = nullptr;
  must(plugin.api->capture_begin(plugin.device, &plugin.error), plugin, "capture_begin");
  must(kernel.launch(), plugin, "launch");
  // Another thread does not get in the way; this thread's own calls that wait do.
  dw_status elsewhere = DW_INTERNAL;
  std::thread([&] {
    dw_error error = {};
    void* memory = nullptr;
    elsewhere = plugin.api->allocate(plugin.device, 64, &memory, &error);
    if (elsewhere == DW_OK) plugin.api->release(plugin.device, memory, 64);
  }).join();
  expect(elsewhere == DW_OK, "another thread allocates during a capture");
  must(plugin.api->capture_end(plugin.device, &graph, &plugin.error), plugin, "capture_end");
  upload(plugin, kernel.inputs[0], std::vector<float>(100, 5));
  must(plugin.api->launch(plugin.device, graph, nullptr, nullptr, nullptr, &plugin.error), plugin, "replay");
  const std::vector<float> sums = download(plugin, kernel.outputs[0], 100);
  expect(sums[0] == 5 && sums[99] == 104, "a graph reads what is at its addresses when it runs");
  plugin.api->destroy(plugin.device, graph);

  must(plugin.api->capture_begin(plugin.device, &plugin.error), plugin, "capture_begin");
  expect(plugin.api->synchronize(plugin.device, &plugin.error) == DW_DEVICE_ERROR,
         "a capture cannot be waited for");
  expect(plugin.api->capture_end(plugin.device, &graph, &plugin.error) == DW_DEVICE_ERROR, "and then fails");
  must(kernel.launch(), plugin, "launch");
  must(plugin.api->synchronize(plugin.device, &plugin.error), plugin, "synchronize");
  expect(true, "after which launching goes on");
}

// Closing one device leaves the thread with it: the next launch is for another all the same.
void checkSeveralDevices(const char* path) {
  auto first = std::make_unique<Plugin>(path, 0, 0);
  Plugin second(path, 0, 1);
  Kernel kernel(second, addition(100));
  upload(second, kernel.inputs[0], numbers(100));
  upload(second, kernel.inputs[1], numbers(100));
  first.reset();
  expect(kernel.launch() == DW_OK && download(second, kernel.outputs[0], 100)[99] == 198,
         "a device computes after another was closed");
}

void checkLabels(Plugin& plugin) {
  Kernel kernel(plugin, {DW_OP_softmaxCrossEntropy, {shape({4, 3}), shape({4}, DW_I32)}, {shape({4})}, {0}});
  upload(plugin, kernel.inputs[0], numbers(12));
  const int32_t labels[] = {0, 2, 7, 1};
  must(plugin.api->upload(plugin.device, kernel.inputs[1], labels, sizeof labels, &plugin.error), plugin,
       "upload");
  must(kernel.launch(), plugin, "launch");
  expect(plugin.api->synchronize(plugin.device, &plugin.error) == DW_DEVICE_ERROR &&
             contains(plugin.error.message, "label 7 at index 2 is not from 0 to 2"),
         std::string("a label that is no class is reported: ") + plugin.error.message);
  must(plugin.api->synchronize(plugin.device, &plugin.error), plugin, "synchronize");
  const std::vector<float> loss = download(plugin, kernel.outputs[0], 4);
  expect(std::isnan(loss[2]) && loss[0] > 0, "once; its loss is NaN, the others are not touched");
}

void checkLoss(Plugin& plugin, const Hooks& hooks) {
  Kernel kernel(plugin, addition(100));
  upload(plugin, kernel.inputs[0], numbers(100));
  upload(plugin, kernel.inputs[1], numbers(100));
  hooks.failNext(700);
  must(kernel.launch(), plugin, "launch");
  expect(plugin.api->synchronize(plugin.device, &plugin.error) == DW_DEVICE_ERROR &&
             contains(plugin.error.message, "cudaErrorIllegalAddress"),
         std::string("a lost device is reported in CUDA's words: ") + plugin.error.message);
  void* memory = nullptr;
  expect(plugin.api->allocate(plugin.device, 64, &memory, &plugin.error) == DW_DEVICE_ERROR &&
             contains(plugin.error.message, "the device has failed in this process"),
         std::string("and remembered: ") + plugin.error.message);
  expect(kernel.launch() == DW_DEVICE_ERROR, "nothing is launched any more");
}

// A convolution with its sums: "in one" is a plan, here of nine milliseconds, "in steps" a plan and two
// kernels.
const Node kSums = {DW_OP_conv2dSums,
                    {shape({1, 4, 4, 8}), shape({8, 1, 1, 8})},
                    {shape({1, 4, 4, 8}), shape({8}), shape({8})},
                    {1, 1, 0, 0, 0, 0, 1, 1, 1}};
constexpr const char* kSlowInOne = "fusion=1:9";

// Ways are compared on memory that is lent, where there is no other; with none at all the first is taken.
void checkLentMemory(const char* path, const Hooks& hooks) {
  for (const bool lends : {true, false}) {
    Plugin plugin(path, 0);
    constexpr size_t kBytes = 1 << 20;
    void* lent = plugin.allocate(kBytes);
    if (lends) plugin.api->lend(plugin.device, lent, kBytes);
    hooks.limitMemory(1);
    dw_kernel* kernel = nullptr;
    size_t workspace = 0;
    const dw_node view = kSums.view();
    must(plugin.api->prepare(plugin.device, &view, &kernel, &workspace, &plugin.error), plugin, "prepare");
    hooks.reset();
    plugin.api->lend(plugin.device, nullptr, 0);
    plugin.api->destroy(plugin.device, kernel);
    plugin.api->release(plugin.device, lent, kBytes);
    // In steps there is scratch memory for the sums, in one there is none.
    expect((workspace > 0) == lends,
           lends ? "ways are timed on memory that is lent" : "without memory the first way is taken");
  }
}

// A library that fails on a lost device does not say so: the device does, and no other way is tried.
void checkLossInChoosing(const char* path, const Hooks& hooks) {
  {
    Plugin plugin(path, 0);
    hooks.failNext(700);
    const dw_node view = kSums.view();
    dw_kernel* kernel = nullptr;
    size_t workspace = 0;
    expect(plugin.api->prepare(plugin.device, &view, &kernel, &workspace, &plugin.error) == DW_DEVICE_ERROR &&
               contains(plugin.error.message, "cudaErrorIllegalAddress"),
           std::string("a device that is lost while ways are timed is reported: ") + plugin.error.message);
    void* memory = nullptr;
    expect(plugin.api->allocate(plugin.device, 64, &memory, &plugin.error) == DW_DEVICE_ERROR &&
               contains(plugin.error.message, "the device has failed in this process"),
           "and remembered");
  }
  hooks.reset();
}

// The first that notices a lost device may be a library, in words of its own.
void checkLossInPlan(const char* path, const Hooks& hooks) {
  {
    Plugin plugin(path, 0);
    Kernel sum(plugin, addition(100));
    Kernel product(plugin, {DW_OP_linear, {shape({2, 3}), shape({4, 3})}, {shape({2, 4})}, {}});
    hooks.failNext(700);
    // The simulation does 256 pieces of work at once. Under AddressSanitizer a launch is three: what its
    // kernel may reach is set before it and undone after it.
#ifdef __SANITIZE_ADDRESS__
    constexpr int kLaunches = 86;
#else
    constexpr int kLaunches = 257;
#endif
    for (int i = 0; i < kLaunches; i++) must(sum.launch(), plugin, "launch");
    expect(product.launch() == DW_DEVICE_ERROR && contains(plugin.error.message, "cudaErrorIllegalAddress"),
           std::string("a library's own words do not hide a lost device: ") + plugin.error.message);
    expect(
        product.launch() == DW_DEVICE_ERROR && contains(plugin.error.message, "has failed in this process"),
        "which is remembered");
  }
  hooks.reset();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) die("usage: cuda_device libdepthwise_cudasim.so");
  const Hooks hooks(argv[1]);
  {
    Plugin plugin(argv[1], 0);
    checkDescription(plugin);
    checkCopies(plugin);
    checkMemory(plugin, hooks);
    checkCopiesAhead(plugin, hooks, "copies as late as possible");
    checkCapture(plugin);
    checkLabels(plugin);
    checkLoss(plugin, hooks);
  }
  hooks.reset();
  {
    Plugin plugin(argv[1], 0);
    checkCopies(plugin);
  }
  checkSeveralDevices(argv[1]);
  checkCopiesWithoutRing(argv[1], hooks);
  checkLossInPlan(argv[1], hooks);
  setenv("DEPTHWISE_CUDASIM_PLANS", kSlowInOne, 1);
  checkLentMemory(argv[1], hooks);
  checkLossInChoosing(argv[1], hooks);
  unsetenv("DEPTHWISE_CUDASIM_PLANS");
  setenv("DEPTHWISE_CUDASIM_STREAMS", "early", 1);
  {
    Plugin plugin(argv[1], 0);
    checkCopies(plugin);
    checkCopiesAhead(plugin, hooks, "copies as early as possible");
  }
  std::printf("%d checks, %d failures\n", checks, failures);
  return failures == 0 ? 0 : 1;
}
