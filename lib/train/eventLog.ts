// TensorBoard's view of a run: an events file for each time that it was started or resumed, with everything that
// metrics.jsonl has. Knows the format's events, and not how they are laid out.

import { type FileHandle, open, readdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { type SummaryValue, startEvent, summaryEvent, versionEvent } from '../interop/tensorboard/events.ts';
import { encodeRecord } from '../interop/tensorboard/records.ts';
import { isEpochRecord, type MetricsLine, type Scores } from './metrics.ts';

const prefix = 'events.out.tfevents.';

/**
 * A name behind those of all files in the folder, since TensorBoard reads them in the order of their names: the time in
 * seconds, host, process. Two starts within a second, or a clock that was set back, must not change the order.
 */
async function nextName(folder: string, seconds: number): Promise<string> {
  const before = (await readdir(folder)).flatMap((name) => {
    const time = name.startsWith(prefix) ? Number.parseInt(name.slice(prefix.length), 10) : Number.NaN;
    return Number.isNaN(time) ? [] : [time];
  });
  const time = Math.max(Math.floor(seconds), ...before.map((each) => each + 1));
  const host = hostname().replace(/[^\w.-]/g, '_');
  return `${prefix}${String(time).padStart(10, '0')}.${host}.${process.pid}`;
}

const scoresUnder = (name: string, scores: Scores | undefined): SummaryValue[] =>
  scores === undefined
    ? []
    : Object.entries(scores).map(([score, scalar]) => ({
        tag: `${name}/${score}`,
        scalar: scalar as number,
      }));

/** A line of metrics.jsonl as values with names. What is not finite stays so: TensorBoard marks it as what it is. */
function valuesOf(line: MetricsLine): SummaryValue[] {
  if (isEpochRecord(line)) {
    const { epoch, train, validation, validation_average } = line;
    return [
      { tag: 'epoch/epoch', scalar: epoch },
      { tag: 'epoch/loss', scalar: train.loss },
      { tag: 'epoch/top1', scalar: train.top1 },
      { tag: 'epoch/images_per_second', scalar: line.images_per_second },
      { tag: 'epoch/data_wait', scalar: line.data_wait },
      ...scoresUnder('validation', validation),
      ...scoresUnder('validation_average', validation_average),
    ];
  }
  const { loss, top1, lr, images_per_second, data_wait } = line;
  const { gradient_norm, loss_scale, skipped_steps } = line;
  const rest = { gradient_norm, loss_scale, skipped_steps };
  return [
    { tag: 'train/loss', scalar: loss },
    { tag: 'train/top1', scalar: top1 },
    { tag: 'train/learning_rate', scalar: lr },
    { tag: 'speed/images_per_second', scalar: images_per_second },
    { tag: 'speed/data_wait', scalar: data_wait },
    ...Object.entries(rest).flatMap(([name, scalar]) =>
      scalar === undefined ? [] : [{ tag: `train/${name}`, scalar }],
    ),
  ];
}

/** Settings as a table in Markdown. */
function configText(config: object): string {
  const cell = (value: unknown) =>
    (typeof value === 'string' ? value : (JSON.stringify(value) ?? '')).replace(/[|\n]/g, ' ');
  const rows = Object.entries(config).map(([name, value]) => `| ${cell(name)} | ${cell(value)} |`);
  return ['| setting | value |', '|---|---|', ...rows].join('\n');
}

/**
 * The events of one start of a run. The file is made with the first step, so that resuming a finished run leaves nothing,
 * and says that what older files have of that step and later ones does not hold. An error of the disk ends the events and is told once;
 * the training goes on.
 */
export class EventLog {
  readonly #folder: string;
  readonly #config: () => Promise<object | undefined>;
  readonly #failed: (error: unknown) => void;
  readonly #waiting: Uint8Array[] = [];
  #handle: FileHandle | undefined;
  #last: Promise<void> = Promise.resolve();
  #started = false;
  #broken = false;

  /**
   * @param folder of the run
   * @param config what is written as text, asked for with the first step
   * @param failed told of the first error
   */
  constructor(
    folder: string,
    config: () => Promise<object | undefined>,
    failed: (error: unknown) => void = () => undefined,
  ) {
    this.#folder = folder;
    this.#config = config;
    this.#failed = failed;
  }

  /** A line of metrics.jsonl. @param step how many steps are done */
  line(line: MetricsLine, step: number): void {
    this.write(step, valuesOf(line));
  }

  /** @param step the first one; called again it does nothing */
  begin(step: number): void {
    if (this.#started) return;
    this.#started = true;
    const seconds = Date.now() / 1000;
    this.#then(() => this.#open(seconds, step));
  }

  /** Values at a step. */
  write(step: number, values: readonly SummaryValue[]): void {
    if (this.#broken) return;
    const seconds = Date.now() / 1000;
    this.begin(step + 1); // an epoch that had only its evaluation left
    this.#waiting.push(encodeRecord(summaryEvent(seconds, step, values)));
    if (this.#waiting.length === 1) this.#then(() => this.#flush());
  }

  async #open(seconds: number, step: number): Promise<void> {
    this.#handle = await open(join(this.#folder, await nextName(this.#folder, seconds)), 'ax');
    const head = [versionEvent(seconds), startEvent(seconds, step)];
    const config = await this.#config();
    if (config !== undefined) {
      head.push(summaryEvent(seconds, step, [{ tag: 'config', text: configText(config) }]));
    }
    await this.#handle.writeFile(Buffer.concat(head.map(encodeRecord)));
  }

  async #flush(): Promise<void> {
    await this.#handle?.writeFile(Buffer.concat(this.#waiting.splice(0)));
  }

  /** One after the other. */
  #then(action: () => Promise<void>): void {
    this.#last = this.#last.then(async () => {
      if (this.#broken) return;
      try {
        await action();
      } catch (error) {
        this.#broken = true;
        this.#waiting.length = 0;
        this.#failed(error);
      }
    });
  }

  /** Waits until everything is written. */
  async close(): Promise<void> {
    await this.#last;
    await this.#handle?.close().catch(() => undefined);
    this.#handle = undefined;
  }
}
