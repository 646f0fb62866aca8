// Problems for cuDNN as a user writes them: plain objects of shapes and options; and as native code reads them: numbers.

import { type Aval, aval, type Shape } from '../core/aval.ts';
import { dtypeCode } from '../core/dtype.ts';
import { ArgumentError } from '../core/errors.ts';
import { conv2dOp } from '../ops/conv2d.ts';
import { avgPoolOp, maxPoolOp } from '../ops/pool.ts';
import {
  dilated,
  encodeWindow,
  type PaddingOption,
  type Pair,
  type PairOption,
  pair,
  resolvePadding,
} from '../ops/window.ts';

/** Types that cuDNN computes with here; sums are always of f32. */
export type PlanDType = 'f32' | 'f16' | 'bf16';

/**
 * What is computed in one pass with a convolution:
 *
 * | fusion | direction | |
 * |---|---|---|
 * | `none` | all | |
 * | `sums` | forward | and the sums of y and y² per channel |
 * | `affineRelu` | forward, weightGrad | of relu(x·scale + shift), per channel, taken as x is read |
 * | `affineReluSums` | forward | both |
 * | `bias` | forward | relu?(y + bias (+ residual)) |
 * | `affine2` | inputGrad, weightGrad | of g·p + y·q + r, per channel, a normalization's gradient taken as g is read |
 * | `mask` | inputGrad | 0 where the ReLU before was 0, and the sums of dx and dx·x per channel |
 * | `affine2Mask` | inputGrad | both |
 */
export const fusions = [
  'none',
  'sums',
  'affineRelu',
  'affineReluSums',
  'bias',
  'affine2',
  'mask',
  'affine2Mask',
] as const;
/** What is computed beside a convolution: one of {@link fusions}. */
export type Fusion = (typeof fusions)[number];

const directions = ['forward', 'inputGrad', 'weightGrad'] as const;
/** Which of the three tensors of a convolution is computed. */
export type ConvolutionDirection = (typeof directions)[number];

const fusionsOf: Readonly<Record<ConvolutionDirection, readonly Fusion[]>> = {
  forward: ['none', 'sums', 'affineRelu', 'affineReluSums', 'bias'],
  inputGrad: ['none', 'affine2', 'mask', 'affine2Mask'],
  weightGrad: ['none', 'affine2', 'affineRelu'],
};

/** A convolution, or one of its gradients. Images are NHWC. */
export interface ConvolutionProblem {
  readonly kind: 'convolution';
  readonly direction: ConvolutionDirection;
  /** [n, h, w, c] of the image, whichever tensor is computed. */
  readonly x: Shape;
  /** [o, kernel height, kernel width, c / groups] */
  readonly w: Shape;
  /** Default 1. */
  readonly stride?: PairOption;
  /** Default `'valid'`. */
  readonly padding?: PaddingOption;
  /** Default 1. */
  readonly dilation?: PairOption;
  /** Of images and filters. Default `'f32'`. */
  readonly dtype?: PlanDType;
  /** Of what is computed: `dtype`, the default, or `'f32'`. */
  readonly result?: PlanDType;
  /** Default `'none'`. */
  readonly fusion?: Fusion;
  /** With the fusions `affineRelu`, `affineReluSums` and `bias`. Default true. */
  readonly relu?: boolean;
  /** With the fusion `bias`. Default false. */
  readonly residual?: boolean;
  /** Whether products of f32 may be rounded to TF32. Default false. */
  readonly tf32?: boolean;
  /** Only algorithms that give the same bits every time. Default false. */
  readonly deterministic?: boolean;
}

const phases = ['training', 'inference', 'backward'] as const;

/** Batch normalization over n, h and w. */
export interface NormalizationProblem {
  readonly kind: 'normalization';
  readonly phase: (typeof phases)[number];
  /** [n, h, w, c] */
  readonly x: Shape;
  /** Default `'f32'`. */
  readonly dtype?: PlanDType;
  /** Default 1e-3. */
  readonly epsilon?: number;
  /** Of the running statistics: how much of the old ones stays. Default 0.99. */
  readonly momentum?: number;
  /** Followed by a ReLU, in one pass. Default false. */
  readonly relu?: boolean;
  /** With a residual added before the ReLU. Default false. */
  readonly residual?: boolean;
}

const poolings = ['max', 'average', 'averageCountingPadding'] as const;

/** Pooling, or its gradient. */
export interface PoolingProblem {
  readonly kind: 'pooling';
  readonly pooling: (typeof poolings)[number];
  /** Default false. */
  readonly backward?: boolean;
  /** [n, h, w, c] of the image, whichever tensor is computed. */
  readonly x: Shape;
  readonly kernel: PairOption;
  /** Default: the kernel. */
  readonly stride?: PairOption;
  /** Default `'valid'`. */
  readonly padding?: PaddingOption;
  /** Default `'f32'`. */
  readonly dtype?: PlanDType;
  /** Default false. */
  readonly deterministic?: boolean;
}

