// Promises that stream threads settle, errors for JavaScript, and an orderly end of an environment.
#include "instance.h"

namespace dw {

// Made and destroyed on the JavaScript thread; in between the stream thread has it and calls `done`.
class Instance::Pending : public Completion {
 public:
  Pending(Napi::Env env, Instance& instance, Napi::Object kept, std::function<napi_value(napi_env)> result)
      : env_(env), instance_(instance), result_(std::move(result)) {
    if (napi_create_promise(env, &deferred_, &promise_) != napi_ok) throw Napi::Error::New(env);
    if (!kept.IsEmpty()) kept_ = Napi::Persistent(kept);
    instance_.pending_ += 1;
    if (instance_.pending_ == 1) instance_.settler_.Ref(env);
  }

  ~Pending() override {
    if (gone_) return;
    instance_.pending_ -= 1;
    if (instance_.pending_ == 0) instance_.settler_.Unref(env_);
  }

  napi_value promise() const { return promise_; }

  void done(SharedFailure result) override {
    failure_ = std::move(result);
    // Fails only where the environment is gone: nobody is waiting, and nothing of it may be touched.
    instance_.settler_.NonBlockingCall(this);
  }

  void settle() {
    const Napi::HandleScope scope(env_);
    // Statuses are not looked at: they tell only that the environment is on its way out.
    if (failure_ != nullptr) {
      napi_reject_deferred(env_, deferred_, toError(env_, *failure_).Value());
    } else if (result_) {
      napi_resolve_deferred(env_, deferred_, result_(env_));
    } else if (kept_.IsEmpty()) {
      napi_resolve_deferred(env_, deferred_, Napi::Env(env_).Undefined());
    } else {
      auto bytes = kept_.Value().As<Napi::ArrayBuffer>();
      napi_resolve_deferred(env_, deferred_, Napi::Uint8Array::New(env_, bytes.ByteLength(), bytes, 0));
    }
  }

  // The environment has dropped its references and its functions itself.
  void abandon() {
    gone_ = true;
    kept_.SuppressDestruct();
  }

 private:
  napi_env env_;
  Instance& instance_;
  napi_deferred deferred_ = nullptr;
  napi_value promise_ = nullptr;
  Napi::Reference<Napi::Object> kept_;  // without `result_`: the ArrayBuffer whose bytes are the result
  std::function<napi_value(napi_env)> result_;
  SharedFailure failure_;
  bool gone_ = false;
};

Instance::Instance(Napi::Env env) {
  settler_ = Settler::New(env, "depthwise", 0, 1, this);
  // Idle devices do not keep the process alive; pending promises do.
  settler_.Unref(env);
  // Hooks run last in, first out: after this one comes Node's own for the function above, so that no stream
  // thread calls it when it is gone.
  napi_add_env_cleanup_hook(env, &Instance::cleanUp, this);
}

void Instance::cleanUp(void* instance) {
  static_cast<Instance*>(instance)->imagePools_.clear();
  static_cast<Instance*>(instance)->devices_.clear();
}

std::unique_ptr<Completion> Instance::promise(Napi::Env env, Napi::ArrayBuffer bytes, Napi::Value* promise) {
  return this->promise(env, bytes, nullptr, promise);
}

std::unique_ptr<Completion> Instance::promise(Napi::Env env, Napi::Object kept,
                                              std::function<napi_value(napi_env)> result,
                                              Napi::Value* promise) {
  auto pending = std::make_unique<Pending>(env, *this, kept, std::move(result));
  *promise = Napi::Value(env, pending->promise());
  return pending;
}

void Instance::settle(Napi::Env env, Napi::Function, Instance*, Pending* pending) {
  const std::unique_ptr<Pending> owned(pending);
  if (env == nullptr) {
    owned->abandon();
    return;
  }
  try {
    owned->settle();
  } catch (const Napi::Error&) {
    // A worker that is being terminated runs no JavaScript any more: nobody is waiting.
  }
}

Napi::Error toError(Napi::Env env, const Failure& failure) {
  Napi::Error error = Napi::Error::New(env, failure.message);
  error.Set("code", codeOf(failure.kind));
  const auto figure = [&](const char* name, uint64_t bytes) {
    if (bytes != 0) error.Set(name, Napi::Number::New(env, static_cast<double>(bytes)));
  };
  if (failure.kind == FailureKind::OutOfMemory) {
    figure("requested", failure.requested);
    figure("free", failure.free);
    figure("largest", failure.largest);
  }
  return error;
}

}  // namespace dw
