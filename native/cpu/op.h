// What an op is to the CPU backend: a check of a node, and a kernel made from it. Knows no particular op.
#ifndef DEPTHWISE_CPU_OP_H
#define DEPTHWISE_CPU_OP_H

#include <cstdarg>
#include <cstdint>
#include <exception>
#include <memory>
#include <utility>

#include "depthwise.h"
#include "device.h"

namespace dw::cpu {

// A failure on its way to the C interface, where it becomes a status and a message.
class Error : public std::exception {
 public:
  __attribute__((format(printf, 3, 4))) Error(dw_status status, const char* format, ...);
  dw_status status() const { return status_; }
  const char* what() const noexcept override { return message_; }

 private:
  dw_status status_;
  char message_[512];
};

// Reads a dw_node with checks: nothing that comes through the C interface may corrupt memory.
class Node {
 public:
  explicit Node(const dw_node& node);

  const char* name() const { return name_; }
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
  // Throws unless a tensor has this type; floating types that this backend lacks are unsupported, others
  // invalid.
  void expectType(const dw_aval& aval, dw_dtype type) const;
  // Throws unless all inputs and outputs are f32.
  void expectFloats() const;
  void expectShape(const dw_aval& aval, std::initializer_list<int64_t> dims) const;
  void expectSameShape(const dw_aval& a, const dw_aval& b) const;
  void expectRank(const dw_aval& aval, int32_t rank) const;

  [[noreturn]] __attribute__((format(printf, 2, 3))) void invalid(const char* format, ...) const;
  [[noreturn]] __attribute__((format(printf, 2, 3))) void unsupported(const char* format, ...) const;

 private:
  const dw_node& node_;
  const char* name_;
};

int64_t elements(const dw_aval& aval);
// The last extent (channels), and the product of the others (rows). A scalar is one row of one channel.
int64_t channels(const dw_aval& aval);
int64_t rows(const dw_aval& aval);
size_t byteSize(int32_t dtype);
const char* typeName(int32_t dtype);

// One call of a kernel: the addresses of this run.
struct Launch {
  dw_device& device;
  const void* const* inputs;
  void* const* outputs;
  void* workspace;

  const float* in(int i) const { return static_cast<const float*>(inputs[i]); }
  float* out(int i) const { return static_cast<float*>(outputs[i]); }
};

}  // namespace dw::cpu

// A prepared node. `run` allocates nothing.
struct dw_kernel {
  virtual ~dw_kernel() = default;
  virtual void run(const dw::cpu::Launch& launch) = 0;
  // What does the work, for people: a name of oneDNN's, or "loops".
  virtual const char* implementation() const { return "loops"; }

  size_t workspace = 0;
  const char* op = "";  // for messages
};

namespace dw::cpu {

using KernelPointer = std::unique_ptr<dw_kernel>;

// A kernel from a function of a Launch.
template <class Function>
KernelPointer makeKernel(Function function, size_t workspace = 0) {
  struct FunctionKernel final : dw_kernel {
    explicit FunctionKernel(Function f) : function(std::move(f)) {}
    void run(const Launch& launch) override { function(launch); }
    Function function;
  };
  auto kernel = std::make_unique<FunctionKernel>(std::move(function));
  kernel->workspace = workspace;
  return kernel;
}

struct Op {
  // Throws an Error that says why the backend cannot run the node.
  void (*check)(const Node& node);
  // Called with a node that passed the check.
  KernelPointer (*prepare)(dw_device& device, const Node& node);
  // For convolutions whose filters packFilters can prepare: how many bytes they then take; 0: they are as
  // they should be. NULL for all other ops.
  size_t (*packedBytes)(dw_device& device, const Node& node) = nullptr;
};

// NULL where this backend does not have the op: some of the table (fused ones) are optional.
const Op* findOp(uint32_t op);
const char* opName(uint32_t op);

}  // namespace dw::cpu

#endif
