// An in-order stream: one thread that runs tasks in the order of queueing, and keeps the first error.
#ifndef DEPTHWISE_RUNTIME_STREAM_H
#define DEPTHWISE_RUNTIME_STREAM_H

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "failure.h"

namespace dw {

using SharedFailure = std::shared_ptr<const Failure>;

// The error slot. It belongs to the stream thread. While it is full, runs are skipped; the next read or sync
// empties it.
class ErrorSlot {
 public:
  const SharedFailure& peek() const { return first_; }
  void keep(SharedFailure failure) {
    if (first_ == nullptr) first_ = std::move(failure);
  }
  SharedFailure take() { return std::move(first_); }

 private:
  SharedFailure first_;
};

class Stream;

// Work for a stream. What it throws goes to the error slot. Destroyed without a run if the stream stops first.
class Task {
 public:
  virtual ~Task() = default;
  virtual void execute(Stream& stream) = 0;
  // Host bytes that the task holds until it is done.
  virtual size_t stagedBytes() const { return 0; }
};

class Stream {
 public:
  // How far the queueing thread may run ahead before `push` waits: enough that an eager loop never feels it,
  // little enough that a loop that never reads cannot fill the host's memory.
  static constexpr size_t kMaxTasks = 10000;
  static constexpr size_t kMaxStagedBytes = size_t{256} << 20;

  explicit Stream(const char* name);
  ~Stream() { stop(); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Queues a task; one thread only. Blocks while too much is queued.
  void push(std::unique_ptr<Task> task);
  // Returns when everything queued has been done.
  void wait();
  // Lets the running task end, drops the others, ends the thread. A run in progress sees `stopping` and cuts short.
  void stop();

  // Tickets count tasks: of the last one queued, and of the last one done.
  uint64_t queued() const { return queued_; }
  uint64_t completed() const { return completed_.load(std::memory_order_acquire); }
  bool stopping() const { return stopping_.load(std::memory_order_relaxed); }

  // For tasks.
  ErrorSlot& errors() { return errors_; }

 private:
  void loop();

  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable progress_;
  std::deque<std::unique_ptr<Task>> tasks_;
  size_t stagedBytes_ = 0;
  uint64_t queued_ = 0;
  std::atomic<uint64_t> completed_{0};
  std::atomic<bool> stopping_{false};
  ErrorSlot errors_;
  std::thread thread_;
};

// The failure that is being handled, for keeping: whatever was thrown.
SharedFailure currentFailure();

}  // namespace dw

#endif
