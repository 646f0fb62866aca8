// One training in progress: the loop over steps and epochs. At most two steps are queued at a time, their losses are read
// without blocking, and the next batch is decoded meanwhile.

import { DataError, NonFiniteLossError } from '../core/errors.ts';
import type { Batch } from '../data/batch.ts';
import { type LossScaleReading, LossScaler } from '../optim/lossScaler.ts';
import { createOptimizer } from '../optim/optimizer.ts';
import { PolyakAverage, polyakDecay } from '../optim/polyak.ts';
import type { RunState } from './checkpoint.ts';
import { bestOf } from './evaluate.ts';
import { checkFit, decisive, type FitParts, stepsPerEpoch } from './fitParts.ts';
import { Meter } from './meter.ts';
import type { EpochRecord, MetricsLine, Scores, StepRecord } from './metrics.ts';
import {
  type FitOptions,
  type FitProgress,
  isDataset,
  type TrainerSettings,
  type TrainingData,
} from './options.ts';
import { RunFolder, type TrainedValues } from './runFolder.ts';
import { type StepOutput, TrainingStep } from './step.ts';

/** What a training has recorded. */
export interface History {
  /** Every step of this call of `fit`, in order. */
  readonly steps: readonly StepRecord[];
  /** Every epoch of this call of `fit`, in order. */
  readonly epochs: readonly EpochRecord[];
  /** Steps done since the start of the run. */
  readonly step: number;
}

/** Steps queued on the device beyond the one whose loss is awaited. */
const stepsInFlight = 2;

/** Below this a loss scale makes nothing larger, and what is not finite now will not be with less. */
const leastLossScale = 2 ** -14;

interface Pending {
  readonly step: number;
  readonly lr: number;
  readonly labels: Int32Array | Uint8Array;
  readonly output: StepOutput;
  readonly values: Promise<
    readonly [loss: number, logits: Float32Array, lossScale: LossScaleReading | undefined]
  >;
}

