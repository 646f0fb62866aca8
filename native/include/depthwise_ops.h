// The op table: every op of the native interface, once. Names are those of lib/ops; codes are never reused or renumbered.
//
// Each line: X(code, name), with its signature above it as
//   name(inputs) -> outputs  [attributes in order]
// Attributes are doubles. Layout is NHWC, dense, row-major. T is the floating type of the data; A its accumulator
// type (f32, and f64 for f64). `window` stands for: stride_h, stride_w, top, bottom, left, right (explicit padding).
#ifndef DEPTHWISE_OPS_H
#define DEPTHWISE_OPS_H

#define DW_OPS(X)                                                                                                      \
  /* conv2d(x T[n,h,w,c], w T[o,kh,kw,c/groups]) -> y T[n,oh,ow,o]  [window, dilation_h, dilation_w, groups] */        \
  X(1, conv2d)                                                                                                         \
  /* conv2dInputGrad(g T[n,oh,ow,o], w) -> dx T[n,h,w,c]  [window, dilation_h, dilation_w, groups, h, w] */            \
  X(2, conv2dInputGrad)                                                                                                \
  /* conv2dWeightGrad(x, g) -> dw T[o,kh,kw,c/groups]  [window, dilation_h, dilation_w, groups, kh, kw] */             \
  X(3, conv2dWeightGrad)                                                                                               \
  /* channelSums(x T[...,c]) -> sum A[c], sumSquares A[c] */                                                           \
  X(10, channelSums)                                                                                                   \
  /* batchNormFinalize(sum, sumSquares, gamma, beta, runningMean, runningVariance: A[c])                               \
   *   -> mean, inverseDeviation, scale, shift, newRunningMean, newRunningVariance: A[c]                               \
   *   [count, epsilon, momentum, unbiased]                                                                            \
   *   mean = sum/count; variance = max(0, sumSquares/count - mean^2); inverseDeviation = 1/sqrt(variance + epsilon);  \
   *   scale = gamma*inverseDeviation; shift = beta - mean*scale;                                                      \
   *   newRunning = momentum*running + (1 - momentum)*batch; unbiased: batch variance times count/(count - 1) */       \
  X(11, batchNormFinalize)                                                                                             \
  /* batchNormFinalizeGrad(gScale, gShift, mean, inverseDeviation, gamma: A[c]) -> dSum, dSumSquares, dGamma, dBeta    \
   *   [count] */                                                                                                      \
  X(12, batchNormFinalizeGrad)                                                                                         \
  /* channelAffine(x T[...,c], scale A[c], shift A[c]) -> y T = x*scale + shift */                                     \
  X(13, channelAffine)                                                                                                 \
  /* channelMultiply(x T[...,c], scale A[c]) -> y T = x*scale */                                                       \
  X(14, channelMultiply)                                                                                               \
  /* channelGradSums(g T[...,c], x T[...,c]) -> sumG A[c], sumGX A[c] = sum g, sum g*x */                              \
  X(15, channelGradSums)                                                                                               \
  /* batchNormFold(gamma, beta, mean, variance: A[c]) -> scale, shift  [epsilon] */                                    \
  X(16, batchNormFold)                                                                                                 \
  /* batchNormFoldGrad(gScale, gShift, mean, variance: A[c]) -> dGamma, dBeta  [epsilon] */                            \
  X(17, batchNormFoldGrad)                                                                                             \
  /* relu(x) -> y */                                                                                                   \
  X(20, relu)                                                                                                          \
  /* reluGrad(g, y) -> dx = y > 0 ? g : 0 */                                                                           \
  X(21, reluGrad)                                                                                                      \
  /* elu(x) -> y = x > 0 ? x : alpha*(exp(x) - 1)  [alpha] */                                                          \
  X(22, elu)                                                                                                           \
  /* eluGrad(g, y) -> dx = y > 0 ? g : g*(y + alpha)  [alpha] */                                                       \
  X(23, eluGrad)                                                                                                       \
  /* sigmoid(x) -> y */                                                                                                \
  X(24, sigmoid)                                                                                                       \
  /* sigmoidGrad(g, y) -> dx = g*y*(1 - y) */                                                                          \
  X(25, sigmoidGrad)                                                                                                   \
  /* maxPool(x T[n,h,w,c]) -> y T[n,oh,ow,c], argmax u8[n,oh,ow,c]  [kernel_h, kernel_w, window]                       \
   *   argmax: row*kernel_w + column in the window of the first largest element; padding never wins */                 \
  X(30, maxPool)                                                                                                       \
  /* maxPoolGrad(g T[n,oh,ow,c], argmax) -> dx T[n,h,w,c]  [kernel_h, kernel_w, window, h, w] */                       \
  X(31, maxPoolGrad)                                                                                                   \
  /* avgPool(x) -> y  [kernel_h, kernel_w, window, countPadding] */                                                    \
  X(32, avgPool)                                                                                                       \
  /* avgPoolGrad(g) -> dx  [kernel_h, kernel_w, window, countPadding, h, w] */                                         \
  X(33, avgPoolGrad)                                                                                                   \
  /* globalAvgPool(x T[n,h,w,c]) -> y T[n,c] */                                                                        \
  X(34, globalAvgPool)                                                                                                 \
  /* globalAvgPoolGrad(g T[n,c]) -> dx T[n,h,w,c]  [h, w] */                                                           \
  X(35, globalAvgPoolGrad)                                                                                             \
  /* linear(x T[n,i], w T[o,i]) -> y T[n,o] */                                                                         \
  X(40, linear)                                                                                                        \
  /* linearInputGrad(g T[n,o], w) -> dx T[n,i] */                                                                      \
  X(41, linearInputGrad)                                                                                               \
  /* linearWeightGrad(x, g) -> dw T[o,i] */                                                                            \
  X(42, linearWeightGrad)                                                                                              \
  /* addBias(x T[...,c], b T[c]) -> y */                                                                               \
  X(43, addBias)                                                                                                       \
  /* add(a, b) -> y; subtract(a, b); multiply(a, b): equal shapes */                                                   \
  X(50, add)                                                                                                           \
  X(51, subtract)                                                                                                      \
  X(52, multiply)                                                                                                      \
  /* scale(x) -> y = x*factor  [factor] */                                                                             \
  X(53, scale)                                                                                                         \
  /* square(x) -> y = x*x */                                                                                           \
  X(54, square)                                                                                                        \
  /* sum(x) -> y  [keepDims, axes in ascending order...] */                                                            \
  X(55, sum)                                                                                                           \
  /* broadcast(x) -> y  [shape...]; x aligned at the last axis, extents equal or 1, as in NumPy */                     \
  X(56, broadcast)                                                                                                     \
  /* fill() -> y  [dtype, value, shape...] */                                                                          \
  X(57, fill)                                                                                                          \
  /* cast(x) -> y  [dtype]; to an integer type: truncates towards zero and saturates */                                \
  X(58, cast)                                                                                                          \
  /* concat(xs...) -> y  [axis] */                                                                                     \
  X(60, concat)                                                                                                        \
  /* slice(x) -> y  [start per axis..., extent per axis...] */                                                         \
  X(61, slice)                                                                                                         \
  /* pad(x) -> y, zeros around  [before per axis..., after per axis...] */                                             \
  X(62, pad)                                                                                                           \
  /* reshape(x) -> y  [shape...] */                                                                                    \
  X(63, reshape)                                                                                                       \
  /* flatten(xs T[...]...) -> y T[n]: the elements of each operand from a multiple of 32 elements on, zeros between.   \
   *   An operand that lies at its place in y already, as programs plan it, is not copied. */                          \
  X(64, flatten)                                                                                                       \
  /* dropout(x T, counter i32[2] = seed, step) -> y  [rate, stream]                                                    \
   *   element i is kept when word (i % 4) of Philox4x32-10(counter = {lo(i/4), hi(i/4), step, 0},                     \
   *   key = {seed, stream}) is at least floor(rate * 2^32), and then multiplied by 1/(1 - rate) */                    \
  X(70, dropout)                                                                                                       \
  /* softmax(x T[n,c]) -> y, over the last axis */                                                                     \
  X(80, softmax)                                                                                                       \
  /* softmaxGrad(g, y) -> dx */                                                                                        \
  X(81, softmaxGrad)                                                                                                   \
  /* softmaxCrossEntropy(logits T[n,c], labels i32[n]) -> loss A[n]  [smoothing]                                       \
   *   target = (1 - smoothing)*onehot + smoothing/c; a label out of range is a device error */                        \
  X(82, softmaxCrossEntropy)                                                                                           \
  /* softmaxCrossEntropyGrad(g A[n], logits, labels) -> dlogits T[n,c]  [smoothing] */                                 \
  X(83, softmaxCrossEntropyGrad)                                                                                       \
  /* sigmoidCrossEntropy(logits T[n,c], targets A[n,c]) -> loss A[n], the mean over c  [smoothing]                     \
   *   target = targets*(1 - smoothing) + smoothing/2 */                                                               \
  X(84, sigmoidCrossEntropy)                                                                                           \
  /* sigmoidCrossEntropyGrad(g A[n], logits, targets) -> dlogits T[n,c]  [smoothing] */                                \
  X(85, sigmoidCrossEntropyGrad)                                                                                       \
  /* normalizeImages(x u8|f32[n,h,w,c], scale f32[c], shift f32[c]) -> y T = x*scale + shift  [dtype] */               \
  X(90, normalizeImages)                                                                                               \
  /* Updates; w, state and g have one shape; lr, step, decay are scalars []; g' = factor*g + weightDecay*w in the      \
   * first `decayed` elements (-1: all), factor*g in the others. `factor` is a last scalar that all but polyakUpdate   \
   * may have: without it 1; where it is NaN, nothing changes. */                                                      \
  /* sgdUpdate(w, g, lr) -> w  [weightDecay, decayed] */                                                               \
  X(100, sgdUpdate)                                                                                                    \
  /* momentumUpdate(w, g, m, lr) -> w, m  [momentum, nesterov, weightDecay, decayed]                                   \
   *   m = momentum*m - lr*g'; w = w + m, or with nesterov w + momentum*m - lr*g' (Keras) */                           \
  X(101, momentumUpdate)                                                                                               \
  /* rmspropUpdate(w, g, v, lr) -> w, v  [rho, epsilon, epsilonOutside, weightDecay, decayed]                          \
   *   v = rho*v + (1 - rho)*g'^2; w = w - lr*g'/sqrt(v + epsilon), outside: lr*g'/(sqrt(v) + epsilon) */              \
  X(102, rmspropUpdate)                                                                                                \
  /* rmspropMomentumUpdate(w, g, v, m, lr) -> w, v, m  [rho, momentum, epsilon, epsilonOutside, weightDecay, decayed]  \
   *   inside (TensorFlow, Keras): m = momentum*m + lr*g'/sqrt(v + epsilon); w = w - m;                                \
   *   outside (PyTorch): m = momentum*m + g'/(sqrt(v) + epsilon); w = w - lr*m */                                     \
  X(103, rmspropMomentumUpdate)                                                                                        \
  /* adamUpdate(w, g, m, v, lr, step) -> w, m, v  [beta1, beta2, epsilon, weightDecay, decayed]                        \
   *   m = m + (1 - beta1)*(g' - m); v = v + (1 - beta2)*(g'^2 - v);                                                   \
   *   w = w - m*lr*sqrt(1 - beta2^step)/(1 - beta1^step)/(sqrt(v) + epsilon); step counts from 1 */                   \
  X(104, adamUpdate)                                                                                                   \
  /* polyakUpdate(average, w, decay) -> average + (1 - decay)*(w - average) */                                         \
  X(105, polyakUpdate)                                                                                                 \
  /* Dynamic loss scaling. */                                                                                          \
  /* select(condition A[], a, b) -> y = condition != 0 ? a : b, as a whole */                                          \
  X(106, select)                                                                                                       \
  /* unscale(g T, scale A[]) -> y A = g/scale, overflow A[] = 1 if an element of g is not finite, else 0 */            \
  X(107, unscale)                                                                                                      \
  /* lossScaleUpdate(scale, good, skipped, overflow: A[]) -> scale, good, skipped  [growth, backoff, interval]         \
   *   overflow != 0: scale*backoff, 0, skipped + 1; else good + 1, and at interval scale*growth if finite, 0 */       \
  X(108, lossScaleUpdate)                                                                                              \
  /* gradientGate(g A, loss A[]) -> factor, norm, skip A[]  [clipNorm, count]                                          \
   *   norm = |g|/count; where norm or loss is not finite: factor = NaN, skip = 1; else skip = 0 and                   \
   *   factor = min(1, clipNorm/norm)/count, or 1/count where clipNorm is 0 */                                         \
  X(109, gradientGate)                                                                                                 \
  /* Fused ops, which rewritten programs use. conv: window, dilation_h, dilation_w, groups. [...,c] per channel.        \
   * Depthwise: groups = c, w T[o,kh,kw,1]. */                                                                          \
  /* depthwiseAffine(x T[n,h,w,c], scale A[c], shift A[c], w) -> y = conv2d(relu?(x*scale + shift), w)                 \
   *   [conv, relu]; padding is zero after the ReLU */                                                                 \
  X(200, depthwiseAffine)                                                                                              \
  /* depthwiseRelu(x, w) -> y = conv2d(relu(x), w)  [conv, relu = 1] */                                                \
  X(201, depthwiseRelu)                                                                                                \
  /* depthwiseAffineGrad(g, x, scale, shift, w) -> dx, dw, sumG A[c], sumGX A[c]  [conv, relu]                         \
   *   a = x*scale + shift; dx = conv2dInputGrad(g, w), where a > 0 if relu (else everywhere);                         \
   *   dw = conv2dWeightGrad(relu?(a), g); sumG = sum dx; sumGX = sum dx*x */                                          \
  X(202, depthwiseAffineGrad)                                                                                          \
  /* depthwiseReluGrad(g, x, w, residual) -> dx = residual + (conv2dInputGrad(g, w) where x > 0),                      \
   *   dw = conv2dWeightGrad(relu(x), g)  [conv, relu = 1] */                                                          \
  X(203, depthwiseReluGrad)                                                                                            \
  /* conv2dSums(x, w) -> y = conv2d(x, w), sum A[o], sumSquares A[o] of y  [conv] */                                   \
  X(204, conv2dSums)                                                                                                   \
  /* channelAffine2(a, b T[...,c], p, q, r A[c]) -> y = a*p + b*q + r */                                               \
  X(205, channelAffine2)                                                                                               \
  /* affineRelu(x, scale, shift) -> y = relu(x*scale + shift) */                                                       \
  X(206, affineRelu)                                                                                                   \
  /* affineReluGrad(g, x, scale, shift) -> dx = g where x*scale + shift > 0, else 0; sumG, sumGX of dx and dx*x */     \
  X(207, affineReluGrad)                                                                                               \
  /* affineAdd(x, scale, shift, residual) -> y = x*scale + shift + residual */                                         \
  X(208, affineAdd)                                                                                                    \
  /* affineMaxPoolAdd(x, scale, shift, residual) -> y = maxPool(x*scale + shift) + residual, argmax                    \
   *   [kernel_h, kernel_w, window] */                                                                                 \
  X(209, affineMaxPoolAdd)                                                                                             \
  /* maxPoolGradSums(g, argmax, x) -> dx = maxPoolGrad(g, argmax), sumG, sumGX of dx and dx*x                          \
   *   [kernel_h, kernel_w, window, h, w] */                                                                           \
  X(210, maxPoolGradSums)                                                                                              \
  /* conv2dInputGradAffine2(g, y T[n,oh,ow,o], p, q, r A[o], w) -> dx = conv2dInputGrad(g*p + y*q + r, w)              \
   *   [conv, h, w] */                                                                                                 \
  X(211, conv2dInputGradAffine2)                                                                                       \
  /* conv2dWeightGradAffine2(x, g, y, p, q, r) -> dw = conv2dWeightGrad(x, g*p + y*q + r)  [conv, kh, kw] */           \
  X(212, conv2dWeightGradAffine2)                                                                                      \
  /* Ops of inference programs, whose weights hold still; epilogue: conv, relu. */                                     \
  /* filterMultiply(w T[o,kh,kw,d], scale A[o]) -> y = each filter times its scale */                                  \
  X(220, filterMultiply)                                                                                               \
  /* conv2dBias(x, w, bias A[o]) -> y = relu?(conv2d(x, w) + bias)  [conv, relu] */                                    \
  X(221, conv2dBias)                                                                                                   \
  /* conv2dBiasAdd(x, w, bias, residual) -> y = relu?(conv2d(x, w) + bias + residual)  [conv, relu] */                 \
  X(222, conv2dBiasAdd)                                                                                                \
  /* packFilters(w T[o,kh,kw,d]) -> u8[bytes], in the backend's layout for a conv2dBias of images [n,h,w] to [oh,ow],  \
   *   or a conv2dBiasAdd if add  [conv, relu, n, h, w, oh, ow, add, bytes] */                                         \
  X(223, packFilters)                                                                                                  \
  /* conv2dPacked(x, packed, bias) -> y = conv2dBias with filters [o,kh,kw,d] that were packed                         \
   *   [conv, relu, o, kh, kw, d] */                                                                                   \
  X(224, conv2dPacked)                                                                                                 \
  /* conv2dPackedAdd(x, packed, bias, residual) -> y, as conv2dBiasAdd  [conv, relu, o, kh, kw, d] */                  \
  X(225, conv2dPackedAdd)

typedef enum dw_op {
#define DW_OP_ENUM(code, name) DW_OP_##name = code,
  DW_OPS(DW_OP_ENUM)
#undef DW_OP_ENUM
} dw_op;

#endif
