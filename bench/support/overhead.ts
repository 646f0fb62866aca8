// What TypeScript costs around the native code: per compiled step, per eager op, and to compile.

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import type { Backend } from '../../lib/backend/backend.ts';
import { planMemory } from '../../lib/core/passes/memoryPlan.ts';
import { optimize } from '../../lib/core/passes/pipeline.ts';
import { checkProgram } from '../../lib/core/program.ts';
import {
  type Batch,
  compile,
  createClassifier,
  createOptimizer,
  type Program,
  sgd,
} from '../../lib/index.ts';
import { TrainingStep } from '../../lib/train/step.ts';
import { median, type Spread, spread } from './statistics.ts';
import { TimedBackend } from './timedBackend.ts';

/** Milliseconds of a call, and what it returned. */
function timed<T>(call: () => T): [milliseconds: number, result: T] {
  const start = performance.now();
  const result = call();
  return [performance.now() - start, result];
}

/**
 * Processor time of this thread so far, in milliseconds: other programs do not lengthen it as they do times
 * of the clock.
 */
function processorTime(): number {
  // Nanoseconds on a processor come first. The kernel adds to it at its ticks only, so short differences mean
  // nothing.
  const [running = ''] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ');
  return Number(running) / 1e6;
}

/** Xception at 1,000 classes with SGD, as `bench` trains it, and a batch of zeros. */
function openTraining(backend: Backend, size: number, batch: number) {
  const model = createClassifier('xception', { dropout: 0.5, size }).to(backend, { seed: 0 });
  const optimizer = createOptimizer(sgd({ momentum: 0.9 }), model.network.trainableParameters(), {
    weightDecay: 1e-5,
  });
  const step = new TrainingStep({
    model,
    optimizer,
    polyak: undefined,
    loss: 'softmax',
    labelSmoothing: 0,
    classWeights: undefined,
    mode: 'compiled',
    seed: 0,
  });
  const images: Batch = {
    images: new Uint8Array(batch * size * size * 3),
    shape: [batch, size, size, 3],
    labels: new Int32Array(batch),
  };
  const numbers = (n: number) => ({ step: n, lr: 1e-3, polyakDecay: 0 });
  return {
    /** Queues step `n` and returns at once. */
    queue: (n: number) => step.run(images, numbers(n)),
    /** The program before and after the passes. */
    program: () => step.program(images),
    unoptimized: () => {
      using traced = compile(() => step.run(images, numbers(1)), { passes: 'none' });
      return traced.program();
    },
    [Symbol.dispose]: () => {
      step[Symbol.dispose]();
      optimizer.dispose();
      model.dispose();
    },
  };
}

/** Milliseconds of compiling a training step, by phase. */
export interface CompileTime {
  /** From the function to a prepared program: the phases together. */
  readonly total: number;
  /** Running the step's function on traced tensors. */
  readonly trace: number;
  /** The rewriting passes, without what they ask of the backend. */
  readonly passes: number;
  readonly plan: number;
  readonly check: number;
  /** Native: what is supported, and preparing the program. */
  readonly native: number;
  /**
   * Not in the total: by how much the first run takes longer than later ones. Native code prepares some
   * things then.
   */
  readonly firstRun: number;
  readonly instructions: number;
  readonly arenaBytes: number;
}

/** JavaScript time of a compiled training step, in milliseconds. */
export interface StepTime {
  /** In `TrainingStep.run`, less what its calls to the backend took: the JavaScript alone. */
  readonly script: Spread;
  /** Those calls: copying the batch, queueing the run. */
  readonly native: Spread;
  /** The whole step, until its loss could be read. */
  readonly step: Spread;
  /**
   * Processor time of the JavaScript thread per step, with everything: native calls, promises, garbage
   * collection.
   */
  readonly processor: number;
}

/** Compiles and runs a training step. */
export async function measureStep(
  inner: Backend,
  { size, batch, steps }: { readonly size: number; readonly batch: number; readonly steps: number },
): Promise<{ compile: CompileTime; step: StepTime }> {
  const backend = new TimedBackend(inner);
  using training = openTraining(backend, size, batch);
  await backend.sync();

  backend.reset();
  const [total, program] = timed(() => training.program());
  const native = backend.spent();
  const phases = measurePasses(training.unoptimized(), backend);
  const { passes, plan, check } = phases;
  const trace = total - native - passes - plan - check;

  const first = await measureOne(training, backend, 1); // compiles once more, for a function of its own
  const samples: StepSample[] = [];
  const processor = processorTime();
  for (let n = 2; n < 2 + steps; n++) samples.push(await measureOne(training, backend, n));
  const step = {
    script: spread(samples.map(({ script }) => script)),
    native: spread(samples.map(({ native }) => native)),
    step: spread(samples.map(({ script, native, wait }) => script + native + wait)),
    processor: (processorTime() - processor) / steps,
  };
  const firstRun = first.wait - median(samples.map(({ wait }) => wait));
  const { instructions, plan: memory } = program;
  return {
    compile: {
      ...{ total, trace, passes, plan, check, native, firstRun },
      ...{ instructions: instructions.length, arenaBytes: memory.arenaBytes },
    },
    step,
  };
}

/** One step in milliseconds: queueing it in JavaScript and in native code, then waiting for its loss. */
interface StepSample {
  readonly script: number;
  readonly native: number;
  readonly wait: number;
}

async function measureOne(
  training: ReturnType<typeof openTraining>,
  backend: TimedBackend,
  n: number,
): Promise<StepSample> {
  backend.reset();
  const [queued, { loss, logits }] = timed(() => training.queue(n));
  const native = backend.spent();
  const start = performance.now();
  await loss.item();
  const wait = performance.now() - start;
  loss.dispose();
  logits.dispose();
  return { script: queued - native, native, wait };
}

/** Times what comes between trace and backend, once more, on a program as it was traced. */
function measurePasses({ plan: _, ...traced }: Program, backend: TimedBackend) {
  backend.reset();
  const supports = backend.supports.bind(backend);
  const [whole, { draft }] = timed(() => optimize(traced, supports));
  const passes = whole - backend.spent();
  const [plan, memory] = timed(() => planMemory(draft));
  const [check] = timed(() => checkProgram({ ...draft, plan: memory }));
  return { passes, plan, check };
}

/** Time to queue an eager op, in microseconds of the JavaScript thread. */
export interface EagerTime {
  readonly op: string;
  /** The call alone, native part included. Median over rows of calls. */
  readonly queue: number;
  /** With the disposal of what it returned. */
  readonly whole: number;
  /** Of that, what the thread spent on a processor, and what little comes between the rows; a mean. */
  readonly processor: number;
}

const root = resolve(import.meta.dirname, '../..');

/**
 * What eager ops cost, in a process of their own: of the sources, or of the package as it is built, without a
 * loader between it and Node.
 */
export async function measureEager(of: 'sources' | 'package', threads: number): Promise<EagerTime[]> {
  const script = resolve(import.meta.dirname, 'eagerOps.mjs');
  const args = of === 'sources' ? ['--import', 'tsx', script, 'lib/index.ts'] : [script, 'dist/index.js'];
  const { stdout } = await promisify(execFile)(process.execPath, [...args, String(threads)], { cwd: root });
  return JSON.parse(stdout) as EagerTime[];
}
