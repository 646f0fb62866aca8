// Failures: codes, and the translation of a backend's status.
#include "failure.h"

#include <cstdarg>
#include <cstdio>

namespace dw {

namespace {

std::string formatted(const char* format, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  const int length = std::vsnprintf(nullptr, 0, format, again);
  va_end(again);
  std::string result(length > 0 ? static_cast<size_t>(length) : 0, '\0');
  std::vsnprintf(result.data(), result.size() + 1, format, arguments);
  return result;
}

}  // namespace

const char* codeOf(FailureKind kind) {
  switch (kind) {
    case FailureKind::Argument: return "ARGUMENT";
    case FailureKind::Unsupported: return "UNSUPPORTED";
    case FailureKind::OutOfMemory: return "OUT_OF_MEMORY";
    case FailureKind::Device: return "DEVICE";
    case FailureKind::Disposed: return "DISPOSED";
    case FailureKind::Load: return "LOAD";
    case FailureKind::Internal: break;
  }
  return "INTERNAL";
}

std::string text(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::string result = formatted(format, arguments);
  va_end(arguments);
  return result;
}

void fail(FailureKind kind, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::string message = formatted(format, arguments);
  va_end(arguments);
  throw Failure(kind, std::move(message));
}

void check(dw_status status, dw_error& error, const char* call) {
  if (status == DW_OK) return;
  error.message[sizeof error.message - 1] = '\0';
  FailureKind kind = FailureKind::Internal;
  switch (status) {
    case DW_INVALID: kind = FailureKind::Argument; break;
    case DW_UNSUPPORTED: kind = FailureKind::Unsupported; break;
    case DW_OUT_OF_MEMORY: kind = FailureKind::OutOfMemory; break;
    case DW_DEVICE_ERROR: kind = FailureKind::Device; break;
    default: break;
  }
  Failure failure(kind, error.message[0] != '\0'
                            ? std::string(error.message)
                            : text("%s failed with status %d", call, static_cast<int>(status)));
  failure.requested = error.requested;
  failure.free = error.free;
  failure.largest = error.largest;
  throw failure;
}

}  // namespace dw
