// Every graph that the CUDA backend can build for Xception and Inception V3, as problems for cuDNN; shared by the test of
// what cuDNN plans on described devices and by scripts/plan-all.ts, which plans all of it.

import type { Shape } from '../../lib/core/aval.ts';
import type { Program } from '../../lib/core/program.ts';
import type {
  ConvolutionProblem,
  Fusion,
  NormalizationProblem,
  PlanDType,
  PoolingProblem,
  Problem,
} from '../../lib/cudnn/index.ts';
import { type DescribedDevice, plans } from '../../lib/cudnn/index.ts';
import type { ConvAttributes } from '../../lib/ops/conv2d.ts';
import type { PoolAttributes } from '../../lib/ops/pool.ts';
import type { Pair } from '../../lib/ops/window.ts';
import { planningBackend } from './planning.ts';
import { xceptionStep } from './xceptionStep.ts';

export const batch = 256;
export const dtypes: readonly PlanDType[] = ['bf16', 'f16', 'f32'];

/** A convolution of a network. */
export interface Layer {
  readonly name: string;
  readonly x: Shape;
  readonly w: Shape;
  readonly stride: Pair;
  readonly padding: { top: number; bottom: number; left: number; right: number };
}

export const isDepthwise = ({ x, w }: Layer): boolean => w[3] === 1 && (x[3] as number) > 1;

const margins = ([top, bottom, left, right]: readonly [number, number, number, number]) => ({
  top,
  bottom,
  left,
  right,
});

/** `conv 3x3/2 32-64 @149` */
function nameOf(x: Shape, w: Shape, stride: Pair): string {
  const [o, kernelH, kernelW, depth] = w as readonly [number, number, number, number];
  const c = x[3] as number;
  const kind = depth === 1 && c > 1 ? 'depthwise' : 'conv';
  const channels = kind === 'depthwise' ? `${c}` : `${c}-${o}`;
  return `${kind} ${kernelH}x${kernelW}${stride[0] > 1 ? `/${stride[0]}` : ''} ${channels} @${x[1]}`;
}

function distinct<T>(values: readonly T[]): T[] {
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()];
}

/** Xception's training step as it was traced, op by op. */
function xceptionProgram(): Program {
  const { step, inputs, dispose } = xceptionStep(planningBackend(), batch, 299, { passes: 'none' });
  try {
    return step.program(...inputs);
  } finally {
    dispose();
  }
}

let traced: Program | undefined;
const xception = (): Program => {
  traced ??= xceptionProgram();
  return traced;
};

const shapesOf = ({ values }: Program, ids: readonly number[]): Shape[] =>
  ids.map((id) => values[id]?.shape ?? []);

/** Xception's convolutions, each shape once. */
export function xceptionLayers(): Layer[] {
  const program = xception();
  return distinct(
    program.instructions
      .filter(({ op }) => op.name === 'conv2d')
      .map(({ attributes, inputs }) => {
        const [x, w] = shapesOf(program, inputs) as [Shape, Shape];
        const { stride, padding } = attributes as ConvAttributes;
        return { name: nameOf(x, w, stride), x, w, stride, padding: margins(padding) };
      }),
  );
}

/** One convolution of Inception V3: input size and channels, output channels, kernel, stride, whether padded. */
type Inception = readonly [size: number, c: number, o: number, kernel: Pair, stride: number, same: boolean];

const one: Pair = [1, 1];
const three: Pair = [3, 3];
const square = (size: number, c: number, outputs: readonly number[]): Inception[] =>
  outputs.map((o) => [size, c, o, one, 1, true]);

/** Table 1 and figures 5 to 7 of Szegedy et al. 2015 (arXiv 1512.00567), as Keras Applications builds them. */
const inception: readonly Inception[] = [
  [299, 3, 32, three, 2, false],
  [149, 32, 32, three, 1, false],
  [147, 32, 64, three, 1, true],
  [73, 64, 80, one, 1, true],
  [73, 80, 192, three, 1, false],
  // 35 x 35
  ...square(35, 192, [64, 48, 32]),
  ...square(35, 256, [64, 48]),
  ...square(35, 288, [64, 48]),
  [35, 48, 64, [5, 5], 1, true],
  [35, 64, 96, three, 1, true],
  [35, 96, 96, three, 1, true],
  // to 17 x 17
  [35, 288, 384, three, 2, false],
  [35, 96, 96, three, 2, false],
  ...square(17, 768, [128, 160, 192]),
  ...[128, 160, 192].flatMap((c): Inception[] => [
    [17, c, c, [1, 7], 1, true],
    [17, c, c, [7, 1], 1, true],
    [17, c, 192, [1, 7], 1, true],
    [17, c, 192, [7, 1], 1, true],
  ]),
  // to 8 x 8
  [17, 192, 320, three, 2, false],
  [17, 192, 192, three, 2, false],
  ...square(8, 1280, [320, 384, 448, 192]),
  ...square(8, 2048, [320, 384, 448, 192]),
  [8, 384, 384, [1, 3], 1, true],
  [8, 384, 384, [3, 1], 1, true],
  [8, 448, 384, three, 1, true],
];

