// The device: checks arguments, queues tasks.
#include "device.h"

#include <cstring>
#include <future>

namespace dw {

namespace {

dw_options backendOptions(const DeviceOptions& options) {
  dw_options result{};
  result.ordinal = options.ordinal;
  result.threads = options.threads;
  result.deterministic = options.deterministic ? 1 : 0;
  result.allow_tf32 = options.allowTf32 ? 1 : 0;
  result.library_folder = options.libraryFolder.empty() ? nullptr : options.libraryFolder.c_str();
  return result;
}

// A write runs even while an error is kept: its bytes do not come from anything that failed.
class WriteTask : public Task {
 public:
  WriteTask(BackendDevice& device, std::shared_ptr<Buffer> buffer, const void* data, size_t bytes)
      : device_(device), buffer_(std::move(buffer)), staged_(new char[bytes]), bytes_(bytes) {
    if (bytes > 0) std::memcpy(staged_.get(), data, bytes);
  }
  size_t stagedBytes() const override { return bytes_; }
  void execute(Stream&) override {
    try {
      device_.upload(buffer_->pointer, staged_.get(), bytes_);
      // A part of a buffer that holds no result does not make the rest one.
      if (bytes_ == buffer_->bytes) buffer_->heal();
    } catch (...) {
      buffer_->spoil(currentFailure());
      throw;
    }
  }

 private:
  BackendDevice& device_;
  std::shared_ptr<Buffer> buffer_;
  std::unique_ptr<char[]> staged_;
  size_t bytes_;
};

class ReadTask : public Task {
 public:
  ReadTask(BackendDevice& device, std::shared_ptr<Buffer> buffer, void* target, size_t bytes,
           std::unique_ptr<Completion> completion)
      : device_(device),
        buffer_(std::move(buffer)),
        target_(target),
        bytes_(bytes),
        completion_(std::move(completion)) {}
  void execute(Stream& stream) override {
    SharedFailure failure = stream.errors().take();
    if (failure == nullptr) failure = buffer_->failure();
    if (failure == nullptr) {
      try {
        device_.download(target_, buffer_->pointer, bytes_);
      } catch (...) {
        failure = currentFailure();
      }
    }
    completion_.release()->done(std::move(failure));
  }

 private:
  BackendDevice& device_;
  std::shared_ptr<Buffer> buffer_;
  void* target_;
  size_t bytes_;
  std::unique_ptr<Completion> completion_;
};

class RunTask : public Task {
 public:
  RunTask(BackendDevice& device, KernelCache& kernels, Workspace& workspace,
          std::shared_ptr<PreparedProgram> program, std::vector<std::shared_ptr<Buffer>> buffers)
      : device_(device),
        kernels_(kernels),
        workspace_(workspace),
        program_(std::move(program)),
        buffers_(std::move(buffers)) {}
  void execute(Stream& stream) override { execute(stream, nullptr); }
  void execute(Stream& stream, double* times) {
    program_->execute(stream, device_, kernels_, workspace_, buffers_, times);
  }

 private:
  BackendDevice& device_;
  KernelCache& kernels_;
  Workspace& workspace_;
  std::shared_ptr<PreparedProgram> program_;
  std::vector<std::shared_ptr<Buffer>> buffers_;
};

// One run with the times of its instructions; `times` outlives the task with the completion.
class ProfileTask : public Task {
 public:
  ProfileTask(std::unique_ptr<RunTask> run, double* times, std::unique_ptr<Completion> completion)
      : run_(std::move(run)), times_(times), completion_(std::move(completion)) {}
  void execute(Stream& stream) override {
    run_->execute(stream, times_);
    completion_.release()->done(stream.errors().take());
  }

 private:
  std::unique_ptr<RunTask> run_;
  double* times_;
  std::unique_ptr<Completion> completion_;
};

// Takes a program's last reference to the stream thread, where kernels are destroyed.
class ForgetTask : public Task {
 public:
  explicit ForgetTask(std::shared_ptr<PreparedProgram> program) : program_(std::move(program)) {}
  void execute(Stream&) override { program_ = nullptr; }

 private:
  std::shared_ptr<PreparedProgram> program_;
};

class SyncTask : public Task {
 public:
  SyncTask(BackendDevice& device, std::unique_ptr<Completion> completion)
      : device_(device), completion_(std::move(completion)) {}
  void execute(Stream& stream) override {
    SharedFailure failure;
    try {
      device_.synchronize();
    } catch (...) {
      failure = currentFailure();
    }
    SharedFailure kept = stream.errors().take();
    completion_.release()->done(kept != nullptr ? std::move(kept) : std::move(failure));
  }

 private:
  BackendDevice& device_;
  std::unique_ptr<Completion> completion_;
};

// As a sync, for the allocator: leaves the kept error for whoever reads next.
class DrainTask : public Task {
 public:
  explicit DrainTask(BackendDevice& device) : device_(device) {}
  void execute(Stream&) override { device_.synchronize(); }

