// Every graph that the CUDA backend can build for Xception and Inception V3, as problems for cuDNN; shared by the test of
// what cuDNN plans on described devices and by scripts/plan-all.ts, which plans all of it.

import { type Shape, sizeOf } from '../../lib/core/aval.ts';
import { compile } from '../../lib/core/compile.ts';
import type { Program } from '../../lib/core/program.ts';
import { scope } from '../../lib/core/scope.ts';
import { type Tensor, tensor } from '../../lib/core/tensor.ts';
import type {
  ConvolutionProblem,
  Fusion,
  NormalizationProblem,
  PlanDType,
  PoolingProblem,
  Problem,
} from '../../lib/cudnn/index.ts';
import { type DescribedDevice, plans } from '../../lib/cudnn/index.ts';
import { inceptionV3Network } from '../../lib/models/inceptionV3.ts';
import { xceptionNetwork } from '../../lib/models/xception.ts';
import { ForwardContext, type Module } from '../../lib/nn/module.ts';
import type { ConvAttributes } from '../../lib/ops/conv2d.ts';
import type { AvgPoolAttributes, PoolAttributes } from '../../lib/ops/pool.ts';
import type { Pair } from '../../lib/ops/window.ts';
import { planningBackend } from './planning.ts';

/** Images of a training step, and of an answer to a single request. */
export const batches = [256, 1] as const;
export type Batch = (typeof batches)[number];
const trainingBatch: Batch = 256;
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

/** `3x3/2` */
const showWindow = ([rows, columns]: Pair, [stride]: Pair): string =>
  `${rows}x${columns}${stride > 1 ? `/${stride}` : ''}`;

/** `conv 3x3/2 32-64 @149` */
function nameOf(x: Shape, w: Shape, stride: Pair): string {
  const [o, kernelH, kernelW, depth] = w as readonly [number, number, number, number];
  const c = x[3] as number;
  const kind = depth === 1 && c > 1 ? 'depthwise' : 'conv';
  const channels = kind === 'depthwise' ? `${c}` : `${c}-${o}`;
  return `${kind} ${showWindow([kernelH, kernelW], stride)} ${channels} @${x[1]}`;
}

function distinct<T>(values: readonly T[]): T[] {
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()];
}

/** A network's forward pass in training, op by op. */
function forwardOf(model: Module): Program {
  const backend = planningBackend();
  for (const parameter of model.state().values()) parameter.give(new Float32Array(sizeOf(parameter.shape)));
  model.to(backend);
  try {
    return scope(() => {
      const shape = [trainingBatch, 299, 299, 3];
      const images = tensor(new Float32Array(sizeOf(shape)), shape, { backend });
      const counter = tensor(new Int32Array(2), [2], { backend });
      using forward = compile(
        (x: Tensor, seed: Tensor) => {
          const context = new ForwardContext({ training: true, counter: seed });
          const logits = model.forward(x, context);
          return [logits, ...context.auxiliary.map((side) => side.logits)];
        },
        { passes: 'none' },
      );
      return forward.program(images, counter);
    });
  } finally {
    model.dispose();
  }
}

const bothNetworks = (): readonly Program[] => [networks().xception, networks().inception];

let traced: { readonly xception: Program; readonly inception: Program } | undefined;

function networks() {
  traced ??= {
    xception: forwardOf(xceptionNetwork({ classes: 1000 })),
    inception: forwardOf(inceptionV3Network({ classes: 1000, auxiliary: true })),
  };
  return traced;
}

type Make<T> = (shapes: readonly Shape[], attributes: unknown) => T;

/** What is made of a network's instructions of one op, each once: of the shapes of their operands and their attributes. */
function collect<T>(op: string, programs: readonly Program[], make: Make<T>): T[] {
  return distinct(
    programs.flatMap(({ instructions, values }) =>
      instructions
        .filter((instruction) => instruction.op.name === op)
        .map(({ inputs, attributes }) => {
          const shapes = inputs.map((id) => values[id]?.shape ?? []);
          return make(shapes, attributes);
        }),
    ),
  );
}

const layersOf = (...programs: readonly Program[]): Layer[] =>
  collect('conv2d', programs, (shapes, attributes) => {
    const [x, w] = shapes as readonly [Shape, Shape];
    const { stride, padding } = attributes as ConvAttributes;
    return { name: nameOf(x, w, stride), x, w, stride, padding: margins(padding) };
  });

/** Xception's convolutions, each shape once. */
export const xceptionLayers = (): Layer[] => layersOf(networks().xception);

/** Those of both networks. */
const networkLayers = (): Layer[] => layersOf(...bothNetworks());

/** Even images with TensorFlow's padding: one row and column more at the bottom and right. At 299 pixels no layer has it. */
export function asymmetricLayers(): Layer[] {
  const shapes: readonly (readonly [Shape, Shape])[] = [
    [
      [trainingBatch, 74, 74, 64],
      [96, 3, 3, 64],
    ],
    [
      [trainingBatch, 74, 74, 128],
      [128, 3, 3, 1],
    ],
  ];
  return shapes.map(([x, w]) => {
    const stride: Pair = [2, 2];
    const padding = { top: 0, bottom: 1, left: 0, right: 1 };
    return { name: `${nameOf(x, w, stride)} same`, x, w, stride, padding };
  });
}

