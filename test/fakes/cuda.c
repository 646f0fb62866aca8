// A CUDA driver that does as it is told by macros: what the probe asks of libcuda.so.1, and nothing else.
//
//   DRIVER     what cuDriverGetVersion gives; default 13000, CUDA 13.0
//   INIT       what cuInit gives; default 0
//   NAME       the name of INIT
//   DEVICES    how many GPUs; default 1
//   CAPABILITY of each, times 10; default 90
//   ABORT_IN   opening or init: where the driver ends its process
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#ifndef DRIVER
#define DRIVER 13000
#endif
#ifndef INIT
#define INIT 0
#endif
#ifndef NAME
#define NAME "CUDA_ERROR_FAKE"
#endif
#ifndef DEVICES
#define DEVICES 1
#endif
#ifndef CAPABILITY
#define CAPABILITY 90
#endif
#define opening 1
#define init 2
#ifndef ABORT_IN
#define ABORT_IN 0
#endif

__attribute__((constructor)) static void open_driver(void) {
  if (ABORT_IN == opening) abort();
}

int cuInit(unsigned flags) {
  (void)flags;
  if (ABORT_IN == init) abort();
  return INIT;
}

int cuDriverGetVersion(int* version) { return *version = DRIVER, 0; }
int cuDeviceGetCount(int* count) { return *count = DEVICES, 0; }
int cuDeviceGet(int* device, int ordinal) { return *device = ordinal, 0; }
int cuDeviceGetName(char* name, int bytes, int device) {
  (void)device;
  return strncpy(name, "NVIDIA H200", (size_t)bytes), 0;
}
int cuDeviceGetAttribute(int* value, int attribute, int device) {
  (void)device;
  return *value = attribute == 75 ? CAPABILITY / 10 : CAPABILITY % 10, 0;
}
int cuDeviceTotalMem_v2(size_t* bytes, int device) { return (void)device, *bytes = (size_t)141 << 30, 0; }
int cuGetErrorName(int error, const char** name) { return (void)error, *name = NAME, 0; }