 private:
  BackendDevice& device_;
};

// Lets the queueing thread wait for a completion.
class Waiter {
 public:
  std::unique_ptr<Completion> completion() { return std::make_unique<Signal>(promise_); }
  void wait() {
    if (const SharedFailure failure = promise_.get_future().get()) throw Failure(*failure);
  }

 private:
  class Signal : public Completion {
   public:
    explicit Signal(std::promise<SharedFailure>& promise) : promise_(promise) {}
    void done(SharedFailure failure) override {
      const std::unique_ptr<Signal> self(this);
      promise_.set_value(std::move(failure));
    }

   private:
    std::promise<SharedFailure>& promise_;
  };

  std::promise<SharedFailure> promise_;
};

unsigned long long shown(uint64_t number) { return number; }

}  // namespace

Device::Device(const std::string& path, const DeviceOptions& options)
    : backend_(loadBackend(path), backendOptions(options)),
      allocator_(backend_, options.memoryLimit, !options.uncached),
      workspace_(backend_, allocator_),
      kernels_(backend_),
      stream_(backend_.name()) {}

Device::~Device() { stream_.stop(); }

void Device::supports(const std::vector<double>& payload) { decodeSupported(payload); }

size_t Device::packedBytes(const std::vector<double>& payload) {
  const ProgramCode code = decodeSupported(payload);
  if (code.instructions.size() != 1) fail(FailureKind::Argument, "packedBytes: expected one instruction");
  return backend_.packedBytes(code.node(code.instructions.front()));
}

ProgramCode Device::decodeSupported(const std::vector<double>& payload) {
  ProgramCode code = decodeProgram(payload);
  for (const ProgramCode::Instruction& instruction : code.instructions) {
    try {
      backend_.supports(code.node(instruction));
    } catch (Failure& failure) {
      failure.message =
          text("%s on %s: %s", opName(instruction.op), backend_.name(), failure.message.c_str());
      throw;
    }
  }
  return code;
}

double Device::allocate(uint64_t bytes) {
  if (bytes > kMaxBytes) fail(FailureKind::Argument, "allocate: %llu bytes are too many", shown(bytes));
  auto buffer = std::make_shared<Buffer>();
  buffer->block = allocator_.allocate(bytes, Usage::Buffer, stream_.completed(), [this] { drain(); });
  buffer->pointer = buffer->block->pointer;
  buffer->bytes = bytes;
  try {
    return buffers_.add(buffer);
  } catch (...) {
    allocator_.release(buffer->block, stream_.queued());
    throw;
  }
}

double Device::part(uint64_t handle, uint64_t offset, uint64_t bytes) {
  const std::shared_ptr<Buffer>& buffer = buffers_.get(handle);
  if (offset % 64 != 0 || offset > buffer->bytes || bytes > buffer->bytes - offset) {
    fail(FailureKind::Argument, "part: no %llu bytes at %llu in a buffer of %llu; parts begin at multiples of 64",
         shown(bytes), shown(offset), shown(buffer->bytes));
  }
  auto part = std::make_shared<Buffer>();
  part->pointer = static_cast<char*>(buffer->pointer) + offset;
  part->bytes = bytes;
  part->whole = buffer->whole != nullptr ? buffer->whole : buffer;
  part->wholeHandle = buffer->whole != nullptr ? buffer->wholeHandle : handle;
  const uint64_t whole = part->wholeHandle;
  retain(whole);
  try {
    return buffers_.add(std::move(part));
  } catch (...) {
    release(whole);
    throw;
  }
}

void Device::retain(uint64_t handle) {
  Buffer& buffer = *buffers_.get(handle);
  if (buffer.references == UINT32_MAX) fail(FailureKind::Argument, "retain: too many references");
  buffer.references += 1;
}

void Device::release(uint64_t handle) {
  Buffer& buffer = *buffers_.get(handle);
  buffer.references -= 1;
  if (buffer.references > 0) return;
  const uint64_t whole = buffer.wholeHandle;
  const bool isPart = buffer.whole != nullptr;
  if (!isPart) allocator_.release(buffer.block, stream_.queued());
  buffers_.remove(handle);
  if (isPart) release(whole);
}

void Device::write(uint64_t handle, const void* data, uint64_t bytes) {
  const std::shared_ptr<Buffer>& buffer = buffers_.get(handle);
  if (bytes > buffer->bytes) {
    fail(FailureKind::Argument, "write: %llu bytes into a buffer of %llu", shown(bytes),
         shown(buffer->bytes));
  }
  stream_.push(std::make_unique<WriteTask>(backend_, buffer, data, bytes));
}

void Device::checkRead(uint64_t handle, uint64_t bytes) const {
  const Buffer& buffer = *buffers_.get(handle);
  if (bytes > buffer.bytes) {
    fail(FailureKind::Argument, "read: %llu bytes from a buffer of %llu", shown(bytes), shown(buffer.bytes));
  }
}

void Device::read(uint64_t handle, void* target, uint64_t bytes, std::unique_ptr<Completion> completion) {
  checkRead(handle, bytes);
  stream_.push(
      std::make_unique<ReadTask>(backend_, buffers_.get(handle), target, bytes, std::move(completion)));
}

void Device::readBlocking(uint64_t handle, void* target, uint64_t bytes) {
  Waiter waiter;
  read(handle, target, bytes, waiter.completion());
  waiter.wait();
}

double Device::prepare(const std::vector<double>& payload) {
  ProgramCode code = decodeSupported(payload);
  Allocator::Block* arena = nullptr;
  if (code.arenaBytes > 0) {
    arena = allocator_.allocate(code.arenaBytes, Usage::Arena, stream_.completed(), [this] { drain(); });
  }
  try {
    return programs_.add(std::make_shared<PreparedProgram>(std::move(code), arena));
  } catch (...) {
    if (arena != nullptr) allocator_.release(arena, stream_.queued());
    throw;
  }
}

const std::shared_ptr<Buffer>& Device::operand(const PreparedProgram& program, const char* kind, size_t index,
                                               uint32_t value, uint64_t handle) const {
  const std::shared_ptr<Buffer>& buffer = buffers_.get(handle);
  const uint64_t needed = program.code().values[value].bytes;
  if (buffer->bytes < needed) {
    fail(FailureKind::Argument, "run: %s %zu needs %llu bytes, its buffer has %llu", kind, index,
         shown(needed), shown(buffer->bytes));
  }
  return buffer;
}

void Device::run(uint64_t handle, const std::vector<uint64_t>& inputs, const std::vector<uint64_t>& outputs) {
  stream_.push(std::make_unique<RunTask>(backend_, kernels_, workspace_, programs_.get(handle),
                                         operands(handle, inputs, outputs)));
}

size_t Device::instructions(uint64_t handle) const { return programs_.get(handle)->code().instructions.size(); }

void Device::profile(uint64_t handle, const std::vector<uint64_t>& inputs,
                     const std::vector<uint64_t>& outputs, double* times,
                     std::unique_ptr<Completion> completion) {
  auto run = std::make_unique<RunTask>(backend_, kernels_, workspace_, programs_.get(handle),
                                       operands(handle, inputs, outputs));
  stream_.push(std::make_unique<ProfileTask>(std::move(run), times, std::move(completion)));
}

std::vector<std::shared_ptr<Buffer>> Device::operands(uint64_t handle, const std::vector<uint64_t>& inputs,
                                                      const std::vector<uint64_t>& outputs) {
  const std::shared_ptr<PreparedProgram>& program = programs_.get(handle);
  const ProgramCode& code = program->code();
  if (inputs.size() != code.inputs.size() || outputs.size() != code.outputs.size()) {
    fail(FailureKind::Argument, "run: the program takes %zu inputs and %zu outputs, got %zu and %zu",
         code.inputs.size(), code.outputs.size(), inputs.size(), outputs.size());
  }
  std::vector<std::shared_ptr<Buffer>> buffers;
  buffers.reserve(inputs.size() + outputs.size());
  for (size_t i = 0; i < inputs.size(); i += 1) {
    buffers.push_back(operand(*program, "input", i, code.inputs[i], inputs[i]));
  }
  runs_ += 1;
  for (size_t i = 0; i < outputs.size(); i += 1) {
    buffers.push_back(operand(*program, "output", i, code.outputs[i].value, outputs[i]));
    if (buffers.back()->stamp == runs_)
      fail(FailureKind::Argument, "run: output %zu has the buffer of another", i);
    buffers.back()->stamp = runs_;
  }
  return buffers;
}

void Device::forget(uint64_t handle) {
  std::shared_ptr<PreparedProgram> program = programs_.get(handle);
  programs_.remove(handle);
  Allocator::Block* const arena = program->arena();
  stream_.push(std::make_unique<ForgetTask>(std::move(program)));
  if (arena != nullptr) allocator_.release(arena, stream_.queued());
}

void Device::sync(std::unique_ptr<Completion> completion) {
  stream_.push(std::make_unique<SyncTask>(backend_, std::move(completion)));
}

void Device::syncBlocking() {
  Waiter waiter;
  sync(waiter.completion());
  waiter.wait();
}

DeviceMemory Device::memory() const {
  DeviceMemory memory;
  static_cast<MemoryFigures&>(memory) = allocator_.figures();
  memory.buffers = buffers_.count();
  return memory;
}

void Device::finish() { stream_.wait(); }

void Device::drain() {
  stream_.push(std::make_unique<DrainTask>(backend_));
  stream_.wait();
}

}  // namespace dw
