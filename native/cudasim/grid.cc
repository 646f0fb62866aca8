// Execution of one launch. A thread that never waits costs a call: fibers are changed only when one waits,
// the others then go on with a new one.
#include "grid.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <numeric>
#include <vector>

#include "fiber.h"

namespace cudasim {

uint3 currentThread, currentBlock;
dim3 currentBlockExtent, currentGridExtent;

namespace {

enum class Wait { none, block, warp };

struct Thread {
  uint3 index;
  Fiber* fiber = nullptr;  // where it waits
  Wait wait = Wait::none;
  unsigned rank = 0;       // place in the order
  unsigned exchanges = 0;  // so many exchanges it has taken part in
};

// Two rounds of values: a thread can be at most one exchange ahead of the others of its warp.
struct Warp {
  unsigned arrived = 0;
  uint64_t values[2][warpSize];
};

// The block that runs. One at a time in the process: `device` is held.
class Block {
 public:
  std::string run(const Grid& grid, Order order);
  void awaitBlock();
  void awaitWarp();
  void exchange(void* value, size_t bytes, int lane);
  unsigned current() const { return current_; }
  void* shared() const { return shared_.get(); }

 private:
  static void work();
  void workLoop();
  bool fresh() const { return next_ < order_.size(); }
  void runFresh();
  void allocateShared(size_t bytes);
  void park();
  void waits(Wait wait);
  void release(unsigned first, unsigned count);
  Fiber* idleFiber();
  bool choosesReady();
  std::string stuck() const;
  uint64_t random() { return state_ ^= state_ << 13, state_ ^= state_ >> 7, state_ ^= state_ << 17; }

  const std::function<void()>* thread_ = nullptr;
  Order mode_ = Order::ascending;
  std::vector<Thread> threads_;
  std::vector<unsigned> order_;
  std::vector<unsigned> ready_;  // a heap: the first in the order on top
  std::vector<Warp> warps_;
  size_t next_ = 0;  // in order_, of those that have not begun
  size_t done_ = 0, atBarrier_ = 0;
  unsigned current_ = 0;
  uint64_t state_ = 88172645463325252u;

  Fiber main_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  Fiber* running_ = &main_;

  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<void, Free> shared_;
  size_t sharedBytes_ = 0;
};

// Never destroyed: its fibers stand in the middle of a function.
Block& block() {
  static Block& instance = *new Block;
  return instance;
}
std::mutex device;

std::string Block::run(const Grid& grid, Order order) {
  const size_t count = size_t{grid.block.x} * grid.block.y * grid.block.z;
  thread_ = grid.thread;
  mode_ = order;
  threads_.assign(count, {});
  order_.resize(count);
  std::iota(order_.begin(), order_.end(), 0u);
  if (order == Order::descending) std::reverse(order_.begin(), order_.end());
  if (order == Order::shuffled)
    for (size_t i = count - 1; i > 0; i--) std::swap(order_[i], order_[random() % (i + 1)]);
  for (size_t i = 0; i < count; i++) {
    Thread& thread = threads_[order_[i]];
    thread.rank = static_cast<unsigned>(i);
    const unsigned linear = order_[i], rest = linear / grid.block.x;
    thread.index = {linear % grid.block.x, rest % grid.block.y, rest / grid.block.y};
  }
  warps_.assign((count + warpSize - 1) / warpSize, {});
  ready_.clear();
  next_ = done_ = atBarrier_ = 0;
  if (grid.sharedBytes > 0) {
    // Of just this size, so that AddressSanitizer sees accesses beyond; all ones, a NaN of any width.
    if (grid.sharedBytes != sharedBytes_) allocateShared(grid.sharedBytes);
    std::memset(shared_.get(), 0xff, grid.sharedBytes);
  }
  while (done_ < count) {
    if (!ready_.empty() && choosesReady()) {
      const auto later = [this](unsigned a, unsigned b) { return threads_[a].rank > threads_[b].rank; };
      std::pop_heap(ready_.begin(), ready_.end(), later);
      current_ = ready_.back();
      ready_.pop_back();
      currentThread = threads_[current_].index;
      running_ = threads_[current_].fiber;
    } else if (fresh()) {
      running_ = idleFiber();
    } else {
      // The fibers that wait are left as they are: whatever stands on their stacks is forgotten.
      fibers_.clear();
      idle_.clear();
      return stuck();
    }
    running_->enterFrom(main_);
  }
  return "";
}

void Block::allocateShared(size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 128, bytes) != 0) throw std::bad_alloc();
  shared_.reset(memory);
  sharedBytes_ = bytes;
}

// Threads that can go on before threads that have not begun, or the other way round.
bool Block::choosesReady() {
  if (!fresh() || mode_ == Order::ascending) return true;
  return mode_ == Order::shuffled && random() % 2 == 0;
}

