// The native module: every export decodes its arguments, makes one call of the runtime and encodes the
// result. It knows nothing of shapes or of what an op means.
#include <napi.h>

#include <algorithm>
#include <new>

#include "arguments.h"
#include "background.h"
#include "depthwise_cudnn_ops.h"
#include "exports.h"
#include "instance.h"
#include "libraries.h"
#include "planner.h"

namespace dw {

namespace {

// Memory for a read to fill. Throws OutOfMemory instead of V8's RangeError.
Napi::ArrayBuffer newBytes(Napi::Env env, uint64_t bytes) {
  try {
    return Napi::ArrayBuffer::New(env, static_cast<size_t>(bytes));
  } catch (const Napi::Error&) {
    Failure failure(FailureKind::OutOfMemory, text("read: no memory for an array of %llu bytes",
                                                   static_cast<unsigned long long>(bytes)));
    failure.requested = bytes;
    throw failure;
  }
}

const std::shared_ptr<Device>& deviceOf(const Arguments& arguments) {
  return Instance::of(arguments.env()).devices().get(arguments.whole(0, "device"));
}

// opTable() -> { name: code }
Napi::Value opTable(const Arguments& arguments) {
  Napi::Object table = Napi::Object::New(arguments.env());
#define DW_OP_ENTRY(code, name) table.Set(#name, Napi::Number::New(arguments.env(), code));
  DW_OPS(DW_OP_ENTRY)
#undef DW_OP_ENTRY
  return table;
}

// cudnnOpTable() -> { name: code }
Napi::Value cudnnOpTable(const Arguments& arguments) {
  Napi::Object table = Napi::Object::New(arguments.env());
#define DW_OP_ENTRY(code, name) table.Set(#name, Napi::Number::New(arguments.env(), code));
  DW_CUDNN_OPS(DW_OP_ENTRY)
#undef DW_OP_ENTRY
  return table;
}

// openCudnn(paths) -> version of cuDNN, the last of them
Napi::Value openCudnn(const Arguments& arguments) {
  const uint64_t version = dw::openCudnn(arguments.strings(0, "paths"));
  return Napi::Number::New(arguments.env(), static_cast<double>(version));
}

// cudnnPlans(library, problem, [ordinal, plans, seconds, workspaceLimit], [folders, description, driver])
//   -> Promise of JSON, of depthwise_cudnn.h
Napi::Value cudnnPlans(const Arguments& arguments) {
  PlansRequest request;
  request.library = arguments.string(0, "library");
  request.problem = arguments.float64s(1, "problem");
  const std::vector<double> settings = arguments.float64s(2, "settings");
  const std::vector<std::string> texts = arguments.strings(3, "texts");
  if (settings.size() != 4) fail(FailureKind::Argument, "cudnnPlans: settings expects 4 numbers");
  if (texts.size() != 3) fail(FailureKind::Argument, "cudnnPlans: texts expects 3 strings");
  for (const double setting : settings) {
    // Written so that NaN does not pass.
    if (!(setting >= 0 && setting <= 1e12)) {
      fail(FailureKind::Argument, "cudnnPlans: settings expects numbers from 0 to 1e12");
    }
  }
  const auto small = [](double value) { return static_cast<int32_t>(std::min(value, 1e6)); };
  request.ordinal = small(settings[0]);
  request.plans = small(settings[1]);
  request.seconds = settings[2];
  request.workspaceLimit = static_cast<uint64_t>(settings[3]);
  request.folders = texts[0];
  request.description = texts[1];
  request.driver = texts[2];
  return inBackground(arguments.env(), [request = std::move(request)] { return planWith(request); });
}

// openDevice(path, options) -> device, with the options of NativeDeviceOptions in lib/backend/addon.ts
Napi::Value openDevice(const Arguments& arguments) {
  const std::string path = arguments.string(0, "path");
  const DeviceOptions options = arguments.deviceOptions(1, "options");
  auto device = std::make_shared<Device>(path, options);
  return Napi::Number::New(arguments.env(), Instance::of(arguments.env()).devices().add(std::move(device)));
}

// closeDevice(device): waits for queued work, then frees everything.
Napi::Value closeDevice(const Arguments& arguments) {
  deviceOf(arguments)->finish();
  Instance::of(arguments.env()).devices().remove(arguments.whole(0, "device"));
  return arguments.env().Undefined();
}

// describe(device) -> JSON text
Napi::Value describe(const Arguments& arguments) {
  return Napi::String::New(arguments.env(), deviceOf(arguments)->describe());
}

// supports(device, payload) -> null, or the reason why not
Napi::Value supports(const Arguments& arguments) {
  const std::shared_ptr<Device>& device = deviceOf(arguments);
  const std::vector<double> payload = arguments.float64s(1, "payload");
  try {
    device->supports(payload);
  } catch (const Failure& failure) {
    if (failure.kind != FailureKind::Unsupported) throw;
    return Napi::String::New(arguments.env(), failure.message);
  }
  return arguments.env().Null();
}

// packedBytes(device, payload) -> bytes, 0 where there is nothing to pack
Napi::Value packedBytes(const Arguments& arguments) {
  const std::shared_ptr<Device>& device = deviceOf(arguments);
  const size_t bytes = device->packedBytes(arguments.float64s(1, "payload"));
  return Napi::Number::New(arguments.env(), static_cast<double>(bytes));
}

// allocate(device, bytes) -> buffer
Napi::Value allocate(const Arguments& arguments) {
  return Napi::Number::New(arguments.env(), deviceOf(arguments)->allocate(arguments.whole(1, "bytes")));
}

// part(device, buffer, offset, bytes) -> buffer
Napi::Value part(const Arguments& arguments) {
  const double buffer = deviceOf(arguments)->part(arguments.whole(1, "buffer"), arguments.whole(2, "offset"),
                                                  arguments.whole(3, "bytes"));
  return Napi::Number::New(arguments.env(), buffer);
}

Napi::Value retain(const Arguments& arguments) {
  deviceOf(arguments)->retain(arguments.whole(1, "buffer"));
  return arguments.env().Undefined();
}

Napi::Value release(const Arguments& arguments) {
  deviceOf(arguments)->release(arguments.whole(1, "buffer"));
  return arguments.env().Undefined();
}

// write(device, buffer, Uint8Array)
Napi::Value write(const Arguments& arguments) {
  const std::shared_ptr<Device>& device = deviceOf(arguments);
  const uint64_t buffer = arguments.whole(1, "buffer");
  const ByteView view = arguments.bytes(2, "bytes");
  device->write(buffer, view.data, view.length);
  return arguments.env().Undefined();
}

// read(device, buffer, bytes) -> Promise<Uint8Array>
Napi::Value read(const Arguments& arguments) {
  const std::shared_ptr<Device>& device = deviceOf(arguments);
  const uint64_t buffer = arguments.whole(1, "buffer");
  const uint64_t bytes = arguments.whole(2, "bytes");
  device->checkRead(buffer, bytes);
  Napi::ArrayBuffer target = newBytes(arguments.env(), bytes);
  Napi::Value promise;
  auto completion = Instance::of(arguments.env()).promise(arguments.env(), target, &promise);
  device->read(buffer, target.Data(), bytes, std::move(completion));
  return promise;
}

// readSync(device, buffer, bytes) -> Uint8Array
Napi::Value readSync(const Arguments& arguments) {
  const std::shared_ptr<Device>& device = deviceOf(arguments);
  const uint64_t buffer = arguments.whole(1, "buffer");
  const uint64_t bytes = arguments.whole(2, "bytes");
  device->checkRead(buffer, bytes);
  Napi::ArrayBuffer target = newBytes(arguments.env(), bytes);
  device->readBlocking(buffer, target.Data(), bytes);
  return Napi::Uint8Array::New(arguments.env(), target.ByteLength(), target, 0);
}

// prepare(device, payload) -> program
Napi::Value prepare(const Arguments& arguments) {
  const std::shared_ptr<Device>& device = deviceOf(arguments);
  return Napi::Number::New(arguments.env(), device->prepare(arguments.float64s(1, "payload")));
}

// run(device, program, inputs, outputs)
Napi::Value run(const Arguments& arguments) {
  const std::shared_ptr<Device>& device = deviceOf(arguments);
  const uint64_t program = arguments.whole(1, "program");
  const std::vector<uint64_t> inputs = arguments.handles(2, "inputs");
  const std::vector<uint64_t> outputs = arguments.handles(3, "outputs");
  device->run(program, inputs, outputs);
  return arguments.env().Undefined();
}

// profile(device, program, inputs, outputs) -> Promise of the bytes of two float64 per instruction: start and
// end in nanoseconds
Napi::Value profile(const Arguments& arguments) {
  const std::shared_ptr<Device>& device = deviceOf(arguments);
  const uint64_t program = arguments.whole(1, "program");
  const std::vector<uint64_t> inputs = arguments.handles(2, "inputs");
  const std::vector<uint64_t> outputs = arguments.handles(3, "outputs");
  Napi::ArrayBuffer target = newBytes(arguments.env(), device->instructions(program) * 2 * sizeof(double));
  Napi::Value promise;
  auto completion = Instance::of(arguments.env()).promise(arguments.env(), target, &promise);
  device->profile(program, inputs, outputs, static_cast<double*>(target.Data()), std::move(completion));
  return promise;
}

Napi::Value forget(const Arguments& arguments) {
  deviceOf(arguments)->forget(arguments.whole(1, "program"));
  return arguments.env().Undefined();
}

// sync(device) -> Promise<void>
Napi::Value sync(const Arguments& arguments) {
  const std::shared_ptr<Device>& device = deviceOf(arguments);
  Napi::Value promise;
  device->sync(Instance::of(arguments.env()).promise(arguments.env(), Napi::ArrayBuffer(), &promise));
  return promise;
}

Napi::Value syncBlocking(const Arguments& arguments) {
  deviceOf(arguments)->syncBlocking();
  return arguments.env().Undefined();
}

// memory(device) -> { buffers, live, cached, arena, peak }
Napi::Value memory(const Arguments& arguments) {
  const DeviceMemory figures = deviceOf(arguments)->memory();
  Napi::Object result = Napi::Object::New(arguments.env());
  const auto figure = [&](const char* name, uint64_t value) {
    result.Set(name, Napi::Number::New(arguments.env(), static_cast<double>(value)));
  };
  figure("buffers", figures.buffers);
  figure("live", figures.live);
  figure("cached", figures.cached);
  figure("arena", figures.arena);
  figure("peak", figures.peak);
  return result;
}

struct Export {
  const char* name;
  size_t arguments;
  Napi::Value (*function)(const Arguments&);
};

constexpr Export kExports[] = {
    {"aboutImages", 1, aboutImages},
    {"openImages", 2, openImages},
    {"closeImages", 1, closeImages},
    {"cancelImages", 1, cancelImages},
    {"makeImages", 5, makeImages},
    {"mixImages", 3, mixImages},
    {"drawImages", 3, drawImages},
    {"changeImage", 5, changeImage},
    {"opTable", 0, opTable},
    {"cudnnOpTable", 0, cudnnOpTable},
    {"openCudnn", 1, openCudnn},
    {"cudnnPlans", 4, cudnnPlans},
    {"openDevice", 2, openDevice},
    {"closeDevice", 1, closeDevice},
    {"describe", 1, describe},
    {"supports", 2, supports},
    {"packedBytes", 2, packedBytes},
    {"allocate", 2, allocate},
    {"part", 4, part},
    {"retain", 2, retain},
    {"release", 2, release},
    {"write", 3, write},
    {"read", 3, read},
    {"readSync", 3, readSync},
    {"prepare", 2, prepare},
    {"run", 4, run},
    {"profile", 4, profile},
    {"forget", 2, forget},
    {"sync", 1, sync},
    {"syncBlocking", 1, syncBlocking},
    {"memory", 1, memory},
};

// The one place where C++ exceptions become JavaScript's.
Napi::Value call(const Napi::CallbackInfo& info) {
  const auto& entry = *static_cast<const Export*>(info.Data());
  try {
    return entry.function(Arguments(info, entry.name, entry.arguments));
  } catch (const Failure& failure) {
    throw toError(info.Env(), failure);
  } catch (const std::bad_alloc&) {
    throw toError(info.Env(), Failure(FailureKind::OutOfMemory, text("%s: out of host memory", entry.name)));
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::exception& error) {
    throw toError(info.Env(), Failure(FailureKind::Internal, text("%s: %s", entry.name, error.what())));
  }
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Instance(env));
  for (const Export& entry : kExports) {
    exports.Set(entry.name, Napi::Function::New(env, call, entry.name, const_cast<Export*>(&entry)));
  }
  return exports;
}

}  // namespace

}  // namespace dw

static Napi::Object initialize(Napi::Env env, Napi::Object exports) { return dw::initialize(env, exports); }
NODE_API_MODULE(depthwise, initialize)
