// Nodes as backends read them: shapes, types and attributes with checks. Knows no backend and no particular
// op.
#ifndef DEPTHWISE_COMMON_NODE_H
#define DEPTHWISE_COMMON_NODE_H

#include <cstdarg>
#include <cstdint>
#include <exception>
#include <initializer_list>

#include "depthwise.h"

namespace dw {

// A failure on its way to the C interface, where it becomes a status and a message.
class Error : public std::exception {
 public:
  __attribute__((format(printf, 3, 4))) Error(dw_status status, const char* format, ...);
  dw_status status() const { return status_; }
  const char* what() const noexcept override { return message_; }

 private:
  dw_status status_;
  char message_[896];
};

const char* opName(uint32_t op);
const char* typeName(int32_t dtype);
size_t byteSize(int32_t dtype);

int64_t elements(const dw_aval& aval);
// The last extent (channels), and the product of the others (rows). A scalar is one row of one channel.
int64_t channels(const dw_aval& aval);
int64_t rows(const dw_aval& aval);

// Reads a dw_node with checks: nothing that comes through the C interface may corrupt memory.
class Node {
 public:
  explicit Node(const dw_node& node);

  const char* name() const { return name_; }
  uint32_t op() const { return node_.op; }
  uint32_t inputs() const { return node_.n_inputs; }
  uint32_t outputs() const { return node_.n_outputs; }
  uint32_t attributes() const { return node_.n_attributes; }
  const dw_aval& input(uint32_t i) const;
  const dw_aval& output(uint32_t i) const;
  double attribute(uint32_t i) const;
  // An attribute that must be an integer from `least` to 2^53.
  int64_t integer(uint32_t i, int64_t least) const;

  // Throws unless the node has just so many inputs, outputs and attributes.
  void expect(uint32_t inputs, uint32_t outputs, uint32_t attributes) const;
  void expectType(const dw_aval& aval, int32_t type) const;
  // Throws unless the type is f32, f16 or bf16; f64 is unsupported, others are invalid.
  void expectFloating(const dw_aval& aval) const;
  void expectShape(const dw_aval& aval, std::initializer_list<int64_t> dims) const;
  void expectSameShape(const dw_aval& a, const dw_aval& b) const;
  // The same shape and type.
  void expectSame(const dw_aval& a, const dw_aval& b) const;
  void expectRank(const dw_aval& aval, int32_t rank) const;
  // A vector f32[c]: sums, scales and the like, whatever the type of the data.
  void expectVector(const dw_aval& aval, int64_t c) const;

  [[noreturn]] __attribute__((format(printf, 2, 3))) void invalid(const char* format, ...) const;
  [[noreturn]] __attribute__((format(printf, 2, 3))) void unsupported(const char* format, ...) const;

 private:
  const dw_node& node_;
  const char* name_;
};

}  // namespace dw

#endif