Fiber* Block::idleFiber() {
  if (idle_.empty()) {
    fibers_.push_back(std::make_unique<Fiber>(&Block::work));
    return fibers_.back().get();
  }
  Fiber* fiber = idle_.back();
  idle_.pop_back();
  return fiber;
}

void Block::work() { block().workLoop(); }

// What every fiber does: one thread after the other, each to its end.
void Block::workLoop() {
  for (;;) {
    // Whoever waits meanwhile takes this fiber with it, and another goes on with the threads that are left.
    do runFresh();
    while (fresh() && ready_.empty());
    Fiber* self = running_;
    idle_.push_back(self);
    running_ = &main_;
    main_.enterFrom(*self);
  }
}

void Block::runFresh() {
  current_ = order_[next_++];
  currentThread = threads_[current_].index;
  (*thread_)();
  done_++;
}

// Control goes elsewhere; returns when the thread has been released and its turn has come.
void Block::park() {
  Fiber* self = running_;
  running_ = &main_;
  main_.enterFrom(*self);
}

// What the thread that runs waits for. Whoever comes last releases the others, and itself.
void Block::waits(Wait wait) {
  threads_[current_].wait = wait;
  threads_[current_].fiber = running_;
}

void Block::release(unsigned first, unsigned count) {
  for (unsigned i = first; i < first + count; i++) {
    threads_[i].wait = Wait::none;
    ready_.push_back(i);
  }
  std::make_heap(ready_.begin(), ready_.end(),
                 [this](unsigned a, unsigned b) { return threads_[a].rank > threads_[b].rank; });
}

void Block::awaitBlock() {
  waits(Wait::block);
  if (++atBarrier_ == threads_.size()) {
    atBarrier_ = 0;
    release(0, static_cast<unsigned>(threads_.size()));
  }
  park();
}

void Block::awaitWarp() {
  const unsigned first = current_ / warpSize * warpSize;
  const unsigned count = std::min<unsigned>(warpSize, static_cast<unsigned>(threads_.size()) - first);
  waits(Wait::warp);
  if (++warps_[first / warpSize].arrived == count) {
    warps_[first / warpSize].arrived = 0;
    release(first, count);
  }
  park();
}

void Block::exchange(void* value, size_t bytes, int lane) {
  const unsigned first = current_ / warpSize * warpSize;
  auto& values = warps_[first / warpSize].values[threads_[current_].exchanges++ & 1];
  std::memcpy(&values[current_ - first], value, bytes);
  awaitWarp();
  if (lane >= 0 && lane < warpSize && first + static_cast<unsigned>(lane) < threads_.size())
    std::memcpy(value, &values[lane], bytes);
}

std::string Block::stuck() const {
  size_t barrier = 0, warp = 0;
  for (const Thread& thread : threads_) {
    if (thread.wait == Wait::block) barrier++;
    if (thread.wait == Wait::warp) warp++;
  }
  return "block (" + std::to_string(currentBlock.x) + "," + std::to_string(currentBlock.y) + "," +
         std::to_string(currentBlock.z) + "): " + std::to_string(barrier) +
         " threads wait at a barrier and " + std::to_string(warp) + " for others of their warp, while " +
         std::to_string(done_) + " of " + std::to_string(threads_.size()) + " have left the kernel";
}

void expectWholeWarp(unsigned mask) {
  if (mask == 0xffffffffu) return;
  std::fprintf(stderr, "cudasim: threads of a part of a warp (mask %x) cannot wait for each other here\n",
               mask);
  std::abort();
}

}  // namespace

void awaitBlock() { block().awaitBlock(); }
void awaitWarp(unsigned mask) {
  expectWholeWarp(mask);
  block().awaitWarp();
}
void exchange(unsigned mask, void* value, size_t bytes, int lane) {
  expectWholeWarp(mask);
  block().exchange(value, bytes, lane);
}
int currentLane() { return static_cast<int>(block().current() % warpSize); }
void* sharedMemory() { return block().shared(); }

std::string run(const Grid& grid, Order order) {
  const std::lock_guard lock(device);
  currentGridExtent = grid.extent;
  currentBlockExtent = grid.block;
  const size_t blocks = size_t{grid.extent.x} * grid.extent.y * grid.extent.z;
  // A step that reaches every block in an order that looks random.
  size_t step = order == Order::shuffled ? blocks * 618 / 1000 + 1 : 1;
  while (order == Order::shuffled && std::gcd(step, blocks) != 1) step++;
  for (size_t i = 0; i < blocks; i++) {
    const size_t at = order == Order::descending ? blocks - 1 - i : i * step % blocks;
    const size_t rest = at / grid.extent.x;
    currentBlock = {static_cast<unsigned>(at % grid.extent.x), static_cast<unsigned>(rest % grid.extent.y),
                    static_cast<unsigned>(rest / grid.extent.y)};
    std::string failure = block().run(grid, order);
    if (!failure.empty()) return failure;
  }
  return "";
}

}  // namespace cudasim
