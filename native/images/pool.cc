// The threads, and what each does with an image.
#include "pool.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <new>

#include "sample.h"
#include "unreadable.h"

namespace dw::images {

namespace {

// Added to the priority of the process' threads.
constexpr int kNiceness = 5;

void report(dw_image_outcome* outcome, dw_image_status status, const char* reason) {
  outcome->status = status;
  std::snprintf(outcome->reason, sizeof outcome->reason, "%s", reason);
}

void makeImage(SampleMaker* maker, const dw_image_batch& batch, size_t at) {
  const dw_image_rules& rules = *batch.rules;
  const dw_image_input& input = batch.inputs[at];
  const size_t stride = static_cast<size_t>(rules.height) * static_cast<size_t>(rules.width) * 3;
  dw_image_outcome* outcome = &batch.outcomes[at];
  try {
    maker->make(rules, input, batch.out + input.place * stride);
    report(outcome, DW_IMAGE_MADE, "");
  } catch (const Unreadable& error) {
    report(outcome, error.status, error.reason.c_str());
  } catch (const std::bad_alloc&) {
    report(outcome, DW_IMAGE_UNREADABLE, "there is no memory to decode it");
  } catch (const std::exception& error) {
    report(outcome, DW_IMAGE_UNREADABLE, error.what());
  }
}

// `last`: room for an image.
void mixImages(const Kernels& kernels, const dw_image_mix& mix, std::vector<uint8_t>* last) {
  const size_t row = static_cast<size_t>(mix.width) * 3;
  const size_t bytes = row * static_cast<size_t>(mix.height);
  std::memcpy(last->data(), mix.images + (mix.count - 1) * bytes, bytes);
  for (size_t i = mix.count; i-- > 0;) {
    uint8_t* own = mix.images + i * bytes;
    const uint8_t* other = i == 0 ? last->data() : own - bytes;
    if (mix.right <= mix.left) {
      kernels.blend(own, other, static_cast<int64_t>(bytes), mix.fraction);
      continue;
    }
    const size_t from = static_cast<size_t>(mix.left) * 3;
    const size_t width = static_cast<size_t>(mix.right - mix.left) * 3;
    for (int y = mix.top; y < mix.bottom; y++) {
      const size_t at = static_cast<size_t>(y) * row + from;
      std::memcpy(own + at, other + at, width);
    }
  }
}

}  // namespace

Pool::Pool(int workers) : kernels_(selectKernels()) {
  threads_.reserve(static_cast<size_t>(workers));
  try {
    for (int i = 0; i < workers; i++) threads_.emplace_back([this] { work(); });
  } catch (...) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      closing_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    throw;
  }
}

Pool::~Pool() {
  cancel();
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closing_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Pool::submit(const dw_image_batch& batch) {
  auto job = std::make_shared<Job>();
  job->batch = batch;
  job->pieces = batch.count;
  job->done = batch.done;
  job->context = batch.context;
  add(std::move(job));
}

void Pool::mix(const dw_image_mix& mix, void (*done)(void*), void* context) {
  auto job = std::make_shared<Job>();
  job->mix = mix;
  job->last.resize(static_cast<size_t>(mix.height) * static_cast<size_t>(mix.width) * 3);
  job->pieces = 1;
  job->done = done;
  job->context = context;
  add(std::move(job));
}

void Pool::add(std::shared_ptr<Job> job) {
  const size_t pieces = job->pieces;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    queue_.push_back(std::move(job));
  }
  if (pieces == 1)
    wake_.notify_one();
  else
    wake_.notify_all();
}

void Pool::work() {
  pthread_setname_np(pthread_self(), "dw images");
  // By thread, as Linux has it: whoever computes goes first, since all of its threads wait for the last one. Where the
  // processor is free, it changes nothing; where it is refused, nothing is lost.
  const auto thread = static_cast<id_t>(::syscall(SYS_gettid));
  ::setpriority(PRIO_PROCESS, thread, ::getpriority(PRIO_PROCESS, thread) + kNiceness);
  std::unique_ptr<SampleMaker> maker;
  for (;;) {
    std::shared_ptr<Job> job;
    size_t at;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return closing_ || !queue_.empty(); });
      if (queue_.empty()) return;
      job = queue_.front();
      at = job->taken++;
      if (job->taken == job->pieces) queue_.pop_front();
    }
    try {
      if (maker == nullptr && job->last.empty()) maker = std::make_unique<SampleMaker>();
    } catch (const std::bad_alloc&) {
    }
    piece(maker.get(), *job, at);
    if (job->finished.fetch_add(1) + 1 == job->pieces) job->done(job->context);
  }
}

void Pool::piece(SampleMaker* maker, Job& job, size_t at) {
  if (!job.last.empty())
    mixImages(kernels_, job.mix, &job.last);
  else if (cancelled_)
    report(&job.batch.outcomes[at], DW_IMAGE_CANCELLED, "cancelled");
  else if (maker == nullptr)
    report(&job.batch.outcomes[at], DW_IMAGE_UNREADABLE, "there is no memory to decode it");
  else
    makeImage(maker, job.batch, at);
}

}  // namespace dw::images
