// What goes wrong inside the runtime: one exception type; whoever faces the caller makes it a typed error.
#ifndef DEPTHWISE_RUNTIME_FAILURE_H
#define DEPTHWISE_RUNTIME_FAILURE_H

#include <cstdint>
#include <exception>
#include <string>

#include "depthwise.h"

namespace dw {

enum class FailureKind { Argument, Unsupported, OutOfMemory, Device, Internal, Disposed, Load };

// The stable code that JavaScript sees, for example "OUT_OF_MEMORY".
const char* codeOf(FailureKind kind);

class Failure : public std::exception {
 public:
  Failure(FailureKind kind, std::string message) : kind(kind), message(std::move(message)) {}
  const char* what() const noexcept override { return message.c_str(); }

  FailureKind kind;
  std::string message;
  // Bytes, for OutOfMemory; 0 where unknown.
  uint64_t requested = 0;
  uint64_t free = 0;
  uint64_t largest = 0;
};

// printf into a string.
[[gnu::format(printf, 1, 2)]] std::string text(const char* format, ...);

[[noreturn, gnu::format(printf, 2, 3)]] void fail(FailureKind kind, const char* format, ...);

// Throws what a backend's call reported; `call` names it where the backend left no message.
void check(dw_status status, dw_error& error, const char* call);

}  // namespace dw

#endif
