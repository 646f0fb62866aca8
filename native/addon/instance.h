// What the addon keeps per environment (main thread, worker): devices, and the way back from stream threads.
#ifndef DEPTHWISE_ADDON_INSTANCE_H
#define DEPTHWISE_ADDON_INSTANCE_H

#include <napi.h>

#include <functional>
#include <memory>

#include "device.h"
#include "handle_table.h"
#include "images.h"

namespace dw {

// A JavaScript Error with `code`, and for memory `requested`, `free` and `largest` in bytes where known.
Napi::Error toError(Napi::Env env, const Failure& failure);

class Instance {
 public:
  explicit Instance(Napi::Env env);
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  static Instance& of(Napi::Env env) { return *env.GetInstanceData<Instance>(); }

  HandleTable<Device>& devices() { return devices_; }
  HandleTable<ImagePool>& imagePools() { return imagePools_; }

  // A promise, and the completion that settles it: with `bytes`, or undefined where that is empty. While it
  // is pending the process stays alive.
  std::unique_ptr<Completion> promise(Napi::Env env, Napi::ArrayBuffer bytes, Napi::Value* promise);
  // The same with what `result` makes on the JavaScript thread; `kept` stays reachable until then.
  std::unique_ptr<Completion> promise(Napi::Env env, Napi::Object kept,
                                      std::function<napi_value(napi_env)> result, Napi::Value* promise);

 private:
  class Pending;
  static void settle(Napi::Env env, Napi::Function, Instance* instance, Pending* pending);
  using Settler = Napi::TypedThreadSafeFunction<Instance, Pending, &Instance::settle>;

  static void cleanUp(void* instance);

  HandleTable<Device> devices_{"device"};
  HandleTable<ImagePool> imagePools_{"image pool"};
  Settler settler_;
  size_t pending_ = 0;
};

}  // namespace dw

#endif
