// How many cores there are for us.
#include "device.h"

#include <sched.h>

#include <cmath>
#include <cstdio>
#include <thread>

namespace dw::cpu {
namespace {

// Cores' worth of time that the control group grants, or a large number.
double quotaCores() {
  constexpr double kUnlimited = 1e9;
  double quota = 0, period = 0;
  if (FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "re")) {
    const bool limited = std::fscanf(file, "%lf %lf", &quota, &period) == 2;
    std::fclose(file);
    return limited && quota > 0 && period > 0 ? quota / period : kUnlimited;
  }
  FILE* quotaFile = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "re");
  FILE* periodFile = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "re");
  const bool limited = quotaFile && periodFile && std::fscanf(quotaFile, "%lf", &quota) == 1 &&
                       std::fscanf(periodFile, "%lf", &period) == 1 && quota > 0 && period > 0;
  if (quotaFile) std::fclose(quotaFile);
  if (periodFile) std::fclose(periodFile);
  return limited ? quota / period : kUnlimited;
}

}  // namespace

int availableCores() {
  cpu_set_t set;
  const int allowed = sched_getaffinity(0, sizeof set, &set) == 0
                          ? CPU_COUNT(&set)
                          : static_cast<int>(std::thread::hardware_concurrency());
  const double granted = std::ceil(quotaCores());
  return std::max(1, granted < allowed ? static_cast<int>(granted) : allowed);
}

}  // namespace dw::cpu
