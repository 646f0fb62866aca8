// cuDNN's plans for the convolutions of Xception on the device, with times: which engine is chosen, and whether what fuses
// is faster than what it stands for.

import { type PlanDType, type PlanReport, plans } from '../../lib/cudnn/index.ts';
import {
  fusedCases,
  isDepthwise,
  type SweepCase,
  unfusedCases,
  xceptionLayers,
} from '../../test/support/cudnnSweep.ts';
import { markdownTable } from '../support/results.ts';
import type { Findings, Report } from './report.ts';

/** Plans that are built and timed for each graph, and seconds for it. */
const build = 5;
const patience = 15;

const ms = (value: number | undefined): string => (value === undefined ? '' : value.toFixed(3));

function row({ family, layer, dtype }: SweepCase, { plans, best, reason }: PlanReport): string[] {
  const timed = plans.flatMap(({ milliseconds }) => milliseconds ?? []);
  const usable = plans.filter(({ refused }) => refused === undefined).length;
  return [
    ...[dtype, layer, family, String(plans.length), String(usable)],
    best === undefined
      ? (reason ?? plans[0]?.refused ?? 'none').slice(0, 80)
      : `${best.engine} ${best.knobs}`.trim(),
    ms(best?.milliseconds),
    // Of the first that cuDNN's heuristics name: what trusting them would cost.
    ms(timed[0]),
    best?.workspace === undefined ? '' : (best.workspace / 1e6).toFixed(1),
    plans.reduce((sum, { buildSeconds }) => sum + buildSeconds, 0).toFixed(1),
  ];
}

/** Times the plans of Xception's layers in one type, unfused or fused, for at most so many seconds. */
export async function timedPlans(
  dtype: PlanDType,
  fused: boolean,
  ordinal: number,
  seconds: number,
  report: Report,
): Promise<Findings> {
  const layers = xceptionLayers().filter((layer) => !fused || !isDepthwise(layer));
  const cases = layers.flatMap((layer) => (fused ? fusedCases(layer, dtype) : unfusedCases(layer, dtype)));
  const end = performance.now() + seconds * 1000;
  const rows: string[][] = [];
  const data: object[] = [];
  let without = 0;
  for (const candidate of cases) {
    if (performance.now() > end) break;
    const { family, layer } = candidate;
    try {
      const found = await plans(candidate.problem, { device: ordinal, build, seconds: patience });
      rows.push(row(candidate, found));
      data.push({ family, layer, dtype, ...found });
      if (found.best === undefined) without += 1;
    } catch (error) {
      without += 1;
      const reason = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
      rows.push([dtype, layer, family, '', '', reason.slice(0, 80), '', '', '', '']);
    }
    report.log(rows.at(-1)?.join(' | ') ?? '');
  }
  const head = [
    'type',
    'layer',
    'graph',
    'engines',
    'usable',
    'best',
    'ms',
    'ms of the first',
    'workspace MB',
    'build s',
  ];
  return {
    summary:
      `${rows.length} of ${cases.length} graphs, ${without} without a plan` +
      (rows.length < cases.length ? '; the rest for want of time' : ''),
    markdown: markdownTable(
      [head, ...rows],
      [false, false, false, true, true, false, true, true, true, true],
    ),
    data: { graphs: data },
    wrong: rows.length > 0 && without === rows.length,
  };
}
