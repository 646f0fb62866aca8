// The stream's thread and queue.
#include "stream.h"

#include <pthread.h>

#include <new>
#include <system_error>

namespace dw {

namespace {

// Tells the core that this thread is polling: it saves power, and leaves more to a sibling thread.
inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

}  // namespace

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

Stream::Stream(const char* name)
    : ring_(new std::unique_ptr<Task>[kMaxTasks]), polls_(std::thread::hardware_concurrency() > 1) {
  try {
    thread_ = std::thread([this] { loop(); });
  } catch (const std::system_error& error) {
    fail(FailureKind::Device, "cannot start the stream's thread: %s", error.what());
  }
  pthread_setname_np(thread_.native_handle(), text("dw-%s", name).substr(0, 15).c_str());
}

bool Stream::hasRoom(size_t bytes) const {
  const uint64_t waiting = queued() - completed_.load();
  return waiting == 0 || (waiting < kMaxTasks && stagedBytes_.load() + bytes <= kMaxStagedBytes);
}

void Stream::push(std::unique_ptr<Task> task) {
  const size_t bytes = task->stagedBytes();
  if (!hasRoom(bytes)) {
    std::unique_lock lock(mutex_);
    queuerSleeps_ = true;
    progress_.wait(lock, [&] { return hasRoom(bytes); });
    queuerSleeps_ = false;
  }
  const uint64_t ticket = queued();
  slot(ticket) = std::move(task);
  if (bytes > 0) stagedBytes_ += bytes;
  queued_ = ticket + 1;
  if (threadSleeps_) {
    // The thread holds the mutex from its last look until it sleeps.
    const std::lock_guard lock(mutex_);
    work_.notify_one();
  }
}

void Stream::wait() {
  std::unique_lock lock(mutex_);
  queuerSleeps_ = true;
  progress_.wait(lock, [&] { return completed_.load() == queued(); });
  queuerSleeps_ = false;
}

void Stream::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_one();
  thread_.join();
  for (uint64_t ticket = completed(); ticket != queued(); ticket += 1) slot(ticket) = nullptr;
}

bool Stream::hasWork(uint64_t done) const { return stopping() || queued_.load() != done; }

void Stream::awaitWork(uint64_t done) {
  if (polls_) {
    const auto until = std::chrono::steady_clock::now() + kPolling;
    do {
      for (int i = 0; i < 16; i += 1) {
        if (hasWork(done)) return;
        relax();
      }
    } while (std::chrono::steady_clock::now() < until);
  }
  std::unique_lock lock(mutex_);
  threadSleeps_ = true;
  work_.wait(lock, [&] { return hasWork(done); });
  threadSleeps_ = false;
}

void Stream::loop() {
  for (uint64_t done = 0;; done += 1) {
    if (!hasWork(done)) awaitWork(done);
    if (stopping()) return;
    std::unique_ptr<Task> task = std::move(slot(done));
    const size_t bytes = task->stagedBytes();
    try {
      task->execute(*this);
    } catch (...) {
      errors_.keep(currentFailure());
    }
    task.reset();
    if (bytes > 0) stagedBytes_ -= bytes;
    completed_ = done + 1;
    if (queuerSleeps_) {
      const std::lock_guard lock(mutex_);
      progress_.notify_one();
    }
  }
}

}  // namespace dw
