// Trainer: a classifier, how it is trained, and where. Knows data sets and optimizers, and no op.

import type { Backend } from '../backend/backend.ts';
import { openDevice } from '../backend/devices.ts';
import type { Classifier } from '../classify/classifier.ts';
import { computeTypeOf } from '../classify/precision.ts';
import { ArgumentError, DataError } from '../core/errors.ts';
import type { Program } from '../core/program.ts';
import type { Batch, Dataset } from '../data/batch.ts';
import { GradientGate } from '../optim/gradientGate.ts';
import { createOptimizer } from '../optim/optimizer.ts';
import { PolyakAverage } from '../optim/polyak.ts';
import { type Evaluation, evaluate } from './evaluate.ts';
import { Fit, type History } from './fit.ts';
import {
  type FitOptions,
  isDataset,
  type TrainerOptions,
  type TrainerSettings,
  type TrainingData,
  trainerSettings,
} from './options.ts';

import { byOp, profileProgram, type StepProfile, transferTime } from './profile.ts';
import { RunRecorder } from './recorder.ts';
import { TrainingStep } from './step.ts';

/**
 * Trains and evaluates a classifier.
 *
 * The printed loss is the mean over the batch before the update, without weight decay. Frozen layers
 * (`model.network.module(path).trainable = false`) get no gradient and no update, and their normalization uses its
 * running statistics; what is frozen is looked up when `fit` is called, so a head can be trained first and then everything.
 */
export class Trainer implements Disposable {
  /** What is trained; its owner's. */
  readonly model: Classifier;
  /** The options in force. */
  readonly settings: TrainerSettings;
  #average: PolyakAverage | undefined;

  /** @throws ArgumentError for an option out of range */
  constructor(model: Classifier, options: TrainerOptions = {}) {
    this.model = model;
    this.settings = trainerSettings(options, model.config.classes);
  }

  /**
   * Trains. Every call is a training of its own: it starts from the weights that the model has, with a fresh optimizer
   * and average, unless it resumes a run. The model takes the data's class names, if it has none, and their image size,
   * and gives probabilities as the loss sees them: by a softmax or a sigmoid.
   *
   * @param data a data set, or one's own batches; one iteration over them is an epoch
   * @returns what was recorded
   * @throws LoadError if the device cannot be used; UnsupportedError if it does not have the precision;
   *   NonFiniteLossError; DataError, CheckpointError; the signal's reason
   */
  async fit(data: TrainingData, options: FitOptions = {}): Promise<History> {
    options.signal?.throwIfAborted();
    const backend = this.#open();
    const computeType = computeTypeOf(this.settings.precision, backend);
    if (isDataset(data)) this.#learnFrom(data);
    const { loss } = this.settings;
    if (loss !== this.model.activation) this.model.configure({ activation: loss });
    this.dispose();
    const { validation, epochs, steps, keep = 3, checkpointEvery, patience, monitor } = options;
    const settings = this.#fitting(data, options);
    const { device, threads, deterministic, mode, logEvery } = this.settings;
    const recorder =
      options.out === undefined
        ? undefined
        : new RunRecorder(options.out, options, {
            backend,
            classes: this.model.config.labels ?? [],
            skipped: () => (isDataset(data) ? data.skipped : new Map<string, string>()),
          });
    using fit = await Fit.open({
      model: this.model,
      backend,
      computeType,
      settings,
      data,
      options: recorder?.hooked ?? options,
      evaluate: (average, signal) => {
        const body = () => this.#evaluate(validation as Dataset, average, signal);
        return recorder === undefined ? body() : recorder.evaluating(body);
      },
      config: {
        ...options.config,
        epochs: epochs ?? null,
        steps: steps ?? null,
        keep,
        checkpointEvery: checkpointEvery ?? null,
        patience: patience ?? null,
        monitor: monitor ?? null,
        device,
        backend: backend.name,
        backendDetails: backend.details,
        threads: threads ?? null,
        deterministic,
        mode,
        logEvery,
      },
    });
    this.#average = fit.values.polyak;
    return await (recorder === undefined ? fit.run() : recorder.during(() => fit.run()));
  }

