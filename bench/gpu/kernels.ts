// The phase `kernels`: where the time of a step goes, and what it would be at the speed of memory and of the matrix units,
// which are measured in the same run.

import type { Backend } from '../../lib/backend/backend.ts';
import { openDevice } from '../../lib/backend/devices.ts';
import { createClassifier } from '../../lib/classify/load.ts';
import { computeTypeOf } from '../../lib/classify/precision.ts';
import { compile } from '../../lib/core/compile.ts';
import type { Program } from '../../lib/core/program.ts';
import { scope } from '../../lib/core/scope.ts';
import { tensor } from '../../lib/core/tensor.ts';
import { ForwardContext } from '../../lib/nn/module.ts';
import { ops } from '../../lib/ops/index.ts';
import { GradientGate } from '../../lib/optim/gradientGate.ts';
import { createOptimizer, sgd } from '../../lib/optim/index.ts';
import { TrainingStep } from '../../lib/train/step.ts';
import type { BenchPrecision } from '../support/protocol.ts';
import { isolated, profiled } from './instructions.ts';
import { timedPlans } from './plans.ts';
import type { Findings, Report } from './report.ts';
import { copySpeed, productSpeed } from './yardsticks.ts';

/** What the phase takes. */
export interface KernelOptions {
  readonly device: string;
  readonly size: number;
  /** Default: 256. */
  readonly batch?: readonly number[];
  /** Default: bf16, then fp32. */
  readonly precision?: readonly BenchPrecision[];
}

const seed = 0;
const classes = 1000;

/** Xception's training step: forward, loss, backward, SGD with momentum and weight decay. */
export function trainingProgram(
  backend: Backend,
  batch: number,
  size: number,
  precision: BenchPrecision,
): Program {
  const computeType = computeTypeOf(precision, backend);
  const model = createClassifier('xception', { classes, dropout: 0.5, size }).to(backend, { seed });
  const gate = new GradientGate(backend, computeType === 'f16' ? { lossScale: {} } : {});
  using optimizer = createOptimizer(sgd({ momentum: 0.9 }), model.network.trainableParameters(), {
    weightDecay: 1e-5,
  });
  using step = new TrainingStep({
    ...{ model, optimizer, polyak: undefined, loss: 'softmax', labelSmoothing: 0 },
    ...{ classWeights: undefined, mode: 'compiled', seed, computeType, gate },
  });
  const images = new Uint8Array(batch * size * size * 3);
  try {
    return step.program({ images, labels: new Int32Array(batch), shape: [batch, size, size, 3] });
  } finally {
    gate.dispose();
    model.dispose();
  }
}

/** Forward and softmax. */
function inferenceProgram(backend: Backend, batch: number, size: number, precision: BenchPrecision): Program {
  const computeType = computeTypeOf(precision, backend);
  const model = createClassifier('xception', { classes, dropout: 0.5, size }).to(backend, { seed });
  using predict = compile((images: ReturnType<typeof tensor>) =>
    ops.softmax(model.logits(images, new ForwardContext({ computeType }))),
  );
  try {
    return scope(() => {
      const shape = [batch, size, size, 3];
      return predict.program(tensor(new Uint8Array(batch * size * size * 3), shape, { backend }));
    });
  } finally {
    model.dispose();
  }
}

/** What instructions are held to. */
export interface Yardsticks {
  /** GB/s */
  copy: number;
}

/** Measures what a device can do, into `found`. */
export async function yardsticks(backend: Backend, found: Yardsticks): Promise<Findings> {
  const onGpu = backend.name.startsWith('cuda:');
  const megabytes = onGpu ? [64, 256, 1024, 4096] : [16, 64];
  const copies: [number, number][] = [];
  for (const size of megabytes) copies.push([size, await copySpeed(backend, size * 2 ** 20)]);
  // Of the largest: nothing of it stays in a cache.
  found.copy = copies.at(-1)?.[1] ?? Number.NaN;
  const products: [string, string][] = [];
  for (const dtype of ['bf16', 'f16', 'f32'] as const) {
    try {
      const size = onGpu ? 8192 : 1024;
      products.push([`${dtype} ${size}`, `${(await productSpeed(backend, size, dtype)).toFixed(1)} TFLOP/s`]);
    } catch (error) {
      products.push([dtype, error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)]);
    }
  }
  const lines = [
    ...copies.map(([size, speed]) => `- copy of ${size} MiB: ${speed.toFixed(0)} GB/s, read and written`),
    ...products.map(([what, speed]) => `- product of matrices, ${what}: ${speed}`),
  ];
  return {
    summary: `a copy moves ${found.copy.toFixed(0)} GB/s; products: ${products.map((it) => it.join(' ')).join(', ')}`,
    markdown: lines.join('\n'),
    data: { copies, products },
  };
}

/** Runs the phase. */
export async function runKernels(options: KernelOptions, report: Report): Promise<void> {
  const { device, size } = options;
  const [batch] = options.batch ?? [256];
  const precisions = options.precision ?? ['bf16', 'fp32'];
  const found: Yardsticks = { copy: Number.NaN };
  let backend: Backend | undefined;
  await report.part('yardsticks', 10, async () => {
    backend = openDevice(device);
    return yardsticks(backend, found);
  });
  const programs = [
    ['train', trainingProgram],
    ['infer', inferenceProgram],
  ] as const;
  for (const precision of precisions) {
    for (const [mode, make] of programs) {
      const name = `${mode}, ${precision}, batch ${batch}`;
      let program: Program | undefined;
      await report.part(`${name}: within the step`, 30, async () => {
        const on = opened(backend);
        program = make(on, batch as number, size, precision);
        return profiled(on, program, found.copy, report);
      });
      if (program === undefined) continue;
      const made = program;
      await report.part(`${name}: each by itself`, 30, () =>
        isolated(opened(backend), made, found.copy, Math.min(90, report.left - 20), report),
      );
    }
  }
  if (!device.startsWith('cuda') || device.startsWith('cudasim')) return;
  const ordinal = Number(device.split(':')[1] ?? 0);
  for (const [dtype, fused] of [
    ['bf16', false],
    ['bf16', true],
    ['f32', false],
  ] as const) {
    await report.part(`plans of cuDNN, ${dtype}, ${fused ? 'fused' : 'unfused'}`, 30, () =>
      timedPlans(dtype, fused, ordinal, Math.min(150, report.left - 15), report),
    );
  }
}

/** The device, which the first part has opened. */
function opened(backend: Backend | undefined): Backend {
  if (backend !== undefined) return backend;
  throw new Error('the device could not be opened');
}
