// A backend whose device cannot be opened, as a GPU that is lost or taken cannot. Nothing else of it is ever called.
#include <stdio.h>

#include "../../native/include/depthwise.h"

static dw_status open_device(const dw_options* options, dw_device** device, dw_error* error) {
  (void)options, (void)device;
  snprintf(error->message, sizeof error->message, "cuCtxCreate: CUDA_ERROR_DEVICE_UNAVAILABLE (46)");
  return DW_DEVICE_ERROR;
}

static void never(void) {}

__attribute__((visibility("default"))) const dw_backend* dw_backend_entry(uint32_t version) {
  static dw_backend backend;
  // The runtime refuses a backend that lacks a function: all pointers, of whatever type, get one.
  void (**functions)(void) = (void (**)(void))&backend.open;
  void (**end)(void) = (void (**)(void))&backend.capture_begin;
  while (functions < end) *functions++ = never;
  backend.abi_version = version;
  backend.name = "cuda";
  backend.open = open_device;
  return &backend;
}
