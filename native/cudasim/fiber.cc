// Fibers: stacks, and switching between them.
#include "fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

namespace cudasim {
namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr size_t kStack = size_t{512} << 10;
#else
constexpr size_t kStack = size_t{64} << 10;
#endif
constexpr size_t kGuard = 4096;

// Who is being entered, and from where. One thread at a time runs a grid; and not of a thread's own, since a
// fiber that one thread has left may be entered by another, whose variables a compiler does not expect after
// a call.
Fiber* entering = nullptr;
Fiber* leaving = nullptr;

}  // namespace

#if defined(__x86_64__)
// Saves the registers that a call preserves, stores the stack pointer to *from, and goes on where `to` was
// saved. swapcontext of the C library does the same with two system calls, for the signal mask.
extern "C" void cudasim_switch(void** from, void* to);
asm(R"(
.text
.type cudasim_switch, @function
.hidden cudasim_switch
.globl cudasim_switch
cudasim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cudasim_switch, .-cudasim_switch
)");
#endif

Fiber::Fiber(void (*entry)()) : entry_(entry) {
  // The lowest page faults: a stack that overflows ends the program where it happens.
  void* mapped = mmap(nullptr, kGuard + kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  stack_ = static_cast<char*>(mapped);
  mprotect(stack_, kGuard, PROT_NONE);
  char* top = stack_ + kGuard + kStack;
#if defined(__x86_64__)
  void** slot = reinterpret_cast<void**>(top);
  *--slot = nullptr;  // as if `begin` had been called from nowhere, with the alignment of a call
  *--slot = reinterpret_cast<void*>(&Fiber::begin);
  for (int i = 0; i < 6; i++) *--slot = nullptr;  // the registers
  position_ = slot;
#else
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_ + kGuard;
  context_.uc_stack.ss_size = kStack;
  context_.uc_link = nullptr;
  makecontext(&context_, &Fiber::begin, 0);
#endif
#ifdef __SANITIZE_ADDRESS__
  bottom_ = stack_ + kGuard;
  size_ = kStack;
#endif
}

Fiber::~Fiber() {
  if (stack_ != nullptr) munmap(stack_, kGuard + kStack);
}

void Fiber::begin() {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, &leaving->bottom_, &leaving->size_);
#endif
  entering->entry_();
}

void Fiber::enterFrom(Fiber& from) {
  entering = this;
  leaving = &from;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&from.fakeStack_, bottom_, size_);
#endif
#if defined(__x86_64__)
  cudasim_switch(&from.position_, position_);
#else
  swapcontext(&from.context_, &context_);
#endif
#ifdef __SANITIZE_ADDRESS__
  // Entered again, by `leaving`.
  __sanitizer_finish_switch_fiber(from.fakeStack_, &leaving->bottom_, &leaving->size_);
#endif
}

}  // namespace cudasim
