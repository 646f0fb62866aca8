// An in-order stream: one thread that runs tasks in the order of queueing, and keeps the first error.
#ifndef DEPTHWISE_RUNTIME_STREAM_H
#define DEPTHWISE_RUNTIME_STREAM_H

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
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

// Tasks pass through a ring without locks: one thread queues, one runs. Each sleeps under the mutex where it has
// nothing to do, and says so, so that the other makes a system call only to wake it. The stream thread polls
// for some microseconds first: eager ops come one by one, faster than a thread can be woken.
class Stream {
 public:
  // How far the queueing thread may run ahead before `push` waits: enough that an eager loop never feels it,
  // little enough that a loop that never reads cannot fill the host's memory. A power of two.
  static constexpr size_t kMaxTasks = 8192;
  static constexpr size_t kMaxStagedBytes = size_t{256} << 20;
  // How long the stream thread looks out for more work before it sleeps: several eager ops' worth, and too
  // short for an idle device to show as load. None where there is a single core, which others could use.
  static constexpr std::chrono::microseconds kPolling{50};

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
  uint64_t queued() const { return queued_.load(std::memory_order_relaxed); }
  uint64_t completed() const { return completed_.load(std::memory_order_acquire); }
  bool stopping() const { return stopping_.load(std::memory_order_relaxed); }

  // For tasks.
  ErrorSlot& errors() { return errors_; }

 private:
  void loop();
  bool hasRoom(size_t bytes) const;
  bool hasWork(uint64_t done) const;
  // Returns when there is work, or the stream is stopping.
  void awaitWork(uint64_t done);
  std::unique_ptr<Task>& slot(uint64_t ticket) { return ring_[ticket % kMaxTasks]; }

  // The slot of a ticket belongs to the queueing thread until `queued_` has passed it, then to the stream
  // thread until `completed_` has.
  std::unique_ptr<std::unique_ptr<Task>[]> ring_;
  // On cache lines of their own: each is written by one thread in every op.
  alignas(64) std::atomic<uint64_t> queued_{0};
  alignas(64) std::atomic<uint64_t> completed_{0};
  alignas(64) std::atomic<size_t> stagedBytes_{0};
  std::atomic<bool> stopping_{false};
  // Whether a thread sleeps, or is about to: set before it looks for the last time, read after the other has
  // published. Both in sequential consistency, so that one of the two sees what the other did.
  std::atomic<bool> threadSleeps_{false};
  std::atomic<bool> queuerSleeps_{false};
  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable progress_;
  ErrorSlot errors_;
  const bool polls_;
  std::thread thread_;
};

// The failure that is being handled, for keeping: whatever was thrown.
SharedFailure currentFailure();

}  // namespace dw

#endif
