// Fused ops, by running the ops that they stand for one after the other. What those would leave in memory is rounded to
// its type here too, so that a rewritten program gives the same bits as before.

import { type Aval, type Shape, sizeOf } from '../../core/aval.ts';
import { arrayFor, viewAs } from '../../core/dtype.ts';
import { batchNormKernels } from './batchNorm.ts';
import { conv2dKernels } from './conv2d.ts';
import { elementwiseKernels } from './elementwise.ts';
import { type Kernel, type Operand, zeroed } from './kernel.ts';
import { linearKernels } from './linear.ts';
import { poolKernels } from './pool.ts';

const { conv2d, conv2dInputGrad, conv2dWeightGrad } = conv2dKernels;
const { channelSums, channelAffine, channelMultiply, channelGradSums } = batchNormKernels;
const { add, relu, reluGrad } = elementwiseKernels;
const { addBias } = linearKernels;
const { maxPool, maxPoolGrad } = poolKernels;

/** Numbers of a convolution at the start of a depthwise op's attributes; `relu` follows. */
const convolutionLength = 9;

const split = (attributes: readonly number[]) => ({
  convolution: attributes.slice(0, convolutionLength),
  hasRelu: attributes[convolutionLength] === 1,
});

/** The one output of a kernel, of a given shape and type. */
function made(
  kernel: Kernel,
  inputs: readonly Operand[],
  like: Aval,
  attributes: readonly number[] = [],
): Operand {
  const y = zeroed(like);
  kernel(inputs, [y], attributes);
  return y;
}

const depthwiseAffine: Kernel = ([x, scale, shift, w], outputs, attributes) => {
  const { convolution, hasRelu } = split(attributes);
  const a = made(channelAffine, [x!, scale!, shift!], x!);
  conv2d([hasRelu ? made(relu, [a], a) : a, w!], outputs, convolution);
};

const depthwiseRelu: Kernel = ([x, w], outputs, attributes) => {
  conv2d([made(relu, [x!], x!), w!], outputs, split(attributes).convolution);
};

const depthwiseAffineGrad: Kernel = ([g, x, scale, shift, w], [dx, dw, sumG, sumGX], attributes) => {
  const { convolution, hasRelu } = split(attributes);
  const a = made(channelAffine, [x!, scale!, shift!], x!);
  const activated = hasRelu ? made(relu, [a], a) : a;
  if (hasRelu) reluGrad([made(conv2dInputGrad, [g!, w!], x!, convolution), activated], [dx!], []);
  else conv2dInputGrad([g!, w!], [dx!], convolution);
  conv2dWeightGrad([activated, g!], [dw!], convolution);
  channelGradSums([dx!, x!], [sumG!, sumGX!], []);
};

const depthwiseReluGrad: Kernel = ([g, x, w, residual], [dx, dw], attributes) => {
  const { convolution } = split(attributes);
  const activated = made(relu, [x!], x!);
  const masked = made(reluGrad, [made(conv2dInputGrad, [g!, w!], x!, convolution), activated], x!);
  add([residual!, masked], [dx!], []);
  conv2dWeightGrad([activated, g!], [dw!], convolution);
};

const conv2dSums: Kernel = (inputs, [y, sum, sumSquares], attributes) => {
  conv2d(inputs, [y!], attributes);
  channelSums([y!], [sum!, sumSquares!], []);
};

const channelAffine2: Kernel = ([a, b, p, q, r], outputs) => {
  add([made(channelMultiply, [a!, p!], a!), made(channelAffine, [b!, q!, r!], b!)], outputs, []);
};

const affine2 = ([g, y, p, q, r]: readonly Operand[]) => made(channelAffine2, [g!, y!, p!, q!, r!], g!);

const conv2dInputGradAffine2: Kernel = ([g, y, p, q, r, w], outputs, attributes) => {
  conv2dInputGrad([affine2([g!, y!, p!, q!, r!]), w!], outputs, attributes);
};

