// One training in progress: the loop over steps and epochs. At most two batches are queued at a time, their losses are read
// without blocking, and the next batch is decoded meanwhile. Checkpoints are written beside it.

import { DataError, NonFiniteLossError } from '../core/errors.ts';
import type { Batch } from '../data/batch.ts';
import { GradientGate } from '../optim/gradientGate.ts';
import type { LossScaleReading } from '../optim/lossScaler.ts';
import { createOptimizer } from '../optim/optimizer.ts';
import { PolyakAverage, polyakDecay } from '../optim/polyak.ts';
import { type Best, bestAfter } from './best.ts';
import type { RunState } from './checkpoint.ts';
import { checkFit, decisive, type FitParts, stepsPerEpoch } from './fitParts.ts';
import { Meter, type Moment } from './meter.ts';
import type { EpochRecord, MetricsLine, Scores, StepRecord } from './metrics.ts';
import { firstNonFinite } from './nonFinite.ts';
import {
  type FitOptions,
  type FitProgress,
  isDataset,
  type TrainerSettings,
  type TrainingData,
} from './options.ts';
import { RunFolder } from './runFolder.ts';
import { Saving, type StateOfRun } from './saving.ts';
import type { Snapshot, TrainedValues } from './snapshot.ts';
import { type StepOutput, TrainingStep } from './step.ts';
import { StepHistory } from './stepHistory.ts';
import type { StepNumbers } from './stepInputs.ts';
import { addSums, meansOf, noSums, type Sums, sumsOf } from './tally.ts';
import { refuseHopelessScale, Watch } from './watch.ts';

/** What a training has recorded. */
export interface History {
  /** Every step of this call of `fit`, in order; made at each look, from 48 bytes a step. */
  readonly steps: readonly StepRecord[];
  /** Every epoch of this call of `fit`, in order. */
  readonly epochs: readonly EpochRecord[];
  /** Steps done since the start of the run. */
  readonly step: number;
}

/** Batches queued on the device, with the one whose loss is awaited. */
const batchesInFlight = 2;

/** Where a run stands after a step; see {@link RunState}. */
type Position = Pick<RunState, 'step' | 'epoch' | 'batch' | 'samples'>;

