// Reading nodes with checks, and the table of ops.
#include "op.h"

#include <cmath>
#include <cstdio>
#include <string>

#include "depthwise_cudnn_ops.h"

namespace dw::cpu {

// Weak: an op of the table that has no file here is nullptr, and unsupported.
#define DW_DECLARE_OP(code, name) extern const Op op_##name __attribute__((weak));
DW_OPS(DW_DECLARE_OP)
#undef DW_DECLARE_OP

const Op* findOp(uint32_t op) {
  switch (op) {
#define DW_FIND_OP(code, name) \
  case code:                   \
    return &op_##name;
    DW_OPS(DW_FIND_OP)
#undef DW_FIND_OP
    default:
      return nullptr;
  }
}

const char* opName(uint32_t op) {
  switch (op) {
#define DW_NAME_OP(code, name) \
  case code:                   \
    return #name;
    DW_OPS(DW_NAME_OP)
    DW_CUDNN_OPS(DW_NAME_OP)
#undef DW_NAME_OP
    default:
      return "unknown op";
  }
}

Error::Error(dw_status status, const char* format, ...) : status_(status) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message_, sizeof message_, format, arguments);
  va_end(arguments);
}

size_t byteSize(int32_t dtype) {
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
    default:
      throw Error(DW_INVALID, "unknown type code %d", dtype);
  }
}

const char* typeName(int32_t dtype) {
  static const char* const names[] = {"f32", "f64", "f16", "bf16", "i32", "u8"};
  return dtype >= 0 && dtype <= DW_U8 ? names[dtype] : "unknown type";
}

int64_t elements(const dw_aval& aval) {
  int64_t product = 1;
  for (int32_t i = 0; i < aval.rank; i++) product *= aval.dims[i];
  return product;
}

int64_t channels(const dw_aval& aval) { return aval.rank == 0 ? 1 : aval.dims[aval.rank - 1]; }

int64_t rows(const dw_aval& aval) {
  int64_t product = 1;
  for (int32_t i = 0; i + 1 < aval.rank; i++) product *= aval.dims[i];
  return product;
}

namespace {

std::string describe(const dw_aval& aval) {
  std::string text = std::string(typeName(aval.dtype)) + "[";
  for (int32_t i = 0; i < aval.rank; i++) text += (i ? "," : "") + std::to_string(aval.dims[i]);
  return text + "]";
}

void checkAval(const char* op, const dw_aval& aval) {
  if (aval.rank < 0 || aval.rank > DW_MAX_RANK)
    throw Error(DW_INVALID, "%s: rank %d is not from 0 to %d", op, aval.rank, DW_MAX_RANK);
  int64_t bytes = static_cast<int64_t>(byteSize(aval.dtype));
  for (int32_t i = 0; i < aval.rank; i++) {
    if (aval.dims[i] < 0 || __builtin_mul_overflow(bytes, std::max<int64_t>(aval.dims[i], 1), &bytes))
      throw Error(DW_INVALID, "%s: impossible shape %s", op, describe(aval).c_str());
  }
}

}  // namespace

Node::Node(const dw_node& node) : node_(node), name_(opName(node.op)) {
  if (node.n_inputs > 4096 || node.n_outputs > 64 || node.n_attributes > 64) invalid("too many operands");
  for (uint32_t i = 0; i < node.n_inputs; i++) checkAval(name_, node.inputs[i]);
  for (uint32_t i = 0; i < node.n_outputs; i++) checkAval(name_, node.outputs[i]);
}

const dw_aval& Node::input(uint32_t i) const {
  if (i >= node_.n_inputs) invalid("input %u is missing", i);
  return node_.inputs[i];
}

const dw_aval& Node::output(uint32_t i) const {
  if (i >= node_.n_outputs) invalid("output %u is missing", i);
  return node_.outputs[i];
}

double Node::attribute(uint32_t i) const {
  if (i >= node_.n_attributes) invalid("attribute %u is missing", i);
  return node_.attributes[i];
}

int64_t Node::integer(uint32_t i, int64_t least) const {
  const double value = attribute(i);
  if (!(value >= static_cast<double>(least) && value <= 9007199254740992.0 && value == std::floor(value)))
    invalid("attribute %u: expected an integer of at least %lld, got %g", i, static_cast<long long>(least),
            value);
  return static_cast<int64_t>(value);
}

void Node::expect(uint32_t inputs, uint32_t outputs, uint32_t attributes) const {
  if (node_.n_inputs != inputs || node_.n_outputs != outputs || node_.n_attributes != attributes)
    invalid("expected %u inputs, %u outputs and %u attributes, got %u, %u and %u", inputs, outputs,
            attributes, node_.n_inputs, node_.n_outputs, node_.n_attributes);
}

void Node::expectType(const dw_aval& aval, dw_dtype type) const {
  if (aval.dtype == type) return;
  const bool floating = aval.dtype == DW_F64 || aval.dtype == DW_F16 || aval.dtype == DW_BF16;
  if (type == DW_F32 && floating)
    unsupported("the cpu backend computes in f32, not in %s", typeName(aval.dtype));
  invalid("expected %s, got %s", typeName(type), describe(aval).c_str());
}

void Node::expectFloats() const {
  for (uint32_t i = 0; i < node_.n_inputs; i++) expectType(node_.inputs[i], DW_F32);
  for (uint32_t i = 0; i < node_.n_outputs; i++) expectType(node_.outputs[i], DW_F32);
}

void Node::expectShape(const dw_aval& aval, std::initializer_list<int64_t> dims) const {
  dw_aval wanted = aval;
  wanted.rank = 0;
  for (int64_t extent : dims) wanted.dims[wanted.rank++] = extent;
  expectSameShape(aval, wanted);
}

void Node::expectSameShape(const dw_aval& a, const dw_aval& b) const {
  bool same = a.rank == b.rank;
  for (int32_t i = 0; same && i < a.rank; i++) same = a.dims[i] == b.dims[i];
  if (!same) invalid("shapes %s and %s do not fit together", describe(a).c_str(), describe(b).c_str());
}

void Node::expectRank(const dw_aval& aval, int32_t rank) const {
  if (aval.rank != rank) invalid("expected rank %d, got %s", rank, describe(aval).c_str());
}

void Node::invalid(const char* format, ...) const {
  char text[400];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  throw Error(DW_INVALID, "%s: %s", name_, text);
}

void Node::unsupported(const char* format, ...) const {
  char text[400];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  throw Error(DW_UNSUPPORTED, "%s: %s", name_, text);
}

}  // namespace dw::cpu
