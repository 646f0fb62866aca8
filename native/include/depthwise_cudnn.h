// The C interface to cuDNN's plans for people: which engines a problem has, on a device or on a described
// one. Plain C, as depthwise.h: no CUDA or cuDNN type; nothing throws, exits or aborts across it.
#ifndef DEPTHWISE_CUDNN_H
#define DEPTHWISE_CUDNN_H

#include "depthwise.h"

#ifdef __cplusplus
extern "C" {
#endif

// Raised whenever a struct, the numbers of a problem or the meaning of a member changes.
#define DW_CUDNN_ABI_VERSION 1u

// A problem as numbers, in this order. Types: dw_dtype (f32, f16, bf16). Flags are 0 or 1.
//
//   convolution    0, direction, fusion, type, result, n, h, w, c, o, oh, ow, kernel_h, kernel_w, window,
//                  dilation_h, dilation_w, groups, relu, residual, tf32, deterministic
//   normalization  1, phase, type, n, h, w, c, epsilon, momentum, relu, residual
//   pooling        2, pooling, backward, type, n, h, w, c, oh, ow, kernel_h, kernel_w, window, deterministic
//
// window: stride_h, stride_w, top, bottom, left, right, as in depthwise_ops.h. direction: 0 forward,
// 1 input gradient, 2 weight gradient. fusion: that of cuda/plans.h. phase: 0 training, 1 inference, 2
// backward. pooling: 0 max, 1 average, 2 average counting padding.

typedef struct dw_plans_request {
  const double* problem;
  size_t problem_length;
  // Of cuDNN and what it needs, separated by colons; NULL: what the loader finds, or has open.
  const char* folders;
  const char* description;  // of a device, JSON as cuDNN has it; NULL: the device `ordinal`
  int32_t ordinal;
  int32_t plans;   // how many plans are built at most; 0: engines are only listed
  double seconds;  // no further plan is begun after this time
  // For described devices where there is no libcuda.so.1: a library in its place, or NULL.
  const char* driver;
  uint64_t workspace_limit;  // bytes
} dw_plans_request;

typedef struct dw_cudnn {
  uint32_t abi_version;
  // One JSON object: cudnn, device, reason (why there is no engine, or null) and plans, best first as cuDNN
  // lists them: engine, knobs, notes[], fallback, compiled, refused (or null), built, workspace,
  // buildSeconds, milliseconds (or null). Freed by `release`. Slow: engines that are compiled take seconds
  // apiece. Any thread.
  dw_status (*plans)(const dw_plans_request* request, char** json, dw_error* error);
  void (*release)(char* json);
} dw_cudnn;

// Exported by libdepthwise_cudnn.so, which knows described devices only and needs no CUDA, and by
// libdepthwise_cuda.so. NULL if it does not speak `abi_version`.
typedef const dw_cudnn* (*dw_cudnn_entry_function)(uint32_t abi_version);
#define DW_CUDNN_ENTRY "dw_cudnn_entry"

#ifdef __cplusplus
}
#endif

#endif
