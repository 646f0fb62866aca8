// Decoding of program payloads. The layout is that of encodeProgram in lib/core/program.ts.
#include <cmath>

#include "depthwise_cudnn_ops.h"
#include "program.h"

namespace dw {

namespace {

constexpr double kPayloadVersion = 2;

uint64_t bytesPerElement(dw_dtype dtype) {
  switch (dtype) {
    case DW_F32:
    case DW_I32:
      return 4;
    case DW_F64:
      return 8;
    case DW_F16:
    case DW_BF16:
      return 2;
    case DW_U8:
      return 1;
  }
  return 0;
}

// Reads numbers one after the other and refuses any that is not what it should be.
class Reader {
 public:
  explicit Reader(const std::vector<double>& numbers) : numbers_(numbers) {}

  double next(const char* what) {
    if (at_ >= numbers_.size()) fail(FailureKind::Argument, "program: the payload ends before %s", what);
    return numbers_[at_++];
  }
  uint64_t whole(const char* what, uint64_t from, uint64_t to) {
    const double number = next(what);
    if (!(number >= static_cast<double>(from) && number <= static_cast<double>(to)) ||
        number != std::floor(number)) {
      fail(FailureKind::Argument, "program: %s is %g at %zu, expected a whole number from %llu to %llu", what,
           number, at_ - 1, static_cast<unsigned long long>(from), static_cast<unsigned long long>(to));
    }
    return static_cast<uint64_t>(number);
  }
  // A number of things that each take at least one number of what is left.
  uint32_t count(const char* what) { return static_cast<uint32_t>(whole(what, 0, numbers_.size())); }
  size_t left() const { return numbers_.size() - at_; }

 private:
  const std::vector<double>& numbers_;
  size_t at_ = 0;
};

class Decoder {
 public:
  explicit Decoder(const std::vector<double>& payload) : reader_(payload) {}

  ProgramCode decode() {
    if (reader_.next("the version") != kPayloadVersion) {
      fail(FailureKind::Argument, "program: the payload's version is not %g", kPayloadVersion);
    }
    const uint32_t values = reader_.count("the number of values");
    const uint32_t inputs = reader_.count("the number of inputs");
    const uint32_t outputs = reader_.count("the number of outputs");
    const uint32_t instructions = reader_.count("the number of instructions");
    const uint32_t parts = reader_.count("the number of parts");
    code_.arenaBytes = reader_.whole("the arena's size", 0, kMaxBytes);
    for (uint32_t i = 0; i < values; i += 1) decodeValue();
    made_.assign(values, false);
    producers_.assign(values, ProgramCode::kNone);
    decodeInputs(inputs);
    decodeOutputs(outputs);
    for (uint32_t i = 0; i < parts; i += 1) decodePart();
    for (uint32_t i = 0; i < instructions; i += 1) decodeInstruction(i);
    if (reader_.left() != 0) {
      fail(FailureKind::Argument, "program: %zu numbers too many in the payload", reader_.left());
    }
    finishOutputs();
    return std::move(code_);
  }

 private:
  void decodeValue() {
    ProgramCode::Value value{};
    const auto dtype = static_cast<dw_dtype>(reader_.whole("a type", DW_F32, DW_U8));
    value.aval.dtype = dtype;
    value.aval.rank = static_cast<int32_t>(reader_.whole("a rank", 0, DW_MAX_RANK));
    value.bytes = bytesPerElement(dtype);
    bool empty = false;
    for (int32_t axis = 0; axis < value.aval.rank; axis += 1) {
      const uint64_t extent = reader_.whole("an extent", 0, kMaxBytes);
      value.aval.dims[axis] = static_cast<int64_t>(extent);
      empty = empty || extent == 0;
      // Extents beside an extent of 0 are bounded too: backends multiply some of them.
      if (extent != 0 &&
          (__builtin_mul_overflow(value.bytes, extent, &value.bytes) || value.bytes > kMaxBytes)) {
        fail(FailureKind::Argument, "program: value %%%zu is larger than %llu bytes", code_.values.size(),
             static_cast<unsigned long long>(kMaxBytes));
      }
    }
    if (empty) value.bytes = 0;
    value.external = ProgramCode::kNone;
    value.offset = kNoOffset;
    const double offset = reader_.next("an offset");
    if (offset != -1) {
      const bool good =
          offset >= 0 && offset <= static_cast<double>(code_.arenaBytes) && std::fmod(offset, 64) == 0;
      if (!good || value.bytes > code_.arenaBytes - static_cast<uint64_t>(offset)) {
        fail(FailureKind::Argument,
             "program: value %%%zu of %llu bytes at %g does not lie in the arena of %llu bytes",
             code_.values.size(), static_cast<unsigned long long>(value.bytes), offset,
             static_cast<unsigned long long>(code_.arenaBytes));
      }
      value.offset = static_cast<uint64_t>(offset);
    }
    code_.values.push_back(value);
  }

  uint32_t valueId(const char* what) {
    if (code_.values.empty()) fail(FailureKind::Argument, "program: %s, but there are no values", what);
    return static_cast<uint32_t>(reader_.whole(what, 0, code_.values.size() - 1));
  }

  void makeExternal(uint32_t id, uint32_t external) {
    if (code_.values[id].offset != kNoOffset) {
      fail(FailureKind::Argument, "program: value %%%u comes with each run and has a place in the arena too",
           id);
    }
    code_.values[id].external = external;
  }

