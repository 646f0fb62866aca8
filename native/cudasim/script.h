// What tests say of the simulation's plans: how long they take, and which cannot be built.
#ifndef DEPTHWISE_CUDASIM_SCRIPT_H
#define DEPTHWISE_CUDASIM_SCRIPT_H

#include <cstdlib>
#include <functional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "lent.h"
#include "plans.h"
#include "simulation.h"

namespace dw::cuda {

// Times that repeat: a kernel takes one millisecond, a plan what it is said to take.
class SimulatedStopwatch final : public Stopwatch {
 public:
  SimulatedStopwatch(cudaStream_t stream, LentMemory& lent) : stream_(stream), lent_(lent) {}

  void* allocate(size_t bytes) override {
    void* memory = lent_.take(bytes);
    if (memory == nullptr && cudaMalloc(&memory, bytes) == cudaErrorMemoryAllocation) return nullptr;
    check(cudaMemsetAsync(memory, 0, bytes, stream_), "cudaMemsetAsync");
    return memory;
  }
  void release(void* memory) override {
    if (!lent_.giveBack(memory)) cudaFree(memory);
  }
  Stream stream() override { return stream_; }
  double measure(int repeats, const std::function<void()>& launch) override {
    const uint64_t kernels = cudasim::launches();
    const double plans = plans_;
    for (int i = 0; i < repeats; i++) launch();
    check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    return static_cast<double>(cudasim::launches() - kernels) + plans_ - plans;
  }
  void add(double milliseconds) { plans_ += milliseconds; }

 private:
  cudaStream_t stream_;
  LentMemory& lent_;
  double plans_ = 0;
};

// What tests say of plans, in DEPTHWISE_CUDASIM_PLANS: "<part of a key>:<milliseconds>;<part>:fails". The
// first part that fits counts.
class Script {
 public:
  Script() {
    const char* text = std::getenv("DEPTHWISE_CUDASIM_PLANS");
    if (text == nullptr) return;
    given_ = true;
    std::istringstream rules(text);
    for (std::string rule; std::getline(rules, rule, ';');) {
      const size_t colon = rule.rfind(':');
      if (colon != std::string::npos) rules_.emplace_back(rule.substr(0, colon), rule.substr(colon + 1));
    }
  }
  // Whether plans are to be chosen by time.
  bool given() const { return given_; }
  // The time of a plan. Throws PlanError where it is to fail.
  double millisecondsOf(const std::string& key) const {
    for (const auto& [part, outcome] : rules_) {
      if (key.find(part) == std::string::npos) continue;
      if (outcome == "fails") throw PlanError(PlanError::Kind::failed, "loops: this plan is to fail");
      return std::strtod(outcome.c_str(), nullptr);
    }
    return 1;
  }

 private:
  bool given_ = false;
  std::vector<std::pair<std::string, std::string>> rules_;
};

}  // namespace dw::cuda

#endif
