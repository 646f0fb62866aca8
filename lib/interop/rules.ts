// What each program's network computes beside its weights, as options of ours, and which of ours another program can
// express. Builds no network.

import { CheckpointError } from '../core/errors.ts';

/** Programs whose files are written as theirs. */
export type Program = 'keras' | 'timm' | 'torchvision';

/** What makes probabilities of logits: of one class per image, or of each class by itself. */
export type Activation = 'softmax' | 'sigmoid';

/** How the program is called in messages. */
const titles = { keras: 'Keras', timm: 'timm', torchvision: 'torchvision' } as const;

/** Options by name, as the networks' tables have them (lib/models). */
type Options = Readonly<Record<string, unknown>>;

/** Options that change nothing that weights mean to another program. */
const harmless: readonly string[] = ['dropout', 'batchNormMomentum'];

/** Values of options that a network has by default, where programs differ in them. */
const defaults: Options = {
  samePadding: 'tensorflow',
  epsilon: 1e-3,
  unbiasedVariance: false,
  scale: false,
  countPadding: false,
  auxiliary: false,
  transformInput: false,
};

const torchInception = { scale: true, countPadding: true, unbiasedVariance: true } as const;

/** The options of each program's network that are not the defaults, and those that it leaves open. */
const own: Readonly<
  Record<Program, Readonly<Record<string, { options: Options; open: readonly string[] }>>>
> = {
  keras: {
    xception: { options: {}, open: [] },
    inception_v3: { options: {}, open: [] },
  },
  timm: {
    xception: {
      options: { samePadding: 'symmetric', epsilon: 1e-5, unbiasedVariance: true },
      open: [],
    },
    inception_v3: { options: torchInception, open: ['auxiliary'] },
  },
  torchvision: {
    inception_v3: { options: torchInception, open: ['auxiliary', 'transformInput'] },
  },
};

/** Options of the network that a file of this program is for; PyTorch keeps 0.9 of the running statistics. */
export function optionsOf(program: 'timm' | 'torchvision', arch: string): Options {
  return { ...own[program][arch]?.options, batchNormMomentum: 0.9 };
}

/**
 * Refuses to write weights for a program whose network by that name computes something else.
 * @throws CheckpointError `<PROGRAM>_WEIGHTS` naming each option that it does not have
 */
export function checkExpressible(
  file: string,
  program: Program,
  { arch, options }: { readonly arch: string; readonly options: Options },
): void {
  const refuse: (message: string) => never = (message) => {
    throw new CheckpointError(`${file}: ${titles[program]} has no ${message}; expected .safetensors`, {
      file,
      code: `${program.toUpperCase()}_WEIGHTS`,
    });
  };
  const network = own[program][arch];
  if (network === undefined) refuse(arch);
  const names = new Set([...Object.keys(network.options), ...Object.keys(options)]);
  const problems: string[] = [];
  for (const name of names) {
    if (harmless.includes(name) || network.open.includes(name)) continue;
    const got = options[name] ?? defaults[name];
    const has = network.options[name] ?? defaults[name];
    if (JSON.stringify(got) === JSON.stringify(has)) continue;
    const beside = has === undefined ? '' : ` (${titles[program]}: ${JSON.stringify(has)})`;
    problems.push(`${name}: ${JSON.stringify(got)}${beside}`);
  }
  if (problems.length > 0) refuse(`${arch} with ${problems.join(', ')}`);
}
