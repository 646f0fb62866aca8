// `bench`: steps and images per second and memory, for networks and for the input pipeline.

import { Command, Option } from 'commander';
import {
  type Augmentation,
  architecture,
  architectureNames,
  augmentations,
  type BenchmarkMode,
  benchmark,
  computeTypeOf,
  precisionOf,
} from '../index.ts';
import { checkPaths, openImages } from './dataSets.ts';
import {
  type CommonFlags,
  checkSize,
  integer,
  listOf,
  openFlagged,
  type VariantFlags,
  variantOf,
  withCommonFlags,
  withVariantFlags,
} from './flags.ts';
import { print, table } from './output.ts';

interface BenchFlags extends CommonFlags, VariantFlags {
  readonly arch: string[];
  readonly mode: BenchmarkMode[];
  readonly batch: number;
  readonly size?: number;
  readonly steps: number;
  readonly warmup: number;
  readonly data: string[];
  readonly augment: Augmentation;
  readonly workers?: number;
}

export function benchCommand(): Command {
  return withCommonFlags(withVariantFlags(new Command('bench')))
    .description('speed and memory; warm-up steps are not counted')
    .option('--arch <names>', 'networks, separated by commas', listOf(architectureNames), ['xception'])
    .option('--mode <modes>', 'train, infer, load; separated by commas', listOf(['train', 'infer', 'load']), [
      'train',
    ])
    .option('--batch <n>', 'images per step', integer(1), 32)
    .option('--size <pixels>', "edge of the images (default: the network's)", integer(1))
    .option('--steps <n>', 'steps that are counted', integer(1), 10)
    .option('--warmup <n>', 'steps before them', integer(0), 2)
    .option('--data <paths...>', 'synthetic, a folder per class, or tar shards', ['synthetic'])
    .addOption(new Option('--augment <kind>').choices(augmentations).default('inception'))
    .option('--workers <n>', 'images decoded at the same time', integer(1))
    .action(async (flags: BenchFlags) => {
      for (const arch of flags.arch) checkSize(arch, flags.size, variantOf(arch, flags));
      checkPaths(flags.data);
      const synthetic = flags.data.join() === 'synthetic';
      const backend = openFlagged(flags);
      const rows: (string | number)[][] = [
        ['arch', 'mode', 'batch', 'size', 'images/s', 'ms/step', 'peak MB'],
      ];
      for (const arch of flags.arch) {
        for (const mode of flags.mode) {
          const { batch, steps, warmup, augment, workers, seed } = flags;
          const size = flags.size ?? architecture(arch).size;
          const found = await benchmark(backend, {
            arch,
            variant: variantOf(arch, flags),
            mode,
            batch,
            size,
            steps,
            warmup,
            augment,
            seed,
            precision: flags.precision,
            ...(workers === undefined ? {} : { workers }),
            ...(synthetic ? {} : { data: await openImages(flags.data, { size }) }),
          });
          if (flags.json) {
            print({
              arch,
              mode,
              batch,
              size,
              device: backend.name,
              precision: precisionOf(computeTypeOf(flags.precision, backend)),
              images_per_second: found.imagesPerSecond,
              step_ms: found.stepMs,
              peak_bytes: found.peakBytes,
            });
          } else {
            const { imagesPerSecond, stepMs, peakBytes } = found;
            const peak = (peakBytes / 1e6).toFixed(0);
            rows.push([arch, mode, batch, size, imagesPerSecond.toFixed(1), stepMs.median.toFixed(1), peak]);
          }
        }
      }
      if (!flags.json) print(table(rows));
    });
}
