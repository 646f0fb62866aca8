// Decoding of JavaScript arguments: each is checked, and named in the error where it is wrong.
#ifndef DEPTHWISE_ADDON_ARGUMENTS_H
#define DEPTHWISE_ADDON_ARGUMENTS_H

#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

#include "device.h"

namespace dw {

// Bytes that JavaScript owns; valid until control goes back to it.
struct ByteView {
  const void* data;
  size_t length;
};

// A path, or bytes.
struct Source {
  bool isPath;
  std::string path;
  ByteView bytes;
};

class Arguments {
 public:
  // `function` is the export's name, for messages. Throws Argument unless exactly `count` arguments came.
  Arguments(const Napi::CallbackInfo& info, const char* function, size_t count);

  Napi::Env env() const { return info_.Env(); }

  std::string string(size_t at, const char* name) const;
  // A whole number from 0 to 2^52, as byte counts and handles are.
  uint64_t whole(size_t at, const char* name) const;
  // Copied, so that nobody changes them while they are read.
  std::vector<double> float64s(size_t at, const char* name) const;
  // An array of handles, or a Float64Array of them.
  std::vector<uint64_t> handles(size_t at, const char* name) const;
  ByteView bytes(size_t at, const char* name) const;
  std::vector<std::string> strings(size_t at, const char* name) const;
  // An array of strings and Uint8Arrays.
  std::vector<Source> sources(size_t at, const char* name) const;
  Napi::Value value(size_t at) const { return info_[at]; }
  DeviceOptions deviceOptions(size_t at, const char* name) const;

 private:
  [[noreturn]] void refuse(const char* name, const char* expected, const Napi::Value& got) const;
  ByteView bytesOf(const Napi::Value& value, const char* name) const;
  std::string stringOf(const Napi::Value& value, const char* name) const;
  uint64_t wholeOf(const Napi::Value& value, const char* name) const;
  const void* dataOf(const Napi::TypedArray& array, const char* name) const;

  const Napi::CallbackInfo& info_;
  const char* function_;
};

}  // namespace dw

#endif
