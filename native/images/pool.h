// Worker threads with a queue of batches. Images are taken in order, by whichever thread is free.
#ifndef DEPTHWISE_IMAGES_POOL_H
#define DEPTHWISE_IMAGES_POOL_H

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "depthwise_images.h"
#include "kernels/kernels.h"

namespace dw::images {

class SampleMaker;

class Pool {
 public:
  explicit Pool(int workers);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  void submit(const dw_image_batch& batch);
  void mix(const dw_image_mix& mix, void (*done)(void*), void* context);
  void cancel() { cancelled_ = true; }

 private:
  // A batch, or a mix of one, in the queue until its last piece is taken, and alive until that is done.
  struct Job {
    dw_image_batch batch{};
    dw_image_mix mix{};
    std::vector<uint8_t> last;  // room for the last image of a mix; empty: a batch
    size_t pieces = 0;
    size_t taken = 0;  // guarded by mutex_
    std::atomic<size_t> finished{0};
    void (*done)(void*) = nullptr;
    void* context = nullptr;
  };

  void add(std::shared_ptr<Job> job);
  void work();
  void piece(SampleMaker* maker, Job& job, size_t at);

  const Kernels& kernels_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Job>> queue_;
  bool closing_ = false;
  std::atomic<bool> cancelled_{false};
  std::vector<std::thread> threads_;
};

}  // namespace dw::images

#endif
