// `convert`: weights from one format into another, by the files' endings.

import { Command, Option } from 'commander';
import {
  type Activation,
  architecture,
  type Backend,
  DataError,
  fittedToSize,
  fromWeightFile,
  type Match,
  preprocessings,
  type WeightFile,
  withoutAuxiliary,
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
import { print, say, table } from './output.ts';
import { readFlagged, readLabels } from './weights.ts';

interface ConvertFlags extends CommonFlags, VariantFlags {
  readonly raw: boolean;
  readonly preprocessing?: string;
  readonly labels?: string;
  readonly size?: number;
  readonly activation?: Activation;
  readonly logits: boolean;
}

const onnx = '.onnx';
const endings: readonly string[] = [...writableEndings, onnx];

/** Endings of files that can keep what a flag says; in others it would be lost without a word. */
const keptIn = {
  labels: ['.safetensors', onnx],
  size: ['.safetensors', onnx],
  activation: ['.safetensors', onnx],
  preprocessing: ['.safetensors', '.timm.safetensors', '.torchvision.safetensors', onnx],
  logits: [onnx],
} as const satisfies Partial<Record<keyof ConvertFlags, readonly string[]>>;

/** What the arguments alone show to be wrong. @throws UsageError */
function checkUsage(to: string, flags: ConvertFlags): void {
  const fitting = endings.filter((ending) => to.toLowerCase().endsWith(ending));
  const ending = fitting.reduce((longest, next) => (next.length > longest.length ? next : longest), '');
  if (ending === '') {
    throw new UsageError(`cannot write ${to}; expected a name that ends with ${endings.join(', ')}`);
  }
  for (const [flag, kept] of Object.entries(keptIn)) {
    const given = flags[flag as keyof typeof keptIn];
    if (given === undefined || given === false || kept.some((one) => one === ending)) continue;
    throw new UsageError(
      `--${flag} is not kept in a file ${ending}; expected ${kept.join(', ')}, or no --${flag}`,
    );
  }
}

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
    .addOption(
      new Option(
        '--activation <name>',
        'what makes probabilities of logits (default: what the weights say, else softmax)',
      ).choices(['softmax', 'sigmoid']),
    )
    .option('--size <pixels>', 'edge of the images (default: what the weights say)', integer(1))
    .option('--logits', 'to .onnx: logits in place of probabilities', false)
    .action(async (from: string, to: string, flags: ConvertFlags) => {
      checkUsage(to, flags);
      // Before any network is built, which would open `auto`: the CPU, unless a device is named.
      const backend = openFlagged(flags.device === 'auto' ? { ...flags, device: 'cpu' } : flags);
      const weights = await converted(from, flags);
      if (to.toLowerCase().endsWith(onnx)) await convertToOnnx(to, weights, backend, flags);
      else await writeWeights(to, weights);
      if (flags.json) print(jsonOf(from, to, weights));
      else printFor(from, to, weights);
    });
}

/** The weights with what the flags say of them. */
async function converted(from: string, flags: ConvertFlags): Promise<WeightFile> {
  const labels = flags.labels === undefined ? {} : { labels: await readLabels(flags.labels) };
  const read = await readFlagged(from, flags.raw);
  checkSize(read.arch, flags.size);
  const ruled: WeightFile = {
    ...read,
    ...rulesOf(read, flags),
    ...labels,
    ...(flags.size === undefined ? {} : { size: flags.size }),
    ...(flags.activation === undefined ? {} : { activation: flags.activation }),
  };
  const { size = architecture(read.arch).size } = ruled;
  const unwanted = read.options.auxiliary === true && ruled.options.auxiliary !== true;
  const weights = unwanted ? withoutAuxiliary(ruled) : fittedToSize(ruled, size);
  if (weights !== ruled) {
    const why = unwanted ? 'as asked' : `images of ${size} pixels are too small for it`;
    say(`the classifier at the side (auxiliary) is left out, ${why}; it is only for training`);
  }
  if (flags.labels !== undefined && weights.labels?.length !== weights.classes) {
    throw new DataError(
      `${flags.labels}: ${weights.labels?.length} names; the weights have ${weights.classes ?? 'no'} classes`,
      { file: flags.labels },
    );
  }
  // What is written has to be readable: as a reader, hold options and size against the tensors.
  if (weights.classes !== undefined) fromWeightFile(weights, { file: weights.file ?? from }).dispose();
  return weights;
}

/** Builds the network, whose computation an `.onnx` holds beside the weights. */
async function convertToOnnx(
  to: string,
  weights: WeightFile,
  backend: Backend,
  flags: ConvertFlags,
): Promise<void> {
  const { classes, file = to } = weights;
  if (classes === undefined) {
    throw new DataError(`${file}: the file has no classifier; expected one, whose answers an .onnx gives`, {
      file,
    });
  }
  using model = fromWeightFile(weights, { file });
  model.to(backend);
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
  const { file, source, arch, classes, size, activation, preprocessing, options, tensors, matched } = weights;
  return {
    from: file ?? from,
    to,
    source,
    arch,
    classes: classes ?? null,
    size: size ?? null,
    activation: activation ?? 'softmax',
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
  const { preprocessing, size, activation = 'softmax' } = rest;
  const options = Object.entries(rest.options).map(([name, value]) => `${name} ${JSON.stringify(value)}`);
  const pixels = size === undefined ? [] : [`${size} pixels`];
  print([`preprocessing ${preprocessing}`, ...pixels, activation, ...options].join('; '));
}