  /**
   * Evaluates the model on every readable image, exactly once.
   * @param options averaged: the Polyak average of the last `fit` in place of the weights, with the running statistics
   *   as they are. Default false.
   */
  async evaluate(
    data: Dataset,
    options: { averaged?: boolean; signal?: AbortSignal } = {},
  ): Promise<Evaluation> {
    if (options.averaged === true && this.#average === undefined) {
      throw new ArgumentError('evaluate: there is no average; train with polyak above 0 first');
    }
    this.model.to(this.#open(), { seed: this.settings.seed });
    return this.#evaluate(data, options.averaged === true ? this.#average : undefined, options.signal);
  }

  /** The program of a training step on the first batch of the data, as it will run. Runs nothing, changes nothing. */
  async program(data: Dataset): Promise<Program> {
    return await this.#withStep(data, async (step, batch) => step.program(batch));
  }

  /** Times what a training step consists of, on the first batch of the data. Changes nothing. */
  async profile(data: Dataset): Promise<StepProfile> {
    return await this.#withStep(data, async (step, batch, backend) => {
      const { buffer, byteOffset, byteLength } = batch.images;
      const transfer = await transferTime(backend, new Uint8Array(buffer, byteOffset, byteLength));
      const instructions = await profileProgram(backend, step.program(batch));
      return { transfer, instructions, ops: byOp(instructions) };
    });
  }

  /** Looks at a step on the first batch of the data. */
  async #withStep<T>(
    data: Dataset,
    look: (step: TrainingStep, batch: Batch, backend: Backend) => Promise<T>,
  ): Promise<T> {
    const backend = this.#open();
    const {
      batchSize,
      optimizer: spec,
      weightDecay,
      polyak,
      seed,
      precision,
      lossScale,
      clipNorm,
    } = this.settings;
    const computeType = computeTypeOf(precision, backend);
    this.model.to(backend, { seed });
    const parameters = this.model.network.trainableParameters();
    using optimizer = createOptimizer(spec, parameters, { weightDecay });
    using average = polyak > 0 ? new PolyakAverage(parameters) : undefined;
    using gate = new GradientGate(backend, { clipNorm, ...(computeType === 'f16' && { lossScale }) });
    const parts = { model: this.model, optimizer, polyak: average, computeType, gate };
    using step = new TrainingStep({ ...this.settings, ...parts });
    for await (const batch of data.batches({ batchSize, dropLast: data.length >= batchSize })) {
      return await look(step, batch, backend);
    }
    throw new DataError('the data give no batch');
  }

  async #evaluate(
    data: Dataset,
    average: PolyakAverage | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Evaluation> {
    const { batchSize, loss, mode, workers, precision } = this.settings;
    const body = () =>
      evaluate(this.model, data, {
        batchSize,
        loss,
        mode,
        precision,
        ...(workers === undefined ? {} : { workers }),
        ...(signal === undefined ? {} : { signal }),
      });
    return average === undefined ? body() : average.during(body);
  }

  #open(): Backend {
    const { device, threads, deterministic } = this.settings;
    return openDevice(device, { deterministic, ...(threads === undefined ? {} : { threads }) });
  }

  #learnFrom(data: Dataset): void {
    const { labels, classes } = this.model.config;
    const named = labels === undefined && data.classes.length === classes;
    this.model.configure({
      ...(named ? { labels: data.classes } : {}),
      ...(data.size === undefined ? {} : { size: data.size }),
    });
  }

  /** The settings, with a batch no larger than the data. */
  #fitting(data: TrainingData, { onNotice }: FitOptions): TrainerSettings {
    const { batchSize } = this.settings;
    if (!isDataset(data) || data.length >= batchSize || data.length === 0) return this.settings;
    onNotice?.(`${data.length} images do not fill a batch of ${batchSize}: the batch is ${data.length}`);
    return { ...this.settings, batchSize: data.length };
  }

  /** Frees the average. The model is its owner's. */
  dispose(): void {
    this.#average?.dispose();
    this.#average = undefined;
  }

  /** Frees it where a `using` block ends. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
