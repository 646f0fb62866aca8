// The ops of the entry depthwise/cudnn: cuDNN's own computations, for people who want those and no other. The
// CUDA backend alone has them; programs of networks never hold them, since there the backend chooses.
// Conventions are those of depthwise_ops.h; codes are of the same numbering.
#ifndef DEPTHWISE_CUDNN_OPS_H
#define DEPTHWISE_CUDNN_OPS_H

#define DW_CUDNN_OPS(X)                                                                               \
  /* cudnnConvolution(x, w) -> y, as conv2d  [conv] */                                                \
  X(300, cudnnConvolution)                                                                            \
  /* cudnnConvolutionInputGrad(g, w) -> dx, as conv2dInputGrad  [conv, h, w] */                       \
  X(301, cudnnConvolutionInputGrad)                                                                   \
  /* cudnnConvolutionWeightGrad(x, g) -> dw, as conv2dWeightGrad  [conv, kh, kw] */                   \
  X(302, cudnnConvolutionWeightGrad)                                                                  \
  /* cudnnBatchNormTraining(x T[n,h,w,c], gamma, beta, runningMean, runningVariance: f32[c])          \
   *   -> y, mean, inverseDeviation, newRunningMean, newRunningVariance: f32[c]  [epsilon, momentum]; \
   *   the running variance takes the unbiased variance of the batch */                               \
  X(303, cudnnBatchNormTraining)                                                                      \
  /* cudnnBatchNormInference(x, mean, inverseDeviation, gamma, beta) -> y */                          \
  X(304, cudnnBatchNormInference)                                                                     \
  /* cudnnBatchNormGrad(g, x, mean, inverseDeviation, gamma) -> dx, dGamma, dBeta: f32[c] */          \
  X(305, cudnnBatchNormGrad)                                                                          \
  /* cudnnMaxPool(x) -> y, argmax u8, as maxPool  [kernel_h, kernel_w, window] */                     \
  X(306, cudnnMaxPool)                                                                                \
  /* cudnnMaxPoolGrad(g, argmax) -> dx, as maxPoolGrad  [kernel_h, kernel_w, window, h, w] */         \
  X(307, cudnnMaxPoolGrad)                                                                            \
  /* cudnnAvgPool(x) -> y, as avgPool  [kernel_h, kernel_w, window, countPadding] */                  \
  X(308, cudnnAvgPool)                                                                                \
  /* cudnnAvgPoolGrad(g) -> dx, as avgPoolGrad  [kernel_h, kernel_w, window, countPadding, h, w] */   \
  X(309, cudnnAvgPoolGrad)

typedef enum dw_cudnn_op {
#define DW_CUDNN_OP_ENUM(code, name) DW_OP_##name = code,
  DW_CUDNN_OPS(DW_CUDNN_OP_ENUM)
#undef DW_CUDNN_OP_ENUM
} dw_cudnn_op;

#endif
