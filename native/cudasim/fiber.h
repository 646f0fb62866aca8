// Fibers: a function on a stack of its own that can be left and entered again. AddressSanitizer is told of
// switches.
#ifndef DEPTHWISE_CUDASIM_FIBER_H
#define DEPTHWISE_CUDASIM_FIBER_H

#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

namespace cudasim {

// One place to continue at: that of a fiber that was left, or of the thread that entered one.
class Fiber {
 public:
  // The calling thread's own stack.
  Fiber() = default;
  // Runs `entry` on a new stack when first entered. `entry` never returns.
  explicit Fiber(void (*entry)());
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Leaves `from`, which must be what is running, and continues this one.
  void enterFrom(Fiber& from);

 private:
  static void begin();

  void (*entry_)() = nullptr;
  char* stack_ = nullptr;
#if defined(__x86_64__)
  void* position_ = nullptr;  // the stack pointer, with the registers saved above it
#else
  ucontext_t context_;
#endif
#ifdef __SANITIZE_ADDRESS__
  void* fakeStack_ = nullptr;
  const void* bottom_ = nullptr;
  size_t size_ = 0;
#endif
};

}  // namespace cudasim

#endif
