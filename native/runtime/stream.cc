// The stream's thread and queue.
#include "stream.h"

#include <pthread.h>

#include <new>
#include <system_error>

namespace dw {

SharedFailure currentFailure() {
  try {
    throw;
  } catch (const Failure& failure) {
    return std::make_shared<const Failure>(failure);
  } catch (const std::bad_alloc&) {
    return std::make_shared<const Failure>(FailureKind::OutOfMemory, "out of host memory");
  } catch (const std::exception& error) {
    return std::make_shared<const Failure>(FailureKind::Internal, error.what());
  }
}

Stream::Stream(const char* name) {
  try {
    thread_ = std::thread([this] { loop(); });
  } catch (const std::system_error& error) {
    fail(FailureKind::Device, "cannot start the stream's thread: %s", error.what());
  }
  pthread_setname_np(thread_.native_handle(), text("dw-%s", name).substr(0, 15).c_str());
}

void Stream::push(std::unique_ptr<Task> task) {
  const size_t bytes = task->stagedBytes();
  {
    std::unique_lock lock(mutex_);
    progress_.wait(lock, [&] {
      return tasks_.empty() || (tasks_.size() < kMaxTasks && stagedBytes_ + bytes <= kMaxStagedBytes);
    });
    tasks_.push_back(std::move(task));
    stagedBytes_ += bytes;
    queued_ += 1;
  }
  work_.notify_one();
}

void Stream::wait() {
  std::unique_lock lock(mutex_);
  progress_.wait(lock, [&] { return completed() == queued_; });
}

void Stream::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_one();
  thread_.join();
  tasks_.clear();
}

void Stream::loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [&] { return stopping() || !tasks_.empty(); });
    if (stopping()) return;
    std::unique_ptr<Task> task = std::move(tasks_.front());
    tasks_.pop_front();
    const size_t bytes = task->stagedBytes();
    lock.unlock();
    try {
      task->execute(*this);
    } catch (...) {
      errors_.keep(currentFailure());
    }
    task.reset();
    lock.lock();
    stagedBytes_ -= bytes;
    completed_.fetch_add(1, std::memory_order_release);
    progress_.notify_all();
  }
}

}  // namespace dw
