// Decoding of arguments.
#include "arguments.h"

#include <cmath>
#include <cstring>

namespace dw {

namespace {

constexpr double kLargest = 4503599627370496.0;  // 2^52

const char* typeName(const Napi::Value& value) {
  switch (value.Type()) {
    case napi_undefined: return "undefined";
    case napi_null: return "null";
    case napi_boolean: return "a boolean";
    case napi_number: return "a number";
    case napi_string: return "a string";
    case napi_symbol: return "a symbol";
    case napi_function: return "a function";
    case napi_external: return "an external";
    case napi_bigint: return "a bigint";
    case napi_object: break;
  }
  if (value.IsArray()) return "an array";
  if (value.IsTypedArray()) return "a typed array of another type";
  return "an object";
}

}  // namespace

Arguments::Arguments(const Napi::CallbackInfo& info, const char* function, size_t count)
    : info_(info), function_(function) {
  if (info.Length() != count) {
    fail(FailureKind::Argument, "%s: expected %zu arguments, got %zu", function, count, info.Length());
  }
}

void Arguments::refuse(const char* name, const char* expected, const Napi::Value& got) const {
  fail(FailureKind::Argument, "%s: expected %s for %s, got %s", function_, expected, name, typeName(got));
}

std::string Arguments::string(size_t at, const char* name) const { return stringOf(info_[at], name); }

std::string Arguments::stringOf(const Napi::Value& value, const char* name) const {
  if (!value.IsString()) refuse(name, "a string", value);
  std::string result = value.As<Napi::String>().Utf8Value();
  if (result.find('\0') != std::string::npos) {
    fail(FailureKind::Argument, "%s: %s contains a NUL character", function_, name);
  }
  return result;
}

uint64_t Arguments::wholeOf(const Napi::Value& value, const char* name) const {
  if (!value.IsNumber()) refuse(name, "a whole number", value);
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= 0 && number <= kLargest) || number != std::floor(number)) {
    fail(FailureKind::Argument, "%s: expected a whole number from 0 to 2^52 for %s, got %g", function_, name,
         number);
  }
  return static_cast<uint64_t>(number);
}

uint64_t Arguments::whole(size_t at, const char* name) const { return wholeOf(info_[at], name); }

const void* Arguments::dataOf(const Napi::TypedArray& array, const char* name) const {
  void* data = nullptr;
  napi_value buffer = nullptr;
  if (napi_get_typedarray_info(env(), array, nullptr, nullptr, &data, &buffer, nullptr) != napi_ok) {
    fail(FailureKind::Argument, "%s: %s cannot be read", function_, name);
  }
  bool detached = false;
  napi_is_detached_arraybuffer(env(), buffer, &detached);
  if (detached) fail(FailureKind::Argument, "%s: the buffer of %s is detached", function_, name);
  return data;
}

std::vector<double> Arguments::float64s(size_t at, const char* name) const {
  const Napi::Value value = info_[at];
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array) {
    refuse(name, "a Float64Array", value);
  }
  const auto array = value.As<Napi::TypedArray>();
  const auto* data = static_cast<const double*>(dataOf(array, name));
  return data == nullptr ? std::vector<double>() : std::vector<double>(data, data + array.ElementLength());
}

std::vector<uint64_t> Arguments::handles(size_t at, const char* name) const {
  const Napi::Value value = info_[at];
  std::vector<uint64_t> result;
  if (value.IsArray()) {
    const auto array = value.As<Napi::Array>();
    const uint32_t length = array.Length();
    // Not reserved: the length of a sparse array can be anything. Its first hole ends the loop.
    for (uint32_t i = 0; i < length; i += 1) {
      const Napi::HandleScope scope(env());
      result.push_back(wholeOf(array.Get(i), name));
    }
    return result;
  }
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array) {
    refuse(name, "an array of handles", value);
  }
  for (const double number : float64s(at, name)) {
    if (!(number >= 0 && number <= kLargest) || number != std::floor(number)) {
      fail(FailureKind::Argument, "%s: expected handles in %s, got %g", function_, name, number);
    }
    result.push_back(static_cast<uint64_t>(number));
  }
  return result;
}

ByteView Arguments::bytes(size_t at, const char* name) const { return bytesOf(info_[at], name); }

ByteView Arguments::bytesOf(const Napi::Value& value, const char* name) const {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    refuse(name, "a Uint8Array", value);
  }
  const auto array = value.As<Napi::TypedArray>();
  return {dataOf(array, name), array.ByteLength()};
}

std::vector<std::string> Arguments::strings(size_t at, const char* name) const {
  const Napi::Value value = info_[at];
  if (!value.IsArray()) refuse(name, "an array of strings", value);
  const auto array = value.As<Napi::Array>();
  std::vector<std::string> result;
  // Not reserved: the length of a sparse array can be anything. Its first hole ends the loop.
  for (uint32_t i = 0; i < array.Length(); i += 1) {
    const Napi::HandleScope scope(env());
    result.push_back(stringOf(array.Get(i), name));
  }
  return result;
}

std::vector<Source> Arguments::sources(size_t at, const char* name) const {
  const Napi::Value value = info_[at];
  if (!value.IsArray()) refuse(name, "an array of strings and Uint8Arrays", value);
  const auto array = value.As<Napi::Array>();
  std::vector<Source> result;
  // Not reserved: the length of a sparse array can be anything. Its first hole ends the loop.
  for (uint32_t i = 0; i < array.Length(); i += 1) {
    const Napi::HandleScope scope(env());
    const Napi::Value source = array.Get(i);
    if (source.IsString())
      result.push_back({true, stringOf(source, name), {}});
    else
      result.push_back({false, {}, bytesOf(source, name)});
  }
  return result;
}

DeviceOptions Arguments::deviceOptions(size_t at, const char* name) const {
  const Napi::Value value = info_[at];
  if (!value.IsObject() || value.IsArray() || value.IsFunction()) refuse(name, "an object", value);
  const auto object = value.As<Napi::Object>();
  const auto member = [&](const char* key) { return object.Get(key); };
  const auto number = [&](const char* key, uint64_t largest) -> uint64_t {
    const Napi::Value given = member(key);
    if (given.IsUndefined()) return 0;
    const uint64_t result = wholeOf(given, key);
    if (result > largest) fail(FailureKind::Argument, "%s: %s is above %g", function_, key, double(largest));
    return result;
  };
  const auto flag = [&](const char* key) {
    const Napi::Value given = member(key);
    if (given.IsUndefined()) return false;
    if (!given.IsBoolean()) refuse(key, "a boolean", given);
    return given.As<Napi::Boolean>().Value();
  };
  DeviceOptions options;
  options.ordinal = static_cast<int32_t>(number("ordinal", 1023));
  options.threads = static_cast<int32_t>(number("threads", 4096));
  options.memoryLimit = number("memoryLimit", uint64_t{1} << 52);
  options.deterministic = flag("deterministic");
  options.allowTf32 = flag("allowTf32");
  options.uncached = flag("uncached");
  const Napi::Value folder = member("libraryFolder");
  if (!folder.IsUndefined()) {
    if (!folder.IsString()) refuse("libraryFolder", "a string", folder);
    options.libraryFolder = folder.As<Napi::String>().Utf8Value();
  }
  return options;
}

}  // namespace dw