/** Waits for `promise`, but no longer than the signal lets it. */
async function unlessAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T | 'aborted'> {
  if (signal === undefined) return promise;
  if (signal.aborted) {
    promise.catch(() => undefined);
    return 'aborted';
  }
  return new Promise((resolve, reject) => {
    const stop = () => resolve('aborted');
    signal.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

export class Fit implements Disposable {
  readonly values: TrainedValues;
  readonly #parts: FitParts;
  readonly #settings: TrainerSettings;
  readonly #data: TrainingData;
  readonly #options: FitOptions;
  readonly #decisive: RunState['config'];
  readonly #trainingStep: TrainingStep;
  readonly #perEpoch: number | undefined;
  readonly #totalSteps: number;
  readonly #totalEpochs: number;
  readonly #run: RunFolder | undefined;
  readonly #steps: StepRecord[] = [];
  readonly #epochs: EpochRecord[] = [];
  readonly #pending: Pending[] = [];
  // Position: see RunState.
  #step = 0;
  #epoch = 0;
  #batch = 0;
  #samples = 0;
  #sums = { loss: 0, correct: 0, images: 0 };
  #lossScale: LossScaleReading | undefined;
  /** Of the epoch in progress. */
  readonly #meter = new Meter();
  /** When the device had done all that it was given; undefined: it has not yet. */
  #idle: number | undefined = 0;

  private constructor(parts: FitParts, values: TrainedValues, run: RunFolder | undefined) {
    const { settings, data, options } = parts;
    const { epochs, steps } = options;
    this.values = values;
    this.#parts = parts;
    this.#settings = settings;
    this.#data = data;
    this.#options = options;
    this.#run = run;
    this.#decisive = decisive(parts);
    this.#perEpoch = stepsPerEpoch(data, settings.batchSize);
    this.#totalEpochs = epochs ?? (steps === undefined ? 1 : Number.POSITIVE_INFINITY);
    this.#totalSteps = steps ?? this.#totalEpochs * (this.#perEpoch ?? Number.POSITIVE_INFINITY);
    this.#trainingStep = new TrainingStep({ ...settings, ...values, computeType: parts.computeType });
    if (run?.resumed !== undefined) {
      const { state } = run.resumed;
      this.#step = state.step;
      this.#epoch = state.epoch;
      this.#batch = state.batch;
      this.#samples = state.samples;
      this.#sums = { ...state.sums };
    }
  }

  /** Checks everything, takes up the run if there is one, and only then makes weights, optimizer and average. */
  static async open(parts: FitParts): Promise<Fit> {
    const { model, backend, settings, data, options, config } = parts;
    checkFit(parts);
    stepsPerEpoch(data, settings.batchSize);
    const { out, resume = false, keep = 3, onNotice: notice = () => undefined } = options;
    const run =
      out === undefined
        ? undefined
        : await RunFolder.open(out, { resume, keep, decisive: decisive(parts), config, notice });
    try {
      if (run?.resumed !== undefined) await run.restoreModel(model);
      model.to(backend, { seed: settings.seed });
      const parameters = model.network.trainableParameters();
      const { optimizer, weightDecay, polyak, lossScale } = settings;
      const values = {
        model,
        optimizer: createOptimizer(optimizer, parameters, { weightDecay }),
        polyak: polyak > 0 ? new PolyakAverage(parameters) : undefined,
        scaler: parts.computeType === 'f16' ? new LossScaler(backend, lossScale) : undefined,
      };
      if (run?.resumed !== undefined) await run.restoreTraining(values);
      return new Fit(parts, values, run);
    } catch (error) {
      await run?.close();
      throw error;
    }
  }

  /** Trains to the end, or until the signal. Rejects with the signal's reason, after a checkpoint. */
  async run(): Promise<History> {
    const { signal } = this.#options;
    try {
      while (!this.#done()) {
        const before = this.#step;
        const ended = await this.#trainEpoch();
        if (signal?.aborted === true) {
          await this.#checkpoint();
          throw signal.reason;
        }
        if (ended) await this.#endEpoch(before);
        else {
          await this.#checkpoint(); // before the line of the unfinished epoch, which is not part of a longer run
          await this.#report(this.#epoch + this.#fractionOfEpoch());
        }
      }
      return { steps: this.#steps, epochs: this.#epochs, step: this.#step };
    } finally {
      await this.#drain().catch(() => undefined); // an error of its own is on its way already
      await this.#run?.close();
    }
  }

  #done(): boolean {
    return this.#step >= this.#totalSteps || this.#epoch >= this.#totalEpochs;
  }

  #fractionOfEpoch(): number {
    if (this.#perEpoch === undefined) return 0;
    return Math.round((this.#batch / this.#perEpoch) * 1e4) / 1e4;
  }

  /** The batches of the epoch in progress, from the next one on. */
  #batches(): AsyncIterable<Batch> {
    const { batchSize, seed, shuffle, augment, color, workers } = this.#settings;
    const { signal } = this.#options;
    if (!isDataset(this.#data)) return this.#data;
    return this.#data.batches({
      batchSize,
      epoch: this.#epoch,
      seed,
      shuffle,
      startBatch: this.#batch,
      dropLast: true,
      ...(augment === undefined ? {} : { augment }),
      ...(color === undefined ? {} : { color }),
      ...(workers === undefined ? {} : { workers }),
      ...(signal === undefined ? {} : { signal }),
    });
  }

  /** Trains on the rest of the epoch. Gives false if it was left before its end: aborted, or enough steps. */
  async #trainEpoch(): Promise<boolean> {
    const { checkpointEvery, signal } = this.#options;
    const batches = this.#batches()[Symbol.asyncIterator]();
    // One's own batches cannot start in the middle: those that are done are passed over.
    let passOver = isDataset(this.#data) ? 0 : this.#batch;
    let ended = false;
    this.#meter.reset();
    try {
      this.#meter.start();
      while (this.#step < this.#totalSteps) {
        const asked = performance.now();
        const next = await this.#nextBatch(batches);
        this.#meter.waited(asked, this.#idle);
        if (next === 'aborted') break;
        if (next === 'end') {
          ended = true;
          break;
        }
        if (passOver > 0) {
          passOver -= 1;
          continue;
        }
        this.#submit(next);
        while (this.#pending.length >= stepsInFlight) await this.#settle();
        const atEpochEnd = this.#batch === this.#perEpoch || this.#step === this.#totalSteps;
        if (checkpointEvery !== undefined && this.#step % checkpointEvery === 0 && !atEpochEnd) {
          await this.#drain();
          this.#meter.stop();
          await this.#checkpoint();
          this.#meter.start();
        }
        if (signal?.aborted === true) break;
      }
      await this.#drain();
    } finally {
      this.#meter.stop();
      if (!ended) await batches.return?.();
    }
    return ended || this.#batch === this.#perEpoch;
  }

  async #nextBatch(batches: AsyncIterator<Batch>): Promise<Batch | 'end' | 'aborted'> {
    const { signal } = this.#options;
    try {
      const next = await unlessAborted(batches.next(), signal);
      if (next === 'aborted') return 'aborted';
      return next.done === true ? 'end' : next.value;
    } catch (error) {
      if (signal?.aborted === true) return 'aborted';
      throw error;
    }
  }

  /** Queues one step. */
  #submit(batch: Batch): void {
    const { schedule, polyak } = this.#settings;
    const lr = schedule({
      step: this.#step,
      epoch: this.#epoch + (this.#perEpoch === undefined ? 0 : this.#batch / this.#perEpoch),
      samples: this.#samples,
      totalSteps: this.#totalSteps,
    });
    this.#options.onBatch?.(batch, this.#step + 1);
    const output = this.#trainingStep.run(batch, {
      step: this.#step + 1,
      lr,
      polyakDecay: polyakDecay(polyak, this.#step),
    });
    const values = Promise.all([
      output.loss.item(),
      output.logits.data() as Promise<Float32Array>,
      this.values.scaler?.read(),
    ]);
    this.#step += 1;
    const step = this.#step;
    this.#idle = undefined;
    const done = () => {
      if (this.#step === step) this.#idle = performance.now();
    };
    values.then(done, done); // an error is reported when its turn comes
    this.#batch += 1;
    this.#samples += batch.shape[0];
    this.#pending.push({ step, lr, labels: batch.labels, output, values });
  }

  /** Waits for the oldest queued step and books it. */
  async #settle(): Promise<void> {
    const { step, lr, labels, output, values } = this.#pending.shift() as Pending;
    let loss: number;
    let logits: Float32Array;
    try {
      [loss, logits, this.#lossScale] = await values;
    } finally {
      output.loss.dispose();
      output.logits.dispose();
    }
    if (!Number.isFinite(loss)) {
      const last = this.#run?.lastCheckpoint;
      throw new NonFiniteLossError(
        `step ${step}: the loss is ${loss}; a smaller learning rate may help` +
          (this.#lossScale === undefined ? '' : ', or bf16, whose largest number is not 65,504') +
          (last === undefined ? '' : ` (the last checkpoint is ${last})`),
        step,
      );
    }
    this.#refuseHopelessScale(step);
    const width = this.values.model.config.classes;
    const n = logits.length / width;
    this.#sums.loss += loss * n;
    this.#sums.images += n;
    let correct = 0;
    for (let i = 0; i < n; i++) {
      const best = bestOf(logits.subarray(i * width, (i + 1) * width), 1)[0] as number;
      const right = labels instanceof Int32Array ? labels[i] === best : labels[i * width + best] === 1;
      if (right) correct += 1;
    }
    this.#sums.correct += correct;
    this.#meter.stepped(n);
    const record: StepRecord = {
      step,
      loss,
      top1: correct / n,
      lr,
      ...(this.#lossScale && {
        loss_scale: this.#lossScale.scale,
        skipped_steps: this.#lossScale.skipped,
      }),
    };
    this.#steps.push(record);
    const progress = this.#progress(step);
    if (step % this.#settings.logEvery === 0) {
      const { imagesPerSecond, dataWait } = this.#meter.takeRecent();
      this.#log({ ...record, images_per_second: imagesPerSecond, data_wait: dataWait }, progress);
    }
    this.#options.onStep?.(record, progress);
  }

  #log(line: MetricsLine, progress: FitProgress): void {
    this.#run?.metrics.write(line);
    this.#options.onLine?.(line, progress);
  }

  /** Gradients that overflow with hardly any scale do so without: a training that only skips steps must not go on. */
  #refuseHopelessScale(step: number): void {
    if (this.#lossScale === undefined || this.#lossScale.scale >= leastLossScale) return;
    throw new NonFiniteLossError(
      `step ${step}: the gradients overflow fp16 even with a loss scale of ${this.#lossScale.scale}; ` +
        'use bf16 or fp32, or a smaller learning rate',
      step,
    );
  }

  /** Waits for all queued steps. */
  async #drain(): Promise<void> {
    let failure: { error: unknown } | undefined;
    while (this.#pending.length > 0) {
      try {
        await this.#settle();
      } catch (error) {
        failure ??= { error };
      }
    }
    if (failure !== undefined) throw failure.error;
  }

  #progress(step: number): FitProgress {
    const { loss, correct, images } = this.#sums;
    const { imagesPerSecond, batchSeconds, dataWait } = this.#meter.pace;
    return {
      step,
      totalSteps: this.#totalSteps,
      stepsPerEpoch: this.#perEpoch,
      epoch: this.#epoch + 1,
      imagesPerSecond,
      batchSeconds,
      loss: images > 0 ? loss / images : 0,
      top1: images > 0 ? correct / images : 0,
      dataWait,
      ...(this.#lossScale && { lossScale: this.#lossScale }),
      skipped: isDataset(this.#data) ? this.#data.skipped.size : 0,
    };
  }

  async #checkpoint(): Promise<void> {
    await this.#drain();
    await this.#run?.save(this.values, {
      step: this.#step,
      epoch: this.#epoch,
      batch: this.#batch,
      samples: this.#samples,
      sums: this.#sums,
      config: this.#decisive,
    });
  }

  /** Evaluates, writes the epoch's line and goes on to the next epoch, with a checkpoint. */
  async #endEpoch(stepBefore: number): Promise<void> {
    const { signal } = this.#options;
    if (this.#batch === 0 && this.#step === stepBefore) {
      throw new DataError('training data: the batches have come to an end');
    }
    try {
      await this.#report(this.#epoch + 1);
    } catch (error) {
      if (signal?.aborted === true) await this.#checkpoint(); // this epoch's evaluation comes first when it goes on
      throw error;
    }
    this.#epoch += 1;
    this.#batch = 0;
    this.#sums = { loss: 0, correct: 0, images: 0 };
    await this.#checkpoint();
  }

  /** Evaluates and writes the line of an epoch, or of the part of it that was trained. */
  async #report(epoch: number): Promise<void> {
    const { validation, signal } = this.#options;
    const { loss, top1, imagesPerSecond, dataWait } = this.#progress(this.#step);
    const scores = async (averaged: boolean): Promise<Scores> => {
      const found = await this.#parts.evaluate(averaged ? this.values.polyak : undefined, signal);
      const { top1, top5, loss, map } = found;
      return { top1, top5, loss, ...(map === undefined ? {} : { map: map.value }) };
    };
    const record: EpochRecord = {
      epoch,
      train: { loss, top1 },
      ...(validation === undefined ? {} : { validation: await scores(false) }),
      ...(validation === undefined || this.values.polyak === undefined
        ? {}
        : { validation_average: await scores(true) }),
      images_per_second: imagesPerSecond,
      data_wait: dataWait,
    };
    this.#epochs.push(record);
    const progress = this.#progress(this.#step);
    this.#log(record, progress);
    this.#options.onEpoch?.(record, progress);
  }

  /** Frees the compiled step and the optimizer's state; the average stays. */
  [Symbol.dispose](): void {
    this.#trainingStep[Symbol.dispose]();
    this.values.optimizer.dispose();
    this.values.scaler?.dispose();
  }
}
