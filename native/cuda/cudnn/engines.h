// Engines: cuDNN's algorithms for a graph, what each promises, and plans made of them.
#ifndef DEPTHWISE_CUDNN_ENGINES_H
#define DEPTHWISE_CUDNN_ENGINES_H

#include <string>
#include <vector>

#include "graph.h"

namespace dw::cuda {

// One engine with one choice of its knobs, as a heuristic proposes it.
struct Engine {
  int64_t index = 0;
  std::string knobs;                                 // "TILE_SIZE=3 STAGES=4"
  std::vector<cudnnBackendNumericalNote_t> notes;    // of its arithmetic
  std::vector<cudnnBackendBehaviorNote_t> behavior;  // of its kernels
  bool fallback = false;                             // of the list that promises no speed
  Descriptor config;

  bool has(cudnnBackendNumericalNote_t note) const;
  // Compiled when the plan is built: takes seconds.
  bool compiled() const;
  std::string name() const;      // "engine 38 TILE_SIZE=3"
  std::string noteText() const;  // "tensor cores, nondeterministic"
};

// A note in words.
const char* nameOf(cudnnBackendNumericalNote_t note);

// What an engine must promise.
struct Requirements {
  DataType type = DataType::f32;
  bool tf32 = false;
  bool deterministic = false;
  size_t workspaceLimit = size_t{256} << 20;
};

// The engines that the heuristics propose, best first: mode A, then the fallback list. Mode B does no grouped
// convolutions and is not asked. Throws PlanError where cuDNN has a reason for there being none.
std::vector<Engine> listEngines(const Target& target, const Descriptor& graph);

// "", or why an engine must not be used.
std::string refusal(const Engine& engine, const Requirements& requirements);

struct ExecutionPlan {
  Descriptor descriptor;
  size_t workspace = 0;
};

// Throws PlanError.
ExecutionPlan buildPlan(const Target& target, const Engine& engine);

// A built plan as text, with its compiled code, and the way back. Throws PlanError.
std::string savePlan(const ExecutionPlan& plan);
ExecutionPlan restorePlan(const Target& target, const std::string& saved);

}  // namespace dw::cuda

#endif