  void decodeInputs(uint32_t count) {
    for (uint32_t i = 0; i < count; i += 1) {
      const uint32_t id = valueId("an input");
      if (made_[id]) fail(FailureKind::Argument, "program: value %%%u is an input twice", id);
      made_[id] = true;
      makeExternal(id, i);
      code_.inputs.push_back(id);
    }
  }

  void decodeOutputs(uint32_t count) {
    for (uint32_t i = 0; i < count; i += 1) {
      const uint32_t id = valueId("an output");
      const uint32_t already = code_.values[id].external;
      if (already == ProgramCode::kNone) makeExternal(id, static_cast<uint32_t>(code_.inputs.size()) + i);
      code_.outputs.push_back({id, ProgramCode::kNone, already});
    }
  }

  void decodePart() {
    const uint32_t id = valueId("a part");
    if (code_.inputs.empty()) fail(FailureKind::Argument, "program: a part, but there are no inputs");
    const uint64_t input = reader_.whole("a part's input", 0, code_.inputs.size() - 1);
    const uint64_t offset = reader_.whole("a part's offset", 0, kMaxBytes);
    ProgramCode::Value& part = code_.values[id];
    const uint64_t available = code_.values[code_.inputs[input]].bytes;
    if (offset % 64 != 0 || offset > available || part.bytes > available - offset) {
      fail(FailureKind::Argument, "program: part %%%u of %llu bytes at %llu of an input of %llu", id,
           static_cast<unsigned long long>(part.bytes), static_cast<unsigned long long>(offset),
           static_cast<unsigned long long>(available));
    }
    if (part.external != ProgramCode::kNone) {
      fail(FailureKind::Argument, "program: value %%%u is a part and something else too", id);
    }
    makeExternal(id, static_cast<uint32_t>(input));
    made_[id] = true;
    part.part = true;
    part.offset = offset;
  }

  uint32_t operand(const char* what, uint32_t instruction) {
    const uint32_t id = valueId(what);
    const ProgramCode::Value& value = code_.values[id];
    if (value.external == ProgramCode::kNone && value.offset == kNoOffset) {
      fail(FailureKind::Argument, "program: value %%%u of instruction %u has no place in the arena", id,
           instruction);
    }
    code_.operands.push_back(id);
    code_.avals.push_back(value.aval);
    return id;
  }

  void decodeInstruction(uint32_t at) {
    const double op = reader_.next("an op");
    if (!(op >= 0 && op <= 65535) || op != std::floor(op) || opName(static_cast<dw_op>(op)) == nullptr) {
      fail(FailureKind::Argument, "program: instruction %u has the unknown op %g", at, op);
    }
    ProgramCode::Instruction instruction{};
    instruction.op = static_cast<dw_op>(op);
    instruction.inputs = reader_.count("an instruction's number of inputs");
    instruction.outputs = reader_.count("an instruction's number of outputs");
    instruction.attributes = reader_.count("an instruction's number of attributes");
    instruction.firstOperand = static_cast<uint32_t>(code_.operands.size());
    instruction.firstAttribute = static_cast<uint32_t>(code_.attributes.size());
    if (instruction.outputs == 0) fail(FailureKind::Argument, "program: instruction %u makes nothing", at);
    for (uint32_t i = 0; i < instruction.inputs; i += 1) {
      const uint32_t id = operand("an operand", at);
      if (!made_[id])
        fail(FailureKind::Argument, "program: instruction %u uses %%%u before it is made", at, id);
    }
    instruction.empty = true;
    for (uint32_t i = 0; i < instruction.outputs; i += 1) {
      const uint32_t id = operand("a result", at);
      if (made_[id]) fail(FailureKind::Argument, "program: instruction %u makes %%%u a second time", at, id);
      made_[id] = true;
      producers_[id] = at;
      instruction.empty = instruction.empty && code_.values[id].bytes == 0;
    }
    for (uint32_t i = 0; i < instruction.attributes; i += 1)
      code_.attributes.push_back(reader_.next("an attribute"));
    code_.instructions.push_back(instruction);
  }

  void finishOutputs() {
    for (ProgramCode::Output& output : code_.outputs) {
      if (!made_[output.value])
        fail(FailureKind::Argument, "program: output %%%u is never made", output.value);
      output.producer = producers_[output.value];
    }
  }

  static constexpr uint64_t kNoOffset = UINT64_MAX;

  Reader reader_;
  ProgramCode code_;
  std::vector<bool> made_;
  std::vector<uint32_t> producers_;
};

}  // namespace

ProgramCode decodeProgram(const std::vector<double>& payload) {
  // Counts are kept in 32 bits.
  if (payload.size() > (size_t{1} << 28)) fail(FailureKind::Argument, "program: the payload is too long");
  return Decoder(payload).decode();
}

const char* opName(dw_op op) {
  switch (static_cast<uint32_t>(op)) {
#define DW_OP_NAME(code, name) \
  case code:                   \
    return #name;
    DW_OPS(DW_OP_NAME)
    DW_CUDNN_OPS(DW_OP_NAME)
#undef DW_OP_NAME
    default:
      return nullptr;
  }
}

dw_node ProgramCode::node(const Instruction& instruction) const {
  dw_node node{};
  node.op = instruction.op;
  node.n_inputs = instruction.inputs;
  node.n_outputs = instruction.outputs;
  node.n_attributes = instruction.attributes;
  node.inputs = avals.data() + instruction.firstOperand;
  node.outputs = node.inputs + instruction.inputs;
  node.attributes = attributes.data() + instruction.firstAttribute;
  return node;
}

}  // namespace dw
