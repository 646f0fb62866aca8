// Execution of one launch: blocks one after the other, the threads of a block as fibers.
#ifndef DEPTHWISE_CUDASIM_GRID_H
#define DEPTHWISE_CUDASIM_GRID_H

#include <cuda_runtime.h>

#include <functional>
#include <string>

namespace cudasim {

// In which order blocks, and the threads of a block, get on. A result that depends on it is wrong.
enum class Order { ascending, descending, shuffled };

struct Grid {
  dim3 extent, block;
  size_t sharedBytes;
  const std::function<void()>* thread;
};

// Runs all threads; "" or what went wrong: threads that wait for each other for ever.
std::string run(const Grid& grid, Order order);

}  // namespace cudasim

#endif
