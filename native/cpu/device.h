// The CPU as a device: oneDNN's engine, the chosen instruction set, and how loops are divided among threads.
#ifndef DEPTHWISE_CPU_DEVICE_H
#define DEPTHWISE_CPU_DEVICE_H

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "kernels/kernels.h"
#include "onednn.h"

struct dw_device {
  dnnl::engine engine;
  dnnl::stream stream;
  int threads;
  const dw::cpu::Kernels* kernels;

  // The number of threads is a property of the calling thread in OpenMP, so each call into the device sets it
  // anew.
  void useThreads() const { omp_set_num_threads(threads); }
};

namespace dw::cpu {

// Cores that this process may use: its affinity mask, and the quota of its control group.
int availableCores();

// Elements below which waking the other threads costs more than it saves (about 5 us of one core).
constexpr int64_t kSerialElements = 16384;

// Runs function(begin, end) over [0, count), one contiguous part per thread; serially if the work is small.
// `cost` is the number of elements that one index stands for. The team always has all threads: libgomp ends
// threads when a team shrinks and makes new ones when it grows again.
template <class Function>
void parallelFor(int64_t count, int64_t cost, const Function& function) {
  if (count <= 0) return;
  const int team = omp_get_max_threads();
  if (count == 1 || team == 1 || count * std::max<int64_t>(cost, 1) < kSerialElements) {
    function(int64_t{0}, count);
    return;
  }
#pragma omp parallel
  {
    const int64_t members = omp_get_num_threads(), member = omp_get_thread_num();
    const int64_t begin = count * member / members, end = count * (member + 1) / members;
    if (begin < end) function(begin, end);
  }
}

// Runs function(task) for each task of [0, count). Each thread begins with a share of its own, the same one
// in every call, and helps others when it is done: what a thread wrote is near its core, which may share no
// cache with others, and a thread that something else held up should not be waited for. `cost` is as of
// parallelFor, of all tasks.
template <class Function>
void tasksFor(int64_t count, int64_t cost, const Function& function) {
  const int64_t team = omp_get_max_threads();
  if (count == 1 || team == 1 || cost < kSerialElements) {
    for (int64_t task = 0; task < count; task++) function(task);
    return;
  }
  constexpr int64_t kMostShares = 64;
  struct alignas(64) Share {
    std::atomic<int64_t> next;
  };
  Share taken[kMostShares];
  const int64_t shares = std::min({team, count, kMostShares});
  for (int64_t i = 0; i < shares; i++) taken[i].next = count * i / shares;
#pragma omp parallel
  {
    const int64_t own = omp_get_thread_num();
    for (int64_t i = 0; i < shares; i++) {
      const int64_t share = (own + i) % shares, end = count * (share + 1) / shares;
      for (int64_t task = taken[share].next++; task < end; task = taken[share].next++) function(task);
    }
  }
}

}  // namespace dw::cpu

#endif