/** A graph with its names in the table. */
export interface SweepCase {
  /** `forward sums`, `normalization training relu`, `max pooling backward` */
  readonly family: string;
  readonly layer: string;
  readonly batch: Batch;
  readonly dtype: PlanDType;
  readonly depthwise: boolean;
  readonly problem: Problem;
}

export const isConvolution = ({ problem }: SweepCase): boolean => problem.kind === 'convolution';
export const isFused = ({ problem }: SweepCase): boolean =>
  problem.kind === 'convolution' && problem.fusion !== 'none';

type Titles = Pick<SweepCase, 'family' | 'layer' | 'batch'>;

const representative = [
  // Convolutions: a product, one with a stride, and a window.
  'conv 1x1 728-728 @19',
  'conv 1x1/2 256-728 @37',
  'conv 3x3 96-96 @35',
  // Normalization and pooling: one engine each for all shapes.
  '728 @19',
  '3x3/2 728 @37',
  '3x3 768 @17',
];
/**
 * Whether a graph whose engines are compiled, which takes seconds, is built to stand for its family: fused convolutions,
 * at batch 1 those of inference; normalization; pooling.
 */
export const isRepresentative = (candidate: Titles): boolean =>
  representative.includes(candidate.layer) && (candidate.batch === trainingBatch || serves(candidate));

/** Whether a graph is one of inference. */
const serves = ({ family }: Titles): boolean =>
  /^(forward( bias|$)|normalization inference)|pooling$/.test(family);

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
    batch: trainingBatch,
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

type Pool = Omit<PoolingProblem, 'backward' | 'dtype'> & { readonly kernel: Pair; readonly stride: Pair };

function poolOf(pooling: Pool['pooling'], shapes: readonly Shape[], attributes: PoolAttributes): Pool {
  const { kernel, stride, padding } = attributes;
  return { kind: 'pooling', pooling, x: shapes[0] as Shape, kernel, stride, padding: margins(padding) };
}

const networkPools = (): Pool[] => [
  ...collect('maxPool', bothNetworks(), (shapes, attributes) =>
    poolOf('max', shapes, attributes as PoolAttributes),
  ),
  ...collect('avgPool', bothNetworks(), (shapes, attributes) => {
    const { countPadding } = attributes as AvgPoolAttributes;
    return poolOf(countPadding ? 'averageCountingPadding' : 'average', shapes, attributes as PoolAttributes);
  }),
];

const normalizations: readonly Pick<NormalizationProblem, 'phase' | 'relu' | 'residual'>[] = [
  { phase: 'training' },
  { phase: 'training', relu: true },
  { phase: 'training', relu: true, residual: true },
  { phase: 'inference' },
  { phase: 'inference', relu: true },
  { phase: 'backward' },
];

/** The normalizations and poolings of both networks. */
export function otherCases(dtype: PlanDType): SweepCase[] {
  const images = collect('channelSums', bothNetworks(), ([x]) => x as Shape);
  const rest = { batch: trainingBatch, dtype, depthwise: false };
  const nameOfImage = (x: Shape) => `${x[3]} @${x[1]}`;
  const normalization = images.flatMap((x) =>
    normalizations.map((form): SweepCase => {
      const words = [form.phase, form.relu ? 'relu' : '', form.residual ? 'residual' : ''];
      return {
        family: `normalization ${words.filter((word) => word !== '').join(' ')}`,
        layer: nameOfImage(x),
        ...rest,
        problem: { kind: 'normalization', x, dtype, ...form },
      };
    }),
  );
  const pooling = networkPools().flatMap((pool) =>
    [false, true].map(
      (backward): SweepCase => ({
        family: `${pool.pooling} pooling${backward ? ' backward' : ''}`,
        layer: `${showWindow(pool.kernel, pool.stride)} ${nameOfImage(pool.x)}`,
        ...rest,
        problem: { ...pool, backward, dtype },
      }),
    ),
  );
  return [...normalization, ...pooling];
}

const withBatch = (candidate: SweepCase, batch: Batch): SweepCase => {
  const { problem } = candidate;
  return { ...candidate, batch, problem: { ...problem, x: [batch, ...problem.x.slice(1)] } };
};

/** Every graph for one type: unfused ones of all layers, fused ones of dense layers and of one depthwise layer. */
export function allCases(dtype: PlanDType, batch: Batch = trainingBatch): SweepCase[] {
  const layers = distinct([...networkLayers(), ...asymmetricLayers()]);
  const depthwise = layers.find((layer) => isDepthwise(layer) && layer.x[1] === 19);
  const around = layers.filter((layer) => !isDepthwise(layer) || layer === depthwise);
  const cases = [
    ...layers.flatMap((layer) => unfusedCases(layer, dtype)),
    ...around.flatMap((layer) => fusedCases(layer, dtype)),
    ...otherCases(dtype),
  ];
  return batch === trainingBatch ? cases : cases.map((candidate) => withBatch(candidate, batch));
}

/** What became of one graph on one device. */
export interface SweepRow {
  readonly device: DescribedDevice;
  readonly family: string;
  readonly layer: string;
  readonly batch: Batch;
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
  // One that was tried and did not build is among them: what is listed does not depend on what was tried.
  const usable = report.plans.filter(
    ({ refused, built }) => refused === undefined || built || refused.includes('cudnn'),
  );
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
