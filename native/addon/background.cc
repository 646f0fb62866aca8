// Text from Node's pool of threads.
#include "background.h"

#include <memory>
#include <new>

#include "instance.h"

namespace dw {

namespace {

// Destroyed by Node-API on the JavaScript thread when it is done.
class Work final : public Napi::AsyncWorker {
 public:
  Work(Napi::Env env, std::function<std::string()> work)
      : Napi::AsyncWorker(env, "depthwise"), work_(std::move(work)), deferred_(env) {}

  Napi::Value promise() const { return deferred_.Promise(); }

  void Execute() override {
    try {
      result_ = work_();
    } catch (const Failure& failure) {
      failure_ = std::make_unique<Failure>(failure);
    } catch (const std::bad_alloc&) {
      failure_ = std::make_unique<Failure>(FailureKind::OutOfMemory, "out of host memory");
    } catch (const std::exception& error) {
      failure_ = std::make_unique<Failure>(FailureKind::Internal, error.what());
    }
  }

  void OnOK() override {
    if (failure_ != nullptr)
      deferred_.Reject(toError(Env(), *failure_).Value());
    else
      deferred_.Resolve(Napi::String::New(Env(), result_));
  }

 private:
  std::function<std::string()> work_;
  Napi::Promise::Deferred deferred_;
  std::string result_;
  std::unique_ptr<Failure> failure_;
};

}  // namespace

Napi::Value inBackground(Napi::Env env, std::function<std::string()> work) {
  auto* worker = new Work(env, std::move(work));
  const Napi::Value promise = worker->promise();
  worker->Queue();
  return promise;
}

}  // namespace dw