/** Inception V3's convolutions, each shape once. */
export function inceptionLayers(): Layer[] {
  return distinct(
    inception.map(([size, c, o, kernel, stride, same]) => {
      const x = [batch, size, size, c];
      const w = [o, ...kernel, c];
      const pads = same ? kernel.map((extent) => (extent - 1) / 2) : [0, 0];
      const [rows, columns] = pads as [number, number];
      const strides: Pair = [stride, stride];
      return {
        name: nameOf(x, w, strides),
        x,
        w,
        stride: strides,
        padding: margins([rows, rows, columns, columns]),
      };
    }),
  );
}

/** Even images with TensorFlow's padding: one row and column more at the bottom and right. At 299 pixels no layer has it. */
export function asymmetricLayers(): Layer[] {
  const shapes: readonly (readonly [Shape, Shape])[] = [
    [
      [batch, 74, 74, 64],
      [96, 3, 3, 64],
    ],
    [
      [batch, 74, 74, 128],
      [128, 3, 3, 1],
    ],
  ];
  return shapes.map(([x, w]) => {
    const stride: Pair = [2, 2];
    const padding = { top: 0, bottom: 1, left: 0, right: 1 };
    return { name: `${nameOf(x, w, stride)} same`, x, w, stride, padding };
  });
}

/** The layers for which fused graphs are built: a product, one with a stride, and a window. */
const representative = ['conv 1x1 728-728 @19', 'conv 1x1/2 256-728 @37', 'conv 3x3 96-96 @35'];
export const isRepresentative = ({ layer }: SweepCase): boolean => representative.includes(layer);

/** A graph with its names in the table. */
export interface SweepCase {
  /** `forward sums`, `normalization training relu`, `max pooling backward` */
  readonly family: string;
  readonly layer: string;
  readonly dtype: PlanDType;
  readonly depthwise: boolean;
  readonly problem: Problem;
}

type Form = readonly [direction: ConvolutionProblem['direction'], fusion: Fusion, residual?: boolean];

const unfused: readonly Form[] = [
  ['forward', 'none'],
  ['inputGrad', 'none'],
  ['weightGrad', 'none'],
];
const fused: readonly Form[] = [
  ['forward', 'sums'],
  ['forward', 'affineRelu'],
  ['forward', 'affineReluSums'],
  ['forward', 'bias'],
  ['forward', 'bias', true],
  ['inputGrad', 'affine2'],
  ['inputGrad', 'mask'],
  ['inputGrad', 'affine2Mask'],
  ['weightGrad', 'affine2'],
  ['weightGrad', 'affineRelu'],
];

function convolutionCase(
  layer: Layer,
  [direction, fusion, residual]: Form,
  dtype: PlanDType,
  tf32: boolean,
): SweepCase {
  const { name, ...shapes } = layer;
  const parts = [direction, fusion === 'none' ? '' : fusion, residual ? 'residual' : ''];
  return {
    family: parts.filter((part) => part !== '').join(' '),
    layer: name,
    dtype,
    depthwise: isDepthwise(layer),
    problem: { kind: 'convolution', direction, fusion, residual: residual === true, dtype, tf32, ...shapes },
  };
}

/** Three directions of a layer, without fusion; f32 in true f32. */
export const unfusedCases = (layer: Layer, dtype: PlanDType): SweepCase[] =>
  unfused.map((form) => convolutionCase(layer, form, dtype, false));

/** What is fused around a layer. In f32 with TF32: every engine that fuses multiplies on tensor cores. */
export const fusedCases = (layer: Layer, dtype: PlanDType): SweepCase[] =>
  fused.map((form) => convolutionCase(layer, form, dtype, true));

