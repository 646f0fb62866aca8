// `convert`: weights from one format into another, by the files' endings.

import { Command, Option } from 'commander';
import {
  architecture,
  DataError,
  fromWeightFile,
  type Match,
  preprocessings,
  type WeightFile,
  writableEndings,
  writeOnnx,
  writeWeights,
} from '../index.ts';
import { UsageError } from './failure.ts';
import {
  type CommonFlags,
  checkSize,
  integer,
  openFlagged,
  type VariantFlags,
  variantOf,
  withCommonFlags,
  withVariantFlags,
} from './flags.ts';
import { print, table } from './output.ts';
import { readFlagged, readLabels } from './weights.ts';

interface ConvertFlags extends CommonFlags, VariantFlags {
  readonly raw: boolean;
  readonly preprocessing?: string;
  readonly labels?: string;
  readonly size?: number;
  readonly logits: boolean;
}

const onnx = '.onnx';
const endings: readonly string[] = [...writableEndings, onnx];

export function convertCommand(): Command {
  return withCommonFlags(withVariantFlags(new Command('convert')))
    .description('write weights in another format; the same weights give the same bytes')
    .argument('<from>', 'run folder, checkpoint folder, .safetensors, .h5, .weights.h5 or .keras')
    .argument('<to>', endings.join(', '))
    .option('--raw', 'the weights themselves, not their Polyak average', false)
    .option('--labels <file>', 'names of the classes, one a line')
    .addOption(
      new Option(
        '--preprocessing <rule>',
        'how pixels become input (default: what the weights or their source say)',
      ).choices(Object.keys(preprocessings)),
    )
    .option('--size <pixels>', 'edge of the images (default: what the weights say)', integer(1))
    .option('--logits', 'to .onnx: logits in place of probabilities', false)
    .action(async (from: string, to: string, flags: ConvertFlags) => {
      if (!endings.some((ending) => to.toLowerCase().endsWith(ending))) {
        throw new UsageError(`cannot write ${to}; expected a name that ends with ${endings.join(', ')}`);
      }
      const labels = flags.labels === undefined ? {} : { labels: await readLabels(flags.labels) };
      const read = await readFlagged(from, flags.raw);
      const size = flags.size === undefined ? {} : { size: flags.size };
      const weights = { ...read, ...rulesOf(read, flags), ...labels, ...size };
      checkSize(weights.arch, flags.size);
      if (flags.labels !== undefined && weights.labels?.length !== weights.classes) {
        throw new DataError(
          `${flags.labels}: ${weights.labels?.length} names; the weights have ${weights.classes ?? 'no'} classes`,
          { file: flags.labels },
        );
      }
      // What is written has to be readable: as a reader, hold options and size against the tensors.
      if (weights.classes !== undefined && (flags.size !== undefined || flags.archOption.length > 0)) {
        fromWeightFile(weights, { file: weights.file ?? from }).dispose();
      }
      if (to.toLowerCase().endsWith(onnx)) await convertToOnnx(to, weights, flags);
      else await writeWeights(to, weights);
      if (flags.json) print(jsonOf(from, to, weights));
      else printFor(from, to, weights);
    });
}

/** Builds the network, whose computation an `.onnx` holds beside the weights. */
async function convertToOnnx(to: string, weights: WeightFile, flags: ConvertFlags): Promise<void> {
  const { classes, file = to } = weights;
  if (classes === undefined) {
    throw new DataError(`${file}: the file has no classifier; expected one, whose answers an .onnx gives`, {
      file,
    });
  }
  openFlagged(flags);
  using model = fromWeightFile(weights, { file });
  await writeOnnx(to, model, { outputs: [flags.logits ? 'logits' : 'probabilities'] });
}

/** The rules of the weights' source, or those of the flags. */
function rulesOf(
  weights: WeightFile,
  flags: ConvertFlags,
): Partial<Pick<WeightFile, 'options' | 'preprocessing'>> {
  const names = flags.archOption.map((text) => text.slice(0, text.indexOf('=')));
  const kept = Object.entries(weights.options).filter(([name]) => !names.includes(name));
  const given = names.length === 0 ? {} : variantOf(architecture(weights.arch).name, flags);
  // torchvision's network with this option takes what torchvision's transforms make of pixels.
  const transformed = given.transformInput === true ? 'imagenet' : undefined;
  const preprocessing = flags.preprocessing ?? transformed;
  return {
    options: { ...Object.fromEntries(kept), ...given },
    ...(preprocessing === undefined ? {} : { preprocessing }),
  };
}

function jsonOf(from: string, to: string, weights: WeightFile): object {
  const { file, source, arch, classes, preprocessing, options, tensors, matched } = weights;
  return {
    from: file ?? from,
    to,
    source,
    arch,
    classes: classes ?? null,
    preprocessing,
    options,
    tensors: tensors.size,
    ...(matched === undefined ? {} : { matched: matched.map(matchJson) }),
  };
}

const matchJson = ({ name, shape, source, sourceShape }: Match) => ({
  source,
  source_shape: sourceShape,
  name,
  shape,
});

function printFor(from: string, to: string, { file, source, arch, tensors, matched, ...rest }: WeightFile) {
  if (matched !== undefined) {
    const rows = matched.map((match) => [
      match.source,
      `[${match.sourceShape.join(', ')}]`,
      match.name,
      `[${match.shape.join(', ')}]`,
    ]);
    print(table([[`in the file (${source})`, 'shape', 'here', 'shape'], ...rows]));
    print('');
  }
  print(`${to}: ${tensors.size} tensors of ${arch} from ${file ?? from}`);
  const options = Object.entries(rest.options).map(([name, value]) => `${name} ${JSON.stringify(value)}`);
  print(`preprocessing ${rest.preprocessing}${options.length === 0 ? '' : `; ${options.join(', ')}`}`);
}
