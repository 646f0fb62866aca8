// Execution of a prepared program: addresses patched, kernels launched in order, failures kept with outputs.
#include "program.h"

#include <algorithm>
#include <chrono>

namespace dw {

PreparedProgram::PreparedProgram(ProgramCode code, Allocator::Block* arena)
    : code_(std::move(code)), arena_(arena) {
  char* const base = arena_ != nullptr ? arena_->pointer : nullptr;
  pointers_.reserve(code_.operands.size());
  for (uint32_t position = 0; position < code_.operands.size(); position += 1) {
    const ProgramCode::Value& value = code_.values[code_.operands[position]];
    const bool external = value.external != ProgramCode::kNone;
    if (external) patches_.push_back({position, value.external, value.part ? value.offset : 0});
    pointers_.push_back(external || base == nullptr ? nullptr : base + value.offset);
  }
}

void PreparedProgram::execute(Stream& stream, BackendDevice& device, KernelCache& kernels,
                              Workspace& workspace, const std::vector<std::shared_ptr<Buffer>>& buffers,
                              double* times) {
  const size_t inputs = code_.inputs.size();
  uint32_t started = ProgramCode::kNone;
  try {
    if (stream.errors().peek() != nullptr) {
      markFailed(buffers, stream.errors().peek(), started);
      return;
    }
    for (size_t i = 0; i < inputs; i += 1) {
      if (buffers[i]->failure() != nullptr) {
        const SharedFailure failure = buffers[i]->failure();
        stream.errors().keep(failure);
        markFailed(buffers, failure, started);
        return;
      }
    }
    if (!resolved_) resolve(device, kernels);
    void* const scratch = workspaceBytes_ > 0 ? workspace.atLeast(workspaceBytes_, stream) : nullptr;
    for (const Patch& patch : patches_) {
      pointers_[patch.position] = static_cast<char*>(buffers[patch.external]->pointer) + patch.offset;
    }
    const auto launches = [&] { return launchAll(stream, device, scratch, buffers, times, started); };
    dw_kernel* recorded = nullptr;
    // One kernel is as well launched by itself; and only single launches can be timed.
    if (times == nullptr && kernels_.size() > 1) {
      std::vector<void*> addresses = {scratch};
      for (const std::shared_ptr<Buffer>& buffer : buffers) addresses.push_back(buffer->pointer);
      recorded = recordings_.find(device, std::move(addresses), launches);
    }
    started = ProgramCode::kNone;
    if (recorded != nullptr)
      device.launch(recorded, nullptr, nullptr, nullptr);
    else if (!launches())
      return;
    for (size_t i = inputs; i < buffers.size(); i += 1) buffers[i]->heal();
  } catch (...) {
    const SharedFailure failure = currentFailure();
    stream.errors().keep(failure);
    markFailed(buffers, failure, started);
  }
}

bool PreparedProgram::launchAll(const Stream& stream, BackendDevice& device, void* scratch,
                                const std::vector<std::shared_ptr<Buffer>>& buffers, double* times,
                                uint32_t& started) {
  const auto begin = std::chrono::steady_clock::now();
  const auto sinceBegin = [&] {
    device.synchronize();
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count();
  };
  for (uint32_t at = 0; at < code_.instructions.size(); at += 1) {
    if (kernels_[at] == nullptr) continue;
    if (stream.stopping()) return false;
    const ProgramCode::Instruction& instruction = code_.instructions[at];
    void** const operands = pointers_.data() + instruction.firstOperand;
    started = at;
    if (times != nullptr) times[2 * at] = sinceBegin();
    device.launch(kernels_[at]->handle(), operands, operands + instruction.inputs, scratch);
    if (times != nullptr) times[2 * at + 1] = sinceBegin();
  }
  for (size_t i = 0; i < code_.outputs.size(); i += 1) {
    const ProgramCode::Output& output = code_.outputs[i];
    const Buffer& target = *buffers[code_.inputs.size() + i];
    if (output.copyFrom == ProgramCode::kNone || buffers[output.copyFrom]->pointer == target.pointer)
      continue;
    device.copy(target.pointer, buffers[output.copyFrom]->pointer, code_.values[output.value].bytes);
  }
  return true;
}

void PreparedProgram::resolve(BackendDevice& device, KernelCache& kernels) {
  // The arena holds nothing between runs: what a backend tries out needs no memory beside it.
  struct Lent {
    BackendDevice& device;
    Lent(BackendDevice& to, const Allocator::Block* block) : device(to) {
      if (block != nullptr) device.lend(block->pointer, block->size);
    }
    ~Lent() { device.lend(nullptr, 0); }
  } const lent(device, arena_);
  kernels_.clear();
  workspaceBytes_ = 0;
  for (const ProgramCode::Instruction& instruction : code_.instructions) {
    kernels_.push_back(instruction.empty ? nullptr : kernels.get(code_.node(instruction)));
    if (kernels_.back() != nullptr) workspaceBytes_ = std::max(workspaceBytes_, kernels_.back()->workspace());
  }
  resolved_ = true;
}

// After a failure: outputs made before the instruction that failed are results; its own are not, nor are
// those that would have come after it, except where the output is an input updated in place, which keeps what
// it had. `started` is the last instruction begun, kNone where there was none.
void PreparedProgram::markFailed(const std::vector<std::shared_ptr<Buffer>>& buffers,
                                 const SharedFailure& failure, uint32_t started) {
  const auto firstOutput = buffers.begin() + static_cast<std::ptrdiff_t>(code_.inputs.size());
  for (size_t i = 0; i < code_.outputs.size(); i += 1) {
    const ProgramCode::Output& output = code_.outputs[i];
    const std::shared_ptr<Buffer>& buffer = *(firstOutput + static_cast<std::ptrdiff_t>(i));
    const bool passed = output.copyFrom != ProgramCode::kNone;
    const bool done = !passed && started != ProgramCode::kNone && output.producer < started;
    const bool touched = !passed && output.producer == started;
    const bool inPlace = std::find(buffers.begin(), firstOutput, buffer) != firstOutput;
    if (touched || (!done && !inPlace)) buffer->spoil(failure);
  }
}

}  // namespace dw
