// Host memory for tensors.
#include "hostMemory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace dw::cpu {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr uint64_t kUnlimited = UINT64_MAX;

// The first number in a file; `otherwise` if there is none ("max" in control groups).
uint64_t readNumber(const char* path, uint64_t otherwise) {
  FILE* file = std::fopen(path, "re");
  if (!file) return otherwise;
  uint64_t value;
  const bool found = std::fscanf(file, "%" SCNu64, &value) == 1;
  std::fclose(file);
  return found ? value : otherwise;
}

// The number after `key` in a file of lines "key number".
uint64_t readField(const char* path, const char* key, uint64_t otherwise) {
  FILE* file = std::fopen(path, "re");
  if (!file) return otherwise;
  char line[256];
  uint64_t value = otherwise;
  const size_t length = std::strlen(key);
  while (std::fgets(line, sizeof line, file)) {
    if (std::strncmp(line, key, length) != 0) continue;
    if (std::sscanf(line + length, "%" SCNu64, &value) == 1) break;
  }
  std::fclose(file);
  return value;
}

// Inside a container its own control group is mounted at the root of these.
struct Group {
  uint64_t limit = kUnlimited;
  uint64_t used = 0;
};

Group readGroup() {
  Group group;
  group.limit = readNumber("/sys/fs/cgroup/memory.max", kUnlimited);
  if (group.limit != kUnlimited) {
    const uint64_t used = readNumber("/sys/fs/cgroup/memory.current", 0);
    // The page cache counts as used, and is given back when needed.
    const uint64_t cache = readField("/sys/fs/cgroup/memory.stat", "file ", 0);
    group.used = used - std::min(used, cache);
    return group;
  }
  group.limit = readNumber("/sys/fs/cgroup/memory/memory.limit_in_bytes", kUnlimited);
  if (group.limit >= uint64_t{1} << 60) group.limit = kUnlimited;
  if (group.limit != kUnlimited) {
    const uint64_t used = readNumber("/sys/fs/cgroup/memory/memory.usage_in_bytes", 0);
    const uint64_t cache = readField("/sys/fs/cgroup/memory/memory.stat", "cache ", 0);
    group.used = used - std::min(used, cache);
  }
  return group;
}

size_t roundUp(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

void* allocateHuge(size_t bytes) {
  const size_t length = roundUp(bytes, kHugePage);
  void* mapped =
      mmap(nullptr, length + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  char* start = static_cast<char*>(mapped);
  char* aligned = reinterpret_cast<char*>(roundUp(reinterpret_cast<size_t>(start), kHugePage));
  if (aligned > start) munmap(start, static_cast<size_t>(aligned - start));
  const size_t after = kHugePage - static_cast<size_t>(aligned - start);
  if (after > 0) munmap(aligned + length, after);
  madvise(aligned, length, MADV_HUGEPAGE);
#ifdef MADV_POPULATE_WRITE
  // Linux counts memory when it is touched, and ends a process that touches too much: touch it here, where a
  // failure can still be reported. Kernels before 5.14 do not know this advice.
  if (madvise(aligned, length, MADV_POPULATE_WRITE) != 0 && (errno == ENOMEM || errno == EFAULT)) {
    munmap(aligned, length);
    return nullptr;
  }
#endif
  return aligned;
}

}  // namespace

uint64_t availableMemory() {
  const uint64_t kilobytes = readField("/proc/meminfo", "MemAvailable:", kUnlimited);
  uint64_t available = kilobytes == kUnlimited ? kUnlimited : kilobytes * 1024;
  const Group group = readGroup();
  if (group.limit != kUnlimited)
    available = std::min(available, group.limit - std::min(group.limit, group.used));
  return available;
}

uint64_t totalMemory() {
  const uint64_t physical =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return std::min(physical, readGroup().limit);
}

void* allocateHost(size_t bytes) {
  if (bytes < kHugePage) {
    void* pointer = nullptr;
    return posix_memalign(&pointer, 64, std::max<size_t>(bytes, 64)) == 0 ? pointer : nullptr;
  }
  // A little is left to everything else: the program itself, its stacks and decoded images.
  constexpr uint64_t kReserve = uint64_t{64} << 20;
  const uint64_t available = availableMemory();
  if (available != kUnlimited && (bytes > available || available - bytes < kReserve)) return nullptr;
  return allocateHuge(bytes);
}

void releaseHost(void* pointer, size_t bytes) {
  if (!pointer) return;
  if (bytes < kHugePage)
    std::free(pointer);
  else
    munmap(pointer, roundUp(bytes, kHugePage));
}

}  // namespace dw::cpu
