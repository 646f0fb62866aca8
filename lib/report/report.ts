// The report about runs: reads them back, looks at what their models get wrong, and writes one page.

import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { Backend } from '../backend/backend.ts';
import { openDevice } from '../backend/devices.ts';
import { fromWeightFile } from '../classify/load.ts';
import type { Precision } from '../classify/precision.ts';
import { resizingOf } from '../classify/preprocess.ts';
import { DepthwiseError } from '../core/errors.ts';
import { imageFolder } from '../data/imageFolder.ts';
import { writeFileAtomic } from '../interop/atomic.ts';
import { readWeights } from '../interop/weights.ts';
import type { Json } from '../train/checkpoint.ts';
import { type Html, html } from './html.ts';
import { inspect } from './inspect.ts';
import { inspectionSection } from './inspectionSections.ts';
import { pageText } from './page.ts';
import { curves, keyed, settingsTable, summary } from './runSections.ts';
import { type RecordedRun, readRuns } from './runs.ts';

/** Options of {@link runReport}. */
export interface ReportOptions {
  /** Folder per class, or one with validation/, in place of what each run was evaluated on. */
  readonly data?: string;
  /** Whether the models are evaluated, for confusion matrix and mistakes. Default true. */
  readonly evaluate?: boolean;
  /** How many mistakes of each model are shown. Default 12. */
  readonly mistakes?: number;
  /** Images at a time. Default 32. */
  readonly batchSize?: number;
  /** Where the models compute. Default `auto`, opened only if one is evaluated. */
  readonly backend?: Backend;
  readonly precision?: Precision;
  /** Called with what a person should know: a run whose model or images are not to be had. */
  readonly onNotice?: (message: string) => void;
  readonly signal?: AbortSignal;
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;

const textOf = (value: Json | undefined): string | undefined =>
  typeof value === 'string' ? value : undefined;

/** The folder that a run was evaluated on, as its config.json has it. */
function validationOf({ config }: RecordedRun): string | undefined {
  const command = config.command as { readonly [key: string]: Json } | null | undefined;
  const data = textOf(command?.data);
  return textOf(command?.validation) ?? (data === undefined ? undefined : join(data, 'validation'));
}

/** What a run's model answers, or why that is not known. */
async function answers(run: RecordedRun, title: Html, options: ReportOptions): Promise<Html> {
  const { data, mistakes, batchSize, precision, signal } = options;
  const given = data !== undefined && isFolder(join(data, 'validation')) ? join(data, 'validation') : data;
  const folder = given ?? validationOf(run);
  const without = (reason: string) => {
    options.onNotice?.(`${run.name}: without confusion matrix and mistakes: ${reason}`);
    return html`<h2>${title}</h2><p class="note">Without confusion matrix and mistakes: ${reason}.</p>`;
  };
  if (folder === undefined) return without('the run does not say on which images it was evaluated');
  if (!isFolder(folder)) return without(`the validation images are not at ${folder}`);
  if (run.config.loss === 'sigmoid') return without('its images have many labels');
  try {
    const weights = await readWeights(run.folder);
    using model = fromWeightFile(weights, { file: weights.file ?? run.folder });
    model.to(options.backend ?? openDevice('auto'));
    const { size, preprocessing, labels } = model.config;
    const set = imageFolder(folder, {
      size,
      ...resizingOf(preprocessing),
      ...(labels === undefined ? {} : { classes: labels }),
    });
    const found = await inspect(model, set, {
      ...(mistakes === undefined ? {} : { mistakes }),
      ...(batchSize === undefined ? {} : { batchSize }),
      ...(precision === undefined ? {} : { precision }),
      ...(signal === undefined ? {} : { signal }),
    });
    const averaged = weights.file?.endsWith('average.safetensors') === true;
    const of = averaged ? 'by the Polyak average of the newest checkpoint' : 'by the newest checkpoint';
    return inspectionSection(title, found, of);
  } catch (error) {
    if (!(error instanceof DepthwiseError) || signal?.aborted === true) throw error;
    return without(error.message);
  }
}

/** A line about the runs under the title. */
function lead(runs: readonly RecordedRun[]): Html {
  const archs = [...new Set(runs.map(({ config }) => String(config.arch)))];
  const sizes = [...new Set(runs.map(({ config }) => String(config.size)))];
  const classes = [...new Set(runs.map(({ config }) => String(config.classes)))];
  return html`<p class="lead">${archs.join(', ')} at ${sizes.join(', ')} pixels, ${classes.join(', ')} classes</p>`;
}

/**
 * A page about runs: figures, curves side by side, settings, and for each what its newest model gets wrong.
 * @param folders of runs, as `fit` wrote them to `out`
 * @returns the text of one HTML file, which needs nothing else; the same runs and images give the same page
 * @throws CheckpointError where there is no run; DataError where a file of it is damaged
 */
export async function runReport(folders: readonly string[], options: ReportOptions = {}): Promise<string> {
  const runs = await readRuns(folders);
  const title = runs.length === 1 ? `Run ${runs[0]?.name}` : `${runs.length} runs side by side`;
  const sections: Html[] = [];
  if (options.evaluate !== false) {
    for (const [i, run] of runs.entries()) {
      const head = runs.length === 1 ? html`Answers` : html`Answers of ${keyed(run, i, runs)}`;
      sections.push(await answers(run, head, options));
    }
  }
  const body = html`<header><h1>${title}</h1>${lead(runs)}</header>
<main>
${summary(runs)}
${curves(runs)}
${sections}
${settingsTable(runs)}
</main>
<footer>Made by <code>depthwise report</code>. Everything is in this file; it loads nothing.</footer>`;
  return pageText({ title, body });
}

/** {@link runReport} into a file, whole or not at all. @returns its size in bytes */
export async function writeRunReport(
  file: string,
  folders: readonly string[],
  options: ReportOptions = {},
): Promise<number> {
  const bytes = new TextEncoder().encode(await runReport(folders, options));
  await writeFileAtomic(file, [bytes]);
  return bytes.byteLength;
}