/** What cuDNN is asked for. */
export type Problem = ConvolutionProblem | NormalizationProblem | PoolingProblem;

function oneOf<T extends string>(name: string, values: readonly T[], value: string): number {
  const index = (values as readonly string[]).indexOf(value);
  if (index < 0) {
    throw new ArgumentError(`plans: ${name} expects ${values.join(', ')}, got ${JSON.stringify(value)}`);
  }
  return index;
}

const planDTypes: readonly PlanDType[] = ['f32', 'f16', 'bf16'];

function typeCode(name: string, dtype: PlanDType): number {
  oneOf(name, planDTypes, dtype);
  return dtypeCode(dtype);
}

/** An image or a filter; extents of 0 are for ops, not for libraries. */
function four(name: string, shape: Shape): readonly [number, number, number, number] {
  const [a, b, c, d] = shape;
  if (shape.length !== 4 || !shape.every((extent) => Number.isSafeInteger(extent) && extent > 0)) {
    throw new ArgumentError(`plans: ${name} expects 4 positive extents, got [${shape}]`);
  }
  return [a as number, b as number, c as number, d as number];
}

const flags = (...values: (boolean | undefined)[]): number[] => values.map((value) => Number(value === true));

function encodeConvolution(p: ConvolutionProblem): number[] {
  const { direction, fusion = 'none', dtype = 'f32', result = dtype } = p;
  const [n, h, w, c] = four('x', p.x);
  const [o, kernelH, kernelW, depth] = four('w', p.w);
  oneOf('direction', directions, direction);
  oneOf('fusion', fusions, fusion);
  oneOf(`fusion of ${direction}`, fusionsOf[direction], fusion);
  const stride = pair(p.stride ?? 1);
  const dilation = pair(p.dilation ?? 1);
  const span: Pair = [dilated(kernelH, dilation[0]), dilated(kernelW, dilation[1])];
  const padding = resolvePadding('plans', p.padding ?? 'valid', [h, w], span, stride);
  const attributes = { stride, padding, dilation, groups: Math.max(1, Math.floor(c / depth)) };
  // The op's own shape rule, with its errors.
  const [y] = conv2dOp.infer([aval(p.x, 'f32'), aval(p.w, 'f32')], attributes) as [Aval];
  const activates = fusion === 'affineRelu' || fusion === 'affineReluSums' || fusion === 'bias';
  return [
    ...[0, directions.indexOf(direction), fusions.indexOf(fusion)],
    ...[typeCode('dtype', dtype), typeCode('result', result)],
    ...[n, h, w, c, o, y.shape[1] as number, y.shape[2] as number, kernelH, kernelW],
    ...[...encodeWindow(attributes), ...dilation, attributes.groups],
    ...flags(activates && p.relu !== false, fusion === 'bias' && p.residual, p.tf32, p.deterministic),
  ];
}

function encodeNormalization(p: NormalizationProblem): number[] {
  const { phase, dtype = 'f32', epsilon = 1e-3, momentum = 0.99 } = p;
  const phaseCode = oneOf('phase', phases, phase);
  return [
    ...[1, phaseCode, typeCode('dtype', dtype), ...four('x', p.x), epsilon, momentum],
    ...flags(p.relu, p.residual),
  ];
}

function encodePooling(p: PoolingProblem): number[] {
  const { dtype = 'f32', pooling, backward } = p;
  const [n, h, w, c] = four('x', p.x);
  const kernel = pair(p.kernel);
  const stride = pair(p.stride ?? kernel);
  const padding = resolvePadding('plans', p.padding ?? 'valid', [h, w], kernel, stride);
  const code = oneOf('pooling', poolings, pooling);
  const window = { kernel, stride, padding };
  const image = [aval(p.x, 'f32')];
  const [y] =
    pooling === 'max'
      ? maxPoolOp.infer(image, window)
      : avgPoolOp.infer(image, { ...window, countPadding: pooling === 'averageCountingPadding' });
  const [, oh, ow] = (y as Aval).shape as readonly [number, number, number, number];
  return [
    ...[2, code, ...flags(backward), typeCode('dtype', dtype), n, h, w, c, oh, ow],
    ...[...kernel, ...encodeWindow(window), ...flags(p.deterministic)],
  ];
}

/** The numbers of native/include/depthwise_cudnn.h. Throws ArgumentError or ShapeError. */
export function encodeProblem(problem: Problem): number[] {
  switch (problem.kind) {
    case 'convolution':
      return encodeConvolution(problem);
    case 'normalization':
      return encodeNormalization(problem);
    case 'pooling':
      return encodePooling(problem);
  }
}