/** Normalization and pooling at Xception's shapes, and Inception V3's average pooling. */
export function otherCases(dtype: PlanDType): SweepCase[] {
  const program = xception();
  const sums = program.instructions.filter(({ op }) => op.name === 'channelSums');
  const images = distinct(sums.map(({ inputs }) => shapesOf(program, inputs)[0] as Shape));
  const forms: readonly Pick<NormalizationProblem, 'phase' | 'relu' | 'residual'>[] = [
    { phase: 'training' },
    { phase: 'training', relu: true },
    { phase: 'training', relu: true, residual: true },
    { phase: 'inference' },
    { phase: 'inference', relu: true },
    { phase: 'backward' },
  ];
  const normalization = images.flatMap((x) =>
    forms.map((form): SweepCase => {
      const words = [form.phase, form.relu ? 'relu' : '', form.residual ? 'residual' : ''];
      return {
        family: `normalization ${words.filter((word) => word !== '').join(' ')}`,
        layer: `${x[3]} @${x[1]}`,
        dtype,
        depthwise: false,
        problem: { kind: 'normalization', x, dtype, ...form },
      };
    }),
  );
  const pools = distinct(
    program.instructions
      .filter(({ op }) => op.name === 'maxPool')
      .map(({ inputs, attributes }): Omit<PoolingProblem, 'backward' | 'dtype'> => {
        const { kernel, stride, padding } = attributes as PoolAttributes;
        const x = shapesOf(program, inputs)[0] as Shape;
        return { kind: 'pooling', pooling: 'max', x, kernel, stride, padding: margins(padding) };
      }),
  );
  const averages = [
    [35, 192],
    [35, 288],
    [17, 768],
    [8, 2048],
  ].map(
    ([size, c]): Omit<PoolingProblem, 'backward' | 'dtype'> => ({
      kind: 'pooling',
      pooling: 'average',
      x: [batch, size, size, c] as Shape,
      kernel: 3,
      stride: 1,
      padding: 'same',
    }),
  );
  const pooling = [...pools, ...averages].flatMap((pool) =>
    [false, true].map(
      (backward): SweepCase => ({
        family: `${pool.pooling} pooling${backward ? ' backward' : ''}`,
        layer: `${pool.x[3]} @${pool.x[1]}`,
        dtype,
        depthwise: false,
        problem: { ...pool, backward, dtype },
      }),
    ),
  );
  return [...normalization, ...pooling];
}

/** Every graph for one type: unfused ones of all layers, fused ones of dense layers and of one depthwise layer. */
export function allCases(dtype: PlanDType): SweepCase[] {
  const layers = distinct([...xceptionLayers(), ...inceptionLayers(), ...asymmetricLayers()]);
  const depthwise = layers.find((layer) => isDepthwise(layer) && layer.x[1] === 19);
  const around = layers.filter((layer) => !isDepthwise(layer) || layer === depthwise);
  return [
    ...layers.flatMap((layer) => unfusedCases(layer, dtype)),
    ...around.flatMap((layer) => fusedCases(layer, dtype)),
    ...otherCases(dtype),
  ];
}

/** What became of one graph on one device. */
export interface SweepRow {
  readonly device: DescribedDevice;
  readonly family: string;
  readonly layer: string;
  readonly dtype: PlanDType;
  readonly depthwise: boolean;
  /** Engines that cuDNN proposes, and those of them that may be used. */
  readonly engines: number;
  readonly usable: number;
  /** Whether building was asked for. */
  readonly tried: boolean;
  /** The first engine of which a plan was built. */
  readonly engine?: number;
  readonly notes?: string;
  readonly workspace?: number;
  /** Of listing and building. */
  readonly seconds: number;
  /** Why there is no plan. */
  readonly reason?: string;
}

/** Lists the engines of a graph on a described device, and builds a plan of the first if asked to. */
export async function planCase(
  { problem, ...names }: SweepCase,
  device: DescribedDevice,
  build: boolean,
): Promise<SweepRow> {
  const started = performance.now();
  const report = await plans(problem, { description: device, build: build ? 1 : 0 });
  const usable = report.plans.filter(({ refused, built }) => refused === undefined || built);
  const refusals = report.plans.map(({ refused }) => refused).filter((refused) => refused !== undefined);
  const { best } = report;
  const found = best !== undefined || (!build && usable.length > 0);
  const reason = report.reason ?? refusals.find((words) => words.includes('cudnn')) ?? refusals[0];
  return {
    device,
    ...names,
    engines: report.plans.length,
    usable: usable.length,
    tried: build,
    ...(best && {
      engine: best.engine,
      notes: best.notes.join(', '),
      workspace: best.workspace ?? 0,
    }),
    seconds: Math.round(performance.now() - started) / 1000,
    ...(!found && { reason: reason ?? 'unknown' }),
  };
}
