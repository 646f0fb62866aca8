// The progress of a training for people: one line per epoch that is rewritten on a terminal, plain lines elsewhere.

import type { EpochRecord, FitProgress, Scores } from '../index.ts';
import { percent, resultsBegin } from './output.ts';

/** Time as `3 min 20 s`. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

const redrawn = 200; // milliseconds between two states of the line on a terminal
const repeated = 10_000; // milliseconds between two lines elsewhere

/** Prints where a training is. */
export class ProgressLine {
  readonly #stream: NodeJS.WriteStream;
  readonly #terminal: boolean;
  #last: number;
  #width = 0;

  /** @param stream stdout, or stderr where stdout is for JSON */
  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
    this.#terminal = stream.isTTY === true;
    this.#last = this.#terminal ? Number.NEGATIVE_INFINITY : performance.now();
  }

  step(progress: FitProgress): void {
    const now = performance.now();
    if (now - this.#last < (this.#terminal ? redrawn : repeated)) return;
    this.#last = now;
    const { step, totalSteps, epoch, stepsPerEpoch, loss, top1, imagesPerSecond, dataWait } = progress;
    const { batchSeconds, lossScale } = progress;
    const skipped = lossScale === undefined ? '' : `skipped ${lossScale.skipped}  `;
    const epochs = stepsPerEpoch === undefined ? '' : `/${Math.ceil(totalSteps / stepsPerEpoch)}`;
    this.#write(
      `epoch ${epoch}${epochs}  step ${step}/${totalSteps}  ${imagesPerSecond.toFixed(1)} images/s  ` +
        `loss ${loss.toFixed(4)}  top-1 ${percent(top1)}  data wait ${percent(dataWait)}  ${skipped}` +
        `left ${duration((totalSteps - step) * batchSeconds)}`,
    );
  }

  epoch(record: EpochRecord): void {
    const { epoch, train, validation, validation_average: average, images_per_second, data_wait } = record;
    const scores = (name: string, { top1, top5, loss }: Scores) =>
      `  ${name}: top-1 ${percent(top1)}, top-5 ${percent(top5)}, loss ${loss.toFixed(4)}`;
    this.#write(
      `epoch ${epoch}  ${images_per_second.toFixed(1)} images/s  loss ${train.loss.toFixed(4)}  ` +
        `top-1 ${percent(train.top1)}  data wait ${percent(data_wait)}` +
        (validation === undefined ? '' : scores('validation', validation)) +
        (average === undefined ? '' : scores('averaged', average)),
    );
    if (this.#terminal) this.#stream.write('\n');
    this.#width = 0;
    this.#last = this.#terminal ? Number.NEGATIVE_INFINITY : performance.now();
  }

  /** Leaves the line, so that something else can be printed. */
  end(): void {
    if (this.#terminal && this.#width > 0) this.#stream.write('\n');
    this.#width = 0;
  }

  #write(line: string): void {
    resultsBegin();
    if (this.#terminal) this.#stream.write(`\r${line.padEnd(this.#width)}`);
    else this.#stream.write(`${line}\n`);
    this.#width = line.length;
  }
}
