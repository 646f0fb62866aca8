// A device: a backend's device with its stream, memory, kernels and handles. The runtime's whole interface.
//
// All members are called on one thread, the queueing thread, and return without waiting for the device unless
// they say so. Whatever is wrong with an argument is thrown before anything is queued.
#ifndef DEPTHWISE_RUNTIME_DEVICE_H
#define DEPTHWISE_RUNTIME_DEVICE_H

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "allocator.h"
#include "backend.h"
#include "handle_table.h"
#include "kernel_cache.h"
#include "program.h"
#include "stream.h"

namespace dw {

struct DeviceOptions {
  int32_t ordinal = 0;
  int32_t threads = 0;
  bool deterministic = false;
  bool allowTf32 = false;
  std::string libraryFolder;
  // Bytes that the device may hold in all; 0: no limit but the machine's.
  uint64_t memoryLimit = 0;
  // Gives every buffer memory of its own, for AddressSanitizer.
  bool uncached = false;
};

struct DeviceMemory : MemoryFigures {
  uint64_t buffers = 0;
};

// Called on the stream thread when an operation is done, with its failure or null. Destroyed without a call
// where the device is abandoned first, then on the queueing thread.
class Completion {
 public:
  virtual ~Completion() = default;
  virtual void done(SharedFailure failure) = 0;
};

class Device {
 public:
  // `path` of the plug-in. Throws Load, or what opening throws.
  Device(const std::string& path, const DeviceOptions& options);
  // Abandons what is queued; only the launch in progress is waited for.
  ~Device();

  const char* name() const { return backend_.name(); }
  // One JSON object.
  std::string describe() { return backend_.describe(); }
  // Throws Unsupported, naming the op, where an instruction of the program cannot run here.
  void supports(const std::vector<double>& payload);
  // Of a program of one instruction: bytes that its filters take when packed; 0: nothing to pack. Throws as above.
  size_t packedBytes(const std::vector<double>& payload);

  double allocate(uint64_t bytes);
  // A buffer that is a range of another's bytes, and keeps its memory; `offset` is a multiple of 64.
  double part(uint64_t buffer, uint64_t offset, uint64_t bytes);
  void retain(uint64_t buffer);
  void release(uint64_t buffer);

  // Copies `bytes` from `data` before it returns. Waits while too many bytes of earlier writes are queued.
  void write(uint64_t buffer, const void* data, uint64_t bytes);
  // Copies `bytes` to `target`, which lives until `completion` is called, with a kept failure too.
  void read(uint64_t buffer, void* target, uint64_t bytes, std::unique_ptr<Completion> completion);
  // Throws unless `bytes` can be read from the buffer.
  void checkRead(uint64_t buffer, uint64_t bytes) const;
  // Waits for the bytes; throws a kept failure.
  void readBlocking(uint64_t buffer, void* target, uint64_t bytes);

  // Decodes, asks the backend for support and allocates the arena. Kernels are prepared on the stream by the
  // first run.
  double prepare(const std::vector<double>& payload);
  void run(uint64_t program, const std::vector<uint64_t>& inputs, const std::vector<uint64_t>& outputs);
  // As run; `times` gets two numbers per instruction, its start and end in nanoseconds, before `completion`.
  void profile(uint64_t program, const std::vector<uint64_t>& inputs, const std::vector<uint64_t>& outputs,
               double* times, std::unique_ptr<Completion> completion);
  size_t instructions(uint64_t program) const;
  void forget(uint64_t program);

  void sync(std::unique_ptr<Completion> completion);
  void syncBlocking();

  DeviceMemory memory() const;

  // Waits for everything queued.
  void finish();

 private:
  ProgramCode decodeSupported(const std::vector<double>& payload);
  const std::shared_ptr<Buffer>& operand(const PreparedProgram& program, const char* kind, size_t index,
                                         uint32_t value, uint64_t handle) const;
  // The buffers of one run, inputs first, checked for number, size and distinct outputs.
  std::vector<std::shared_ptr<Buffer>> operands(uint64_t program, const std::vector<uint64_t>& inputs,
                                                const std::vector<uint64_t>& outputs);
  void drain();

  BackendDevice backend_;
  Allocator allocator_;
  Workspace workspace_;
  KernelCache kernels_;
  HandleTable<Buffer> buffers_{"buffer"};
  HandleTable<PreparedProgram> programs_{"program"};
  uint64_t runs_ = 0;
  Stream stream_;
};

}  // namespace dw

#endif