const conv2dWeightGradAffine2: Kernel = ([x, ...operands], outputs, attributes) => {
  conv2dWeightGrad([x!, affine2(operands)], outputs, attributes);
};

const filterMultiply: Kernel = ([w, scale], [y]) => {
  const perFilter = w!.data.length / scale!.data.length;
  y!.data.set(w!.data.map((v, i) => v * (scale!.data[Math.floor(i / perFilter)] as number)));
};

/** The convolution, then what its epilogue does; the last attribute is whether that ends with a ReLU. */
const epilogue =
  (finish: (y: Operand, operands: readonly Operand[]) => Operand): Kernel =>
  ([x, w, ...operands], [out], attributes) => {
    const { convolution, hasRelu } = split(attributes);
    const y = finish(made(conv2d, [x!, w!], out!, convolution), operands);
    out!.data.set(hasRelu ? made(relu, [y], y).data : y.data);
  };

const biased = (y: Operand, bias: Operand) => made(addBias, [y, bias], y);
const conv2dBias = epilogue((y, [bias]) => biased(y, bias!));
const conv2dBiasAdd = epilogue((y, [bias, residual]) => made(add, [biased(y, bias!), residual!], y));

/** What the elements of packed filters of a shape are: of the four or eight bytes that each takes. */
const packedType = (packed: Operand, shape: Shape) =>
  packed.data.length === 8 * sizeOf(shape) ? ('f64' as const) : ('f32' as const);

/** Here packing is copying: the filters' bytes as they are. */
const packFilters: Kernel = ([w], [packed]) => {
  const elements = arrayFor(packedType(packed!, w!.shape), w!.data.length);
  elements.set(w!.data);
  packed!.data.set(new Uint8Array(elements.buffer));
};

/** A kernel of packed filters from that of filters; their shape comes last among the attributes. */
const unpacked =
  (kernel: Kernel): Kernel =>
  ([x, packed, ...operands], outputs, attributes) => {
    const shape = attributes.slice(-4);
    const dtype = packedType(packed!, shape);
    const w = { data: viewAs(dtype, Uint8Array.from(packed!.data)), shape, dtype };
    kernel([x!, w, ...operands], outputs, attributes.slice(0, -4));
  };

const affineRelu: Kernel = ([x, scale, shift], outputs) => {
  relu([made(channelAffine, [x!, scale!, shift!], x!)], outputs, []);
};

const affineReluGrad: Kernel = ([g, x, scale, shift], [dx, sumG, sumGX]) => {
  reluGrad([g!, made(channelAffine, [x!, scale!, shift!], x!)], [dx!], []);
  channelGradSums([dx!, x!], [sumG!, sumGX!], []);
};

const affineAdd: Kernel = ([x, scale, shift, residual], outputs) => {
  add([made(channelAffine, [x!, scale!, shift!], x!), residual!], outputs, []);
};

const affineMaxPoolAdd: Kernel = ([x, scale, shift, residual], [y, argmax], attributes) => {
  const pooled = zeroed(y!);
  maxPool([made(channelAffine, [x!, scale!, shift!], x!)], [pooled, argmax!], attributes);
  add([pooled, residual!], [y!], []);
};

const maxPoolGradSums: Kernel = ([g, argmax, x], [dx, sumG, sumGX], attributes) => {
  maxPoolGrad([g!, argmax!], [dx!], attributes);
  channelGradSums([dx!, x!], [sumG!, sumGX!], []);
};

export const fusedKernels = {
  depthwiseAffine,
  depthwiseRelu,
  depthwiseAffineGrad,
  depthwiseReluGrad,
  conv2dSums,
  channelAffine2,
  conv2dInputGradAffine2,
  conv2dWeightGradAffine2,
  affineRelu,
  affineReluGrad,
  affineAdd,
  affineMaxPoolAdd,
  maxPoolGradSums,
  filterMultiply,
  conv2dBias,
  conv2dBiasAdd,
  packFilters,
  conv2dPacked: unpacked(conv2dBias),
  conv2dPackedAdd: unpacked(conv2dBiasAdd),
};
