// Programs: decoding of the payload that lib/core/program.ts writes, and their execution on the stream.
#ifndef DEPTHWISE_RUNTIME_PROGRAM_H
#define DEPTHWISE_RUNTIME_PROGRAM_H

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "allocator.h"
#include "kernel_cache.h"
#include "recording.h"
#include "stream.h"

namespace dw {

// No tensor, arena or buffer is larger: 128 TiB, what an x86-64 process can address.
inline constexpr uint64_t kMaxBytes = uint64_t{1} << 47;

// A reference-counted block of device memory as JavaScript knows it. `references`, `stamp` and `whole` belong
// to the queueing thread, the failure to the stream thread.
struct Buffer {
  Allocator::Block* block = nullptr;
  void* pointer = nullptr;
  uint64_t bytes = 0;
  uint32_t references = 1;
  uint64_t stamp = 0;
  // What this is a range of, with one of its references; null for a block of its own.
  std::shared_ptr<Buffer> whole;
  uint64_t wholeHandle = 0;

  // Set where the run that should have filled this buffer, or a part of it, failed or was skipped: it holds
  // no result.
  const SharedFailure& failure() const { return whole != nullptr ? whole->failure_ : failure_; }
  void spoil(SharedFailure failure) { (whole != nullptr ? whole->failure_ : failure_) = std::move(failure); }
  // All of it has been written. A part does not make the rest a result.
  void heal() {
    if (whole == nullptr) failure_ = nullptr;
  }

 private:
  SharedFailure failure_;
};

// A decoded program. Every number in it has been checked; nothing in it depends on a device.
struct ProgramCode {
  static constexpr uint32_t kNone = UINT32_MAX;

  struct Value {
    dw_aval aval;
    uint64_t bytes;
    uint64_t offset;    // in the arena, or in the external that it is a part of
    uint32_t external;  // input i is i, output i is inputs + i; kNone: lives in the arena
    bool part;          // a range of its external, which is an input
  };
  struct Instruction {
    dw_op op;
    uint32_t inputs, outputs, attributes;  // counts
    uint32_t firstOperand;                 // in `operands`: inputs, then outputs
    uint32_t firstAttribute;               // in `attributes`
    bool empty;                            // has outputs, but all without elements: nothing to compute
  };
  struct Output {
    uint32_t value;
    uint32_t producer;  // index of the instruction that makes it; kNone for an input passed through
    uint32_t
        copyFrom;  // external that holds it already (an input, or the same output earlier); kNone: made here
  };

  std::vector<Value> values;
  std::vector<uint32_t> inputs;
  std::vector<Output> outputs;
  std::vector<Instruction> instructions;
  std::vector<uint32_t> operands;
  std::vector<dw_aval> avals;  // of the operands, in the same order
  std::vector<double> attributes;
  uint64_t arenaBytes = 0;

  dw_node node(const Instruction& instruction) const;
};

// Throws Argument on anything malformed: the payload comes from JavaScript and is not trusted in any way.
ProgramCode decodeProgram(const std::vector<double>& payload);

// A name for messages: "conv2d".
const char* opName(dw_op op);

// A program on a device: its arena, and its kernels once it has run.
class PreparedProgram {
 public:
  PreparedProgram(ProgramCode code, Allocator::Block* arena);

  const ProgramCode& code() const { return code_; }
  Allocator::Block* arena() const { return arena_; }

  // On the stream thread. `buffers` are the inputs, then the outputs, checked for size. `times`, if given,
  // gets the start and the end of each instruction in nanoseconds since the first; each is then waited for.
  void execute(Stream& stream, BackendDevice& device, KernelCache& kernels, Workspace& workspace,
               const std::vector<std::shared_ptr<Buffer>>& buffers, double* times = nullptr);

 private:
  void resolve(BackendDevice& device, KernelCache& kernels);
  // Launches everything, in order; false where the stream stops first. `started` becomes the last instruction
  // begun.
  bool launchAll(const Stream& stream, BackendDevice& device, void* scratch,
                 const std::vector<std::shared_ptr<Buffer>>& buffers, double* times, uint32_t& started);
  void markFailed(const std::vector<std::shared_ptr<Buffer>>& buffers, const SharedFailure& failure,
                  uint32_t started);

  struct Patch {
    uint32_t position;  // in pointers_
    uint32_t external;
    uint64_t offset;
  };

  ProgramCode code_;
  Allocator::Block* arena_;  // nullptr where the program needs none
  std::vector<void*> pointers_;
  std::vector<Patch> patches_;
  std::vector<std::shared_ptr<Kernel>>
      kernels_;  // one per instruction; null where there is nothing to compute
  size_t workspaceBytes_ = 0;
  bool resolved_ = false;
  Recordings recordings_;
};

}  // namespace dw

#endif
