// The networks by name, with what is known of them before they are built.

import { ArgumentError } from '../core/errors.ts';
import type { Module } from '../nn/module.ts';
import { inceptionV3Network, inceptionV3Variant } from './inceptionV3.ts';
import { differing, type OptionKinds, type OptionsOf, type OptionValue, resolveOptions } from './options.ts';
import { separableVggNetwork } from './separableVgg.ts';
import { xceptionNetwork, xceptionVariant } from './xception.ts';

/** Options that any network here takes. */
export interface NetworkOptions {
  /** How many outputs. */
  readonly classes: number;
  /** Rate of the dropout before the classifier. */
  readonly dropout?: number;
  /** Share of the old running statistics that is kept at each step. */
  readonly batchNormMomentum?: number;
  /** Options of the network itself, as {@link Architecture.variant} lists them. */
  readonly variant?: Readonly<Record<string, unknown>>;
}

/** What is known of a network without building it. */
export interface Architecture {
  /** Name in files and on the command line. */
  readonly name: string;
  /** Edge of the input image in pixels that the paper uses. */
  readonly size: number;
  /** The smallest edge that every layer can take, with the default options. */
  readonly minimumSize: number;
  /** The options that only this network has. */
  readonly variant: OptionKinds;
  /**
   * Those of the given options that differ from the network's own.
   * @throws ArgumentError for an unknown name or a value that is not accepted
   */
  differing(variant: Readonly<Record<string, unknown>>): Record<string, OptionValue>;
  /** The smallest edge that every layer can take, with these options. @throws ArgumentError as `differing` */
  minimumSizeWith(variant: Readonly<Record<string, unknown>>): number;
  /** @throws ArgumentError as `differing` */
  build(options: NetworkOptions): Module;
}

/** An entry, from what is known of the network with its options resolved. */
function entry<K extends OptionKinds>(
  known: Pick<Architecture, 'name' | 'size' | 'minimumSize'> & {
    readonly variant: K;
    readonly sizeWith?: (variant: OptionsOf<K>) => number;
    readonly network: (options: Omit<NetworkOptions, 'variant'> & OptionsOf<K>) => Module;
  },
): Architecture {
  const { name, size, minimumSize, variant: kinds, sizeWith, network } = known;
  const resolve = (given: Readonly<Record<string, unknown>>) => resolveOptions(name, kinds, given);
  return {
    name,
    size,
    minimumSize,
    variant: kinds,
    differing: (given) => differing(kinds, resolve(given)),
    minimumSizeWith: (given) => sizeWith?.(resolve(given)) ?? minimumSize,
    build: ({ variant = {}, ...options }) => network({ ...options, ...resolve(variant) }),
  };
}

export const architectures = {
  xception: entry({
    name: 'xception',
    size: 299,
    minimumSize: 71,
    variant: xceptionVariant,
    network: (options) => (options.style === 'vgg' ? separableVggNetwork : xceptionNetwork)(options),
  }),
  inception_v3: entry({
    name: 'inception_v3',
    size: 299,
    minimumSize: 75,
    variant: inceptionV3Variant,
    // The classifier at the side reduces a grid of 17 x 17 to one element.
    sizeWith: ({ auxiliary }) => (auxiliary ? 299 : 75),
    network: inceptionV3Network,
  }),
} as const satisfies Record<string, Architecture>;

export type ArchitectureName = keyof typeof architectures;

/** Names that {@link architecture} knows. */
export const architectureNames = Object.keys(architectures) as readonly ArchitectureName[];

/** Whether {@link architecture} knows a name. */
export const isArchitectureName = (name: string): name is ArchitectureName =>
  Object.hasOwn(architectures, name);

/** The entry of a network. @throws ArgumentError that lists the known names */
export function architecture(name: string): Architecture {
  if (isArchitectureName(name)) return architectures[name];
  throw new ArgumentError(`arch: expected ${architectureNames.join(' or ')}, got ${JSON.stringify(name)}`);
}
