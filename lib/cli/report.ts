// `report`: one self-contained HTML page about runs.

import { join } from 'node:path';
import { Command } from 'commander';
import { writeRunReport } from '../index.ts';
import { type CommonFlags, integer, openFlagged, withCommonFlags } from './flags.ts';
import { print, say } from './output.ts';

interface ReportFlags extends CommonFlags {
  readonly out?: string;
  readonly data?: string;
  readonly evaluation: boolean;
  readonly mistakes: number;
  readonly batch: number;
}

export function reportCommand(): Command {
  return withCommonFlags(new Command('report'))
    .description(
      'one self-contained HTML page: curves side by side, tables, confusion matrix, worst mistakes',
    )
    .argument('<runs...>', 'folders of runs (--out of a training)')
    .option('--out <file>', "the page (default: report.html in the run's folder; of several, here)")
    .option('--data <dir>', 'images to evaluate on (default: those that each run was evaluated on)')
    .option('--no-evaluation', 'curves and tables alone, without running the models')
    .option('--mistakes <n>', 'how many of the worst mistakes of each model to show', integer(0), 12)
    .option('--batch <n>', 'images at a time', integer(1), 32)
    .action(async (runs: string[], flags: ReportFlags) => {
      const { data, evaluation, mistakes, batch, precision } = flags;
      const file = flags.out ?? (runs.length === 1 ? join(runs[0] as string, 'report.html') : 'report.html');
      const bytes = await writeRunReport(file, runs, {
        evaluate: evaluation,
        mistakes,
        batchSize: batch,
        precision,
        onNotice: say,
        ...(data === undefined ? {} : { data }),
        ...(evaluation ? { backend: openFlagged(flags) } : {}),
      });
      if (flags.json) print({ report: file, runs, bytes });
      else print(`${file}: ${(bytes / 1e3).toFixed(0)} kB`);
    });
}
