// `convert`: weights from one format into another, by the files' endings.

import { Command } from 'commander';
import { writeWeights } from '../index.ts';
import { UsageError } from './failure.ts';
import { type CommonFlags, withCommonFlags } from './flags.ts';
import { print } from './output.ts';
import { readFlagged } from './weights.ts';

interface ConvertFlags extends CommonFlags {
  readonly raw: boolean;
}

const endings = ['.safetensors', '.weights.h5', '.h5'];

export function convertCommand(): Command {
  return withCommonFlags(new Command('convert'))
    .description('write weights in another format; the same weights give the same bytes')
    .argument('<from>', 'run folder, checkpoint folder, .safetensors, .h5 or .weights.h5')
    .argument('<to>', endings.join(', '))
    .option('--raw', 'the weights themselves, not their Polyak average', false)
    .action(async (from: string, to: string, flags: ConvertFlags) => {
      if (!endings.some((ending) => to.toLowerCase().endsWith(ending))) {
        throw new UsageError(`cannot write ${to}; expected a name that ends with ${endings.join(', ')}`);
      }
      const weights = await readFlagged(from, flags.raw);
      await writeWeights(to, weights);
      const tensors = weights.tensors.size;
      if (flags.json) print({ from: weights.file ?? from, to, arch: weights.arch, tensors });
      else print(`${to}: ${tensors} tensors of ${weights.arch} from ${weights.file ?? from}`);
    });
}