/** A batch that is queued on the device. */
interface Pending {
  readonly numbers: StepNumbers;
  readonly labels: Int32Array | Uint8Array;
  readonly output: StepOutput;
  readonly values: Promise<
    readonly [
      loss: number,
      logits: Float32Array,
      norm: number | undefined,
      lossScale: LossScaleReading | undefined,
    ]
  >;
  /** When the device had done it. */
  done: Moment | undefined;
  /** With the last batch of a step: where the run stands after it. */
  readonly position: Position | undefined;
  /** Where a checkpoint is due after it: the values of then. */
  snapshot: Promise<Snapshot> | undefined;
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
  /** Steps in an epoch. */
  readonly #perEpoch: number | undefined;
  readonly #totalSteps: number;
  readonly #totalEpochs: number;
  readonly #run: RunFolder | undefined;
  readonly #saving: Saving;
  readonly #steps = new StepHistory();
  readonly #epochs: EpochRecord[] = [];
  readonly #pending: Pending[] = [];
  /** After the last step that is queued. */
  #position: Position = { step: 0, epoch: 0, batch: 0, samples: 0 };
  /** Batches of the next step that are queued, and their images. */
  #begun = { batches: 0, images: 0 };
  /** Of the epoch, over steps that are done. */
  #sums: Sums = noSums;
  /** Over the batches that are done of the step in progress. */
  #stepSums: Sums = noSums;
  readonly #watch: Watch;
  #best: Best | undefined;
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
    this.#saving = new Saving(run, values, (message) => options.onNotice?.(message));
    this.#decisive = decisive(parts);
    this.#perEpoch = stepsPerEpoch(data, settings.batchSize, settings.accumulate);
    this.#totalEpochs = epochs ?? (steps === undefined ? 1 : Number.POSITIVE_INFINITY);
    this.#totalSteps = steps ?? this.#totalEpochs * (this.#perEpoch ?? Number.POSITIVE_INFINITY);
    this.#trainingStep = new TrainingStep({ ...settings, ...values, computeType: parts.computeType });
    this.#watch = new Watch(run?.resumed?.state.skipped, (message) => options.onNotice?.(message));
    if (run?.resumed !== undefined) {
      const { step, epoch, batch, samples, sums, best } = run.resumed.state;
      this.#position = { step, epoch, batch, samples };
      this.#sums = sums;
      this.#best = best;
    }
  }

  /** Checks everything, takes up the run if there is one, and only then makes weights, optimizer and average. */
  static async open(parts: FitParts): Promise<Fit> {
    const { model, backend, settings, data, options, config } = parts;
    checkFit(parts);
    stepsPerEpoch(data, settings.batchSize, settings.accumulate);
    const { out, resume = false, keep = 3, onNotice: notice = () => undefined } = options;
    const run =
      out === undefined
        ? undefined
        : await RunFolder.open(out, { resume, keep, decisive: decisive(parts), config, notice });
    try {
      if (run?.resumed !== undefined) await run.restoreModel(model);
      model.to(backend, { seed: settings.seed });
      const parameters = model.network.trainableParameters();
      const { optimizer, weightDecay, polyak, lossScale, clipNorm, accumulate } = settings;
      const values = {
        model,
        optimizer: createOptimizer(optimizer, parameters, { weightDecay }),
        polyak: polyak > 0 ? new PolyakAverage(parameters) : undefined,
        gate: new GradientGate(backend, {
          ...{ clipNorm, batches: accumulate },
          ...(parts.computeType === 'f16' && { lossScale }),
        }),
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
        const before = this.#position.step;
        const ended = await this.#trainEpoch();
        if (signal?.aborted === true) {
          await this.#saving.saveForGood(this.#state(this.#position));
          throw signal.reason;
        }
        if (ended) await this.#endEpoch(before);
        else {
          await this.#saving.saveForGood(this.#state(this.#position)); // before the line of the unfinished epoch, which is not part of a longer run
          await this.#report(this.#position.epoch + this.#fractionOfEpoch());
        }
      }
      await this.#saving.saveForGood(this.#state(this.#position));
      const records = this.#steps;
      return {
        get steps() {
          return records.toArray();
        },
        epochs: this.#epochs,
        step: this.#position.step,
      };
    } finally {
      await this.#drain().catch(() => undefined); // an error of its own is on its way already
      await this.#run?.close();
    }
  }

  #done(): boolean {
    const { step, epoch } = this.#position;
    return step >= this.#totalSteps || epoch >= this.#totalEpochs || this.#stoppedEarly();
  }

  #stoppedEarly(): boolean {
    const { patience } = this.#options;
    return patience !== undefined && this.#best !== undefined && this.#best.since >= patience;
  }

  /** Batches of an epoch that belong to whole steps. */
  get #batchesPerEpoch(): number | undefined {
    return this.#perEpoch === undefined ? undefined : this.#perEpoch * this.#settings.accumulate;
  }

  #fractionOfEpoch(): number {
    const whole = this.#batchesPerEpoch;
    return whole === undefined ? 0 : Math.round((this.#position.batch / whole) * 1e4) / 1e4;
  }

  /** The batches of the epoch in progress, from the next one on. */
  #batches(): AsyncIterable<Batch> {
    const { batchSize, seed, shuffle, augment, color, workers, erasing, mixup, cutmix } = this.#settings;
    const { signal } = this.#options;
    if (!isDataset(this.#data)) return this.#data;
    const { epoch, batch } = this.#position;
    return this.#data.batches({
      batchSize,
      epoch,
      seed,
      shuffle,
      startBatch: batch,
      dropLast: true,
      ...{ erasing, mixup, cutmix },
      ...(augment === undefined ? {} : { augment }),
      ...(color === undefined ? {} : { color }),
      ...(workers === undefined ? {} : { workers }),
      ...(signal === undefined ? {} : { signal }),
    });
  }

  /** Trains on the rest of the epoch. Gives false if it was left before its end: aborted, or enough steps. */
  async #trainEpoch(): Promise<boolean> {
    const { signal } = this.#options;
    const batches = this.#batches()[Symbol.asyncIterator]();
    // One's own batches cannot start in the middle: those that are done are passed over.
    let passOver = isDataset(this.#data) ? 0 : this.#position.batch;
    let ended = false;
    this.#meter.reset();
    try {
      this.#meter.start();
      while (this.#position.step < this.#totalSteps && !this.#onlyRestLeft()) {
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
        await this.#train(next);
        if (signal?.aborted === true && this.#begun.batches === 0) break;
      }
      await this.#drain();
      this.#giveUpBegun();
    } finally {
      this.#meter.stop();
      if (!ended) await batches.return?.();
    }
    return ended || this.#position.batch === this.#batchesPerEpoch;
  }

  /** Whether the batches that are left of the epoch do not fill a step. */
  #onlyRestLeft(): boolean {
    return this.#settings.accumulate > 1 && this.#position.batch === this.#batchesPerEpoch;
  }

  /** Queues a batch; after the last one of a step with which a checkpoint is due, begins to write that. */
  async #train(batch: Batch): Promise<void> {
    const pending = this.#submit(batch);
    const { position } = pending;
    const due = position === undefined ? 'none' : this.#dueAfter(position);
    if (due !== 'none') {
      await this.#saving.ready();
      if (due === 'now') pending.snapshot = this.#saving.snapshot();
    }
    // Where steps are not finite, the next waits until it is known whether this was the last of a row.
    while (this.#pending.length > (this.#watch.inRow > 0 ? 0 : batchesInFlight - 1)) await this.#settle();
  }

  /** Whether a checkpoint follows a step: at once, or after what comes at the end of an epoch or of the training. */
  #dueAfter({ step, batch }: Position): 'none' | 'now' | 'later' {
    const { checkpointEvery } = this.#options;
    if (batch === this.#batchesPerEpoch || step === this.#totalSteps) return 'later';
    return checkpointEvery !== undefined && step % checkpointEvery === 0 ? 'now' : 'none';
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

  /** Queues a batch, and with the last one of a step the update. */
  #submit(batch: Batch): Pending {
    const { schedule, polyak, accumulate } = this.#settings;
    const { step: before, epoch, batch: done, samples } = this.#position;
    const { batches, images } = this.#begun;
    const step = before + 1;
    const lr = schedule({
      step: before,
      epoch: epoch + (this.#batchesPerEpoch === undefined ? 0 : done / this.#batchesPerEpoch),
      samples,
      totalSteps: this.#totalSteps,
    });
    const numbers = { step, lr, polyakDecay: polyakDecay(polyak, before), batch: batches };
    this.#options.onBatch?.(batch, step);
    this.#watch.began(batch, numbers);
    const output = this.#trainingStep.run(batch, numbers);
    const values = Promise.all([
      output.loss.item(),
      output.logits.data() as Promise<Float32Array>,
      output.norm?.item(),
      this.values.gate.scaler?.read(),
    ]);
    this.#idle = undefined;
    const seen = images + batch.shape[0];
    const last = batches + 1 === accumulate;
    this.#begun = last ? { batches: 0, images: 0 } : { batches: batches + 1, images: seen };
    if (last) {
      this.#position = { step, epoch, batch: done + accumulate, samples: samples + seen };
    }
    const position = last ? this.#position : undefined;
    const { labels } = batch;
    const pending: Pending = {
      numbers,
      labels,
      output,
      values,
      done: undefined,
      position,
      snapshot: undefined,
    };
    const finished = () => {
      pending.done = this.#meter.moment;
      if (this.#pending.at(-1) === pending) this.#idle = performance.now();
    };
    values.then(finished, finished); // an error is reported when its turn comes
    this.#pending.push(pending);
    return pending;
  }

  /** Waits for the oldest queued batch and books it, and with the last one of a step the step. */
  async #settle(): Promise<void> {
    const [pending] = this.#pending as [Pending];
    const { numbers, labels, output, values, position, snapshot } = pending;
    try {
      const [loss, logits, norm, lossScale] = await values;
      this.#pending.shift();
      this.#lossScale = lossScale;
      this.#stepSums = addSums(
        this.#stepSums,
        sumsOf(loss, logits, labels, this.values.model.config.classes),
      );
      if (position === undefined) return;
      await this.#book(numbers, norm, pending.done);
    } catch (error) {
      if (this.#pending[0] === pending) this.#pending.shift();
      throw error;
    } finally {
      for (const tensor of [output.loss, output.logits, output.norm]) tensor?.dispose();
    }
    if (snapshot !== undefined && position !== undefined) {
      this.#saving.begin(snapshot, this.#state(position));
    }
  }

  /** Books a step, all of whose batches are done. */
  async #book({ step, lr }: StepNumbers, norm: number | undefined, done: Moment | undefined): Promise<void> {
    const sums = this.#stepSums;
    this.#stepSums = noSums;
    const { loss, top1 } = meansOf(sums);
    const trouble = this.#watch.stepped(loss, norm, this.#lossScale);
    if (trouble === undefined) this.#sums = addSums(this.#sums, sums);
    this.#meter.stepped(sums.images, done);
    const { skipped } = this.#watch;
    const record: StepRecord = {
      step,
      loss,
      top1,
      lr,
      ...(this.#settings.clipNorm !== undefined && norm !== undefined && { gradient_norm: norm }),
      ...(this.#lossScale && { loss_scale: this.#lossScale.scale }),
      ...((this.#lossScale !== undefined || skipped > 0) && { skipped_steps: skipped }),
    };
    this.#steps.push(record);
    const progress = this.#progress(step);
    if (step % this.#settings.logEvery === 0) {
      const { imagesPerSecond, dataWait } = this.#meter.takeRecent();
      this.#log({ ...record, images_per_second: imagesPerSecond, data_wait: dataWait }, progress);
    }
    this.#options.onStep?.(record, progress);
    refuseHopelessScale(step, this.#lossScale);
    if (trouble !== undefined && this.#watch.skip(step, trouble)) await this.#stopNonFinite(step, trouble);
  }

  /** Ends the training after steps that changed nothing, with a checkpoint of what was before them. */
  async #stopNonFinite(step: number, what: string): Promise<never> {
    const where = firstNonFinite(this.#trainingStep, this.values, this.#watch.takeSuspects());
    const state = this.#state(this.#position);
    const unsaved = await this.#saving.saveForGood(state).catch((error: Error) => error);
    const checkpoint = this.#run?.lastCheckpoint;
    const { clipNorm } = this.#settings;
    throw new NonFiniteLossError(
      `step ${step}: ${what}, for the third time in a row; first not finite: ${where}. A smaller learning rate may help` +
        (clipNorm === undefined ? ', or shorter gradients (clipNorm, --clip-norm)' : '') +
        (this.#lossScale === undefined ? '' : ', or bf16, whose largest number is not 65,504') +
        (unsaved === undefined ? '' : `. ${unsaved.message}`) +
        (checkpoint === undefined ? '' : ` (the last checkpoint is ${checkpoint})`),
      step,
    );
  }

  #log(line: MetricsLine, progress: FitProgress): void {
    this.#run?.metrics.write(line);
    this.#options.onLine?.(line, progress);
  }

  /** Waits for all queued batches. */
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

  /** Leaves a step that not all batches have come for: as if it had not been begun. */
  #giveUpBegun(): void {
    if (this.#begun.batches === 0) return;
    this.#trainingStep.giveUp();
    this.#begun = { batches: 0, images: 0 };
    this.#stepSums = noSums;
  }

  #progress(step: number): FitProgress {
    const { imagesPerSecond, batchSeconds, dataWait } = this.#meter.pace;
    return {
      step,
      totalSteps: this.#totalSteps,
      stepsPerEpoch: this.#perEpoch,
      epoch: this.#position.epoch + 1,
      imagesPerSecond,
      batchSeconds,
      ...meansOf(this.#sums),
      dataWait,
      ...(this.#lossScale && { lossScale: this.#lossScale }),
      skippedSteps: this.#watch.skipped,
      skipped: isDataset(this.#data) ? this.#data.skipped.size : 0,
    };
  }

  #state(position: Position): StateOfRun {
    const skipped = this.#watch.state;
    return {
      ...position,
      sums: this.#sums,
      ...(skipped && { skipped }),
      ...(this.#best && { best: this.#best }),
      config: this.#decisive,
    };
  }

  /** Evaluates, writes the epoch's line and goes on to the next epoch, with a checkpoint. */
  async #endEpoch(stepBefore: number): Promise<void> {
    const { signal } = this.#options;
    const { step, epoch, batch } = this.#position;
    if (batch === 0 && step === stepBefore) {
      throw new DataError('training data: the batches have come to an end');
    }
    try {
      await this.#report(epoch + 1);
    } catch (error) {
      if (signal?.aborted === true) await this.#saving.saveForGood(this.#state(this.#position)); // this epoch's evaluation comes first when it goes on
      throw error;
    }
    this.#position = { ...this.#position, epoch: epoch + 1, batch: 0 };
    this.#sums = noSums;
    await this.#saving.save(this.#state(this.#position));
  }

  /** Evaluates and writes the line of an epoch, or of the part of it that was trained. */
  async #report(epoch: number): Promise<void> {
    const { validation, signal, patience, monitor } = this.#options;
    const { loss, top1, imagesPerSecond, dataWait } = this.#progress(this.#position.step);
    const scores = async (averaged: boolean): Promise<Scores> => {
      const found = await this.#parts.evaluate(averaged ? this.values.polyak : undefined, signal);
      const { top1, top5, loss, map } = found;
      return { top1, top5, loss, ...(map === undefined ? {} : { map: map.value }) };
    };
    const scored: EpochRecord = {
      epoch,
      train: { loss, top1 },
      ...(validation === undefined ? {} : { validation: await scores(false) }),
      ...(validation === undefined || this.values.polyak === undefined
        ? {}
        : { validation_average: await scores(true) }),
      images_per_second: imagesPerSecond,
      data_wait: dataWait,
    };
    // Only whole epochs are compared: a run that is continued does not have the line of the part.
    if (Number.isInteger(epoch)) {
      const by = monitor ?? (this.#settings.loss === 'sigmoid' ? 'map' : 'top1');
      this.#best = bestAfter(this.#best, by, scored, this.#position.step);
    }
    const best = this.#best?.epoch === epoch ? this.#best : undefined;
    const record: EpochRecord = {
      ...scored,
      ...(best && { best: best.monitor }),
      ...(patience !== undefined && this.#stoppedEarly() && { stopped_early: patience }),
    };
    this.#epochs.push(record);
    const progress = this.#progress(this.#position.step);
    this.#log(record, progress);
    this.#options.onEpoch?.(record, progress);
  }

  /** Frees the compiled step and the optimizer's state; the average stays. */
  [Symbol.dispose](): void {
    this.#trainingStep[Symbol.dispose]();
    this.values.optimizer.dispose();
    this.values.gate.dispose();
  }
}
