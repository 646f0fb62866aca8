// The C interface between the runtime and a backend (a plug-in library).
// Plain C: no N-API, CUDA or oneDNN type. Nothing throws, exits or aborts across it; every call returns a status.
#ifndef DEPTHWISE_H
#define DEPTHWISE_H

#include <stddef.h>
#include <stdint.h>

#include "depthwise_ops.h"

#ifdef __cplusplus
extern "C" {
#endif

// Raised whenever a struct or the meaning of a member below changes; a plug-in of another version is refused.
#define DW_ABI_VERSION 4u
#define DW_MAX_RANK 6

typedef enum dw_status {
  DW_OK = 0,
  DW_INVALID = 1,        // a caller's mistake: arguments, shapes, stale handles
  DW_UNSUPPORTED = 2,    // meaningful, but this backend cannot do it; the message says why
  DW_OUT_OF_MEMORY = 3,  // figures in dw_error
  DW_DEVICE_ERROR = 4,   // a library or driver call failed; the message has its own words
  DW_INTERNAL = 5        // a bug here
} dw_status;

// Filled by the callee whenever a status other than DW_OK comes back. Bytes; 0 where unknown.
typedef struct dw_error {
  char message[1008];
  uint64_t requested;
  uint64_t free;
  uint64_t largest;
} dw_error;

// The codes of lib/core/dtype.ts.
typedef enum dw_dtype { DW_F32 = 0, DW_F64 = 1, DW_F16 = 2, DW_BF16 = 3, DW_I32 = 4, DW_U8 = 5 } dw_dtype;

typedef struct dw_aval {
  int32_t dtype;
  int32_t rank;
  int64_t dims[DW_MAX_RANK];
} dw_aval;

// One op at fixed shapes and attributes: what a backend prepares. Equal nodes (by value) may share a kernel.
typedef struct dw_node {
  uint32_t op;  // dw_op
  uint32_t n_inputs;
  uint32_t n_outputs;
  uint32_t n_attributes;
  const dw_aval* inputs;
  const dw_aval* outputs;
  const double* attributes;
} dw_node;

typedef struct dw_options {
  int32_t ordinal;             // which device of its kind, from 0
  int32_t threads;             // CPU threads; 0: the backend's choice
  int32_t deterministic;       // only algorithms that give the same bits every time
  int32_t allow_tf32;          // CUDA: TF32 in place of fp32 products
  const char* library_folder;  // where libraries were found, or NULL
} dw_options;

typedef struct dw_device dw_device;  // the backend's own
typedef struct dw_kernel dw_kernel;  // a prepared node

typedef struct dw_backend {
  uint32_t abi_version;
  const char* name;  // "cpu", "cuda", "cudasim"

  // Opens a device. Called on any thread; everything else below marked (stream) only on the device's stream thread.
  dw_status (*open)(const dw_options* options, dw_device** device, dw_error* error);
  void (*close)(dw_device* device);
  // Facts as one JSON object (versions, instruction set, threads, memory), NUL-terminated, cut at `capacity`.
  dw_status (*describe)(dw_device* device, char* json, size_t capacity, dw_error* error);

  // Raw memory, 64-byte aligned at least. The runtime's caching allocator sits above. Any thread. `release` waits for
  // what is in flight where launches are asynchronous; nothing that is launched later uses the memory.
  dw_status (*allocate)(dw_device* device, size_t bytes, void** pointer, dw_error* error);
  void (*release)(dw_device* device, void* pointer, size_t bytes);

  // (stream) In order with launches. `download` returns when the bytes are there.
  dw_status (*upload)(dw_device* device, void* to, const void* from, size_t bytes, dw_error* error);
  dw_status (*download)(dw_device* device, void* to, const void* from, size_t bytes, dw_error* error);
  dw_status (*copy)(dw_device* device, void* to, const void* from, size_t bytes, dw_error* error);

  // DW_OK, or DW_UNSUPPORTED with the reason, or DW_INVALID where operands or attributes do not fit together. The
  // runtime knows no op and asks before any other call with the node: what passes here must be safe to launch on
  // buffers of the sizes it names, and extents may be 0. Cheap; any thread.
  dw_status (*supports)(dw_device* device, const dw_node* node, dw_error* error);
  // (stream) Slow: chooses algorithms, compiles. The runtime caches kernels by node.
  // `workspace` gets the bytes of scratch memory that each launch needs.
  dw_status (*prepare)(dw_device* device, const dw_node* node, dw_kernel** kernel, size_t* workspace, dw_error* error);
  // (stream) Fast: allocates nothing. An output may be the same memory as an input where the op is elementwise; the
  // operands of a flatten may lie at their places in its output.
  dw_status (*launch)(dw_device* device, dw_kernel* kernel, const void* const* inputs, void* const* outputs,
                      void* workspace, dw_error* error);
  void (*destroy)(dw_device* device, dw_kernel* kernel);
  // (stream) Returns when everything launched has finished.
  dw_status (*synchronize)(dw_device* device, dw_error* error);

  // Optional, NULL where a backend has no such thing (CUDA graphs): records the launches between the two calls as
  // one unit that is replayed with the same addresses.
  dw_status (*capture_begin)(dw_device* device, dw_error* error);
  dw_status (*capture_end)(dw_device* device, dw_kernel** graph, dw_error* error);

  // Optional, NULL where a backend computes with filters as they come: for a conv2dBias or conv2dBiasAdd, the bytes that
  // its filters take in the backend's own layout, made by packFilters and read by conv2dPacked and conv2dPackedAdd.
  // 0: nothing to gain. Any thread.
  dw_status (*packed_bytes)(dw_device* device, const dw_node* node, size_t* bytes, dw_error* error);

  // Optional, NULL where preparing needs no memory of the device's: lends memory of the device's for what `prepare` tries
  // out, until it is taken back with NULL. Nothing that it holds is kept. (stream)
  void (*lend)(dw_device* device, void* memory, size_t bytes);
} dw_backend;

// The one symbol a plug-in exports; NULL if it does not speak `abi_version`.
typedef const dw_backend* (*dw_backend_entry_function)(uint32_t abi_version);
#define DW_BACKEND_ENTRY "dw_backend_entry"

#ifdef __cplusplus
}
#endif

#endif
