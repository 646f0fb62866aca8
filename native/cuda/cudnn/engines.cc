// Engines as the heuristics list them, and plans made of them.
#include "engines.h"

#include <algorithm>
#include <set>

namespace dw::cuda {

namespace {

const char* knobName(cudnnBackendKnobType_t type) {
  switch (type) {
    case CUDNN_KNOB_TYPE_SWIZZLE:
      return "SWIZZLE";
    case CUDNN_KNOB_TYPE_TILE_SIZE:
      return "TILE_SIZE";
    case CUDNN_KNOB_TYPE_EDGE:
      return "EDGE";
    case CUDNN_KNOB_TYPE_MULTIPLY:
      return "MULTIPLY";
    case CUDNN_KNOB_TYPE_SPLIT_K_BUF:
      return "SPLIT_K_BUF";
    case CUDNN_KNOB_TYPE_TILEK:
      return "TILEK";
    case CUDNN_KNOB_TYPE_STAGES:
      return "STAGES";
    case CUDNN_KNOB_TYPE_REDUCTION_MODE:
      return "REDUCTION_MODE";
    case CUDNN_KNOB_TYPE_SPLIT_K_SLC:
      return "SPLIT_K_SLC";
    case CUDNN_KNOB_TYPE_IDX_MODE:
      return "IDX_MODE";
    case CUDNN_KNOB_TYPE_SPECFILT:
      return "SPECFILT";
    case CUDNN_KNOB_TYPE_KERNEL_CFG:
      return "KERNEL_CFG";
    case CUDNN_KNOB_TYPE_WORKSPACE:
      return "WORKSPACE";
    case CUDNN_KNOB_TYPE_TILE_CGA_M:
      return "TILE_CGA_M";
    case CUDNN_KNOB_TYPE_TILE_CGA_N:
      return "TILE_CGA_N";
    case CUDNN_KNOB_TYPE_BLOCK_SIZE:
      return "BLOCK_SIZE";
    case CUDNN_KNOB_TYPE_OCCUPANCY:
      return "OCCUPANCY";
    case CUDNN_KNOB_TYPE_ARRAY_SIZE_PER_THREAD:
      return "ARRAY_SIZE_PER_THREAD";
    case CUDNN_KNOB_TYPE_SPLIT_COLS:
      return "SPLIT_COLS";
    case CUDNN_KNOB_TYPE_TILE_ROWS:
      return "TILE_ROWS";
    case CUDNN_KNOB_TYPE_TILE_COLS:
      return "TILE_COLS";
    case CUDNN_KNOB_TYPE_LOAD_SIZE:
      return "LOAD_SIZE";
    case CUDNN_KNOB_TYPE_CTA_COUNT:
      return "CTA_COUNT";
    case CUDNN_KNOB_TYPE_STREAM_K:
      return "STREAM_K";
    case CUDNN_KNOB_TYPE_SPLIT_P_SLC:
      return "SPLIT_P_SLC";
    case CUDNN_KNOB_TYPE_TILE_M:
      return "TILE_M";
    case CUDNN_KNOB_TYPE_TILE_N:
      return "TILE_N";
    case CUDNN_KNOB_TYPE_WARP_SPEC_CFG:
      return "WARP_SPEC_CFG";
    default:
      return nullptr;  // deprecated, or newer than this list
  }
}

std::string knobsOf(const Descriptor& config) {
  std::string text;
  // This attribute's number is told only together with its values.
  const auto choices = config.getDescriptors(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
                                             CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, CUDNN_KNOB_TYPE_COUNTS);
  for (const Descriptor& choice : choices) {
    const auto type = choice.get<cudnnBackendKnobType_t>(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE);
    const auto value = choice.get<int64_t>(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE);
    const char* name = knobName(type);
    if (!text.empty()) text += ' ';
    text += name != nullptr ? name : "KNOB_" + std::to_string(static_cast<int>(type));
    text += '=' + std::to_string(value);
  }
  return text;
}

std::vector<Descriptor> propose(const Target& target, const Descriptor& graph, cudnnBackendHeurMode_t mode) {
  Descriptor heuristic(target.cudnn(), CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph).set(CUDNN_ATTR_ENGINEHEUR_MODE, mode);
  target.bindHeuristic(heuristic);
  heuristic.finalize();
  return heuristic.getDescriptors(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
}

}  // namespace

const char* nameOf(cudnnBackendNumericalNote_t note) {
  switch (note) {
    case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
      return "tensor cores";
    case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:
      return "inputs rounded";
    case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
      return "sums of reduced precision";
    case CUDNN_NUMERICAL_NOTE_FFT:
      return "FFT";
    case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
      return "nondeterministic";
    case CUDNN_NUMERICAL_NOTE_WINOGRAD:
      return "Winograd";
    case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4:
      return "Winograd tile 4x4";
    case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6:
      return "Winograd tile 6x6";
    case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13:
      return "Winograd tile 13x13";
    case CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP:
      return "strict NaN";
    default:
      return "a note that this version does not know";
  }
}

bool Engine::has(cudnnBackendNumericalNote_t note) const {
  return std::find(notes.begin(), notes.end(), note) != notes.end();
}

bool Engine::compiled() const {
  return std::find(behavior.begin(), behavior.end(), CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION) !=
         behavior.end();
}

std::string Engine::name() const {
  return "engine " + std::to_string(index) + (knobs.empty() ? "" : ' ' + knobs);
}

std::string Engine::noteText() const {
  std::string text;
  for (const auto note : notes) text += (text.empty() ? "" : ", ") + std::string(nameOf(note));
  return text;
}

std::vector<Engine> listEngines(const Target& target, const Descriptor& graph) {
  std::vector<Engine> engines;
  std::set<std::string> seen;
  for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    for (Descriptor& config : propose(target, graph, mode)) {
      Engine engine;
      const Descriptor inner =
          config.getDescriptor(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
      engine.index = inner.get<int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
      engine.notes = inner.getAll<cudnnBackendNumericalNote_t>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE);
      engine.behavior = inner.getAll<cudnnBackendBehaviorNote_t>(CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE);
      engine.knobs = knobsOf(config);
      engine.fallback = mode == CUDNN_HEUR_MODE_FALLBACK;
      engine.config = std::move(config);
      if (seen.insert(engine.name()).second) engines.push_back(std::move(engine));
    }
  }
  return engines;
}

std::string refusal(const Engine& engine, const Requirements& requirements) {
  if (requirements.deterministic && engine.has(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC))
    return "nondeterministic";
  // Sums are kept in f32, in every type.
  if (engine.has(CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)) return "sums of reduced precision";
  if (requirements.type == DataType::f32) {
    if (engine.has(CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)) return "inputs rounded";
    if (!requirements.tf32 && engine.has(CUDNN_NUMERICAL_NOTE_TENSOR_CORE)) return "TF32 not asked for";
    return "";
  }
  // In 16 bits the transformed tiles lose digits that the direct product keeps.
  for (const auto note : {CUDNN_NUMERICAL_NOTE_WINOGRAD, CUDNN_NUMERICAL_NOTE_FFT})
    if (engine.has(note)) return std::string(nameOf(note)) + " in 16 bits";
  return "";
}

ExecutionPlan buildPlan(const Target& target, const Engine& engine) {
  ExecutionPlan plan{Descriptor(target.cudnn(), CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)};
  plan.descriptor.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, engine.config);
  target.bindPlan(plan.descriptor);
  plan.descriptor.finalize();
  plan.workspace =
      static_cast<size_t>(plan.descriptor.get<int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE));
  return plan;
}

std::string savePlan(const ExecutionPlan& plan) {
  const auto text = plan.descriptor.getAll<char>(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION);
  if (text.empty()) throw PlanError(PlanError::Kind::unsupported, "this plan has no text");
  return std::string(text.begin(), text.end());
}

ExecutionPlan restorePlan(const Target& target, const std::string& saved) {
  ExecutionPlan plan{Descriptor(target.cudnn(), CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)};
  target.bindPlan(plan.descriptor);
  plan.descriptor.set(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, saved).finalize();
  plan.workspace =
      static_cast<size_t>(plan.descriptor.get<int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE));
  return plan;
}

}  // namespace dw::cuda
