// The networks by name, with what is known of them before they are built.

import { ArgumentError } from '../core/errors.ts';
import type { Module } from '../nn/module.ts';
import { xceptionNetwork } from './xception.ts';

/** Options that any network here takes. */
export interface NetworkOptions {
  readonly classes: number;
  /** Rate of the dropout before the classifier. */
  readonly dropout?: number;
  /** Share of the old running statistics that is kept at each step. */
  readonly batchNormMomentum?: number;
}

/** What is known of a network without building it. */
export interface Architecture {
  /** Name in files and on the command line. */
  readonly name: string;
  /** Edge of the input image in pixels that the paper uses. */
  readonly size: number;
  /** The smallest edge that every layer can take. */
  readonly minimumSize: number;
  build(options: NetworkOptions): Module;
}

export const architectures = {
  xception: { name: 'xception', size: 299, minimumSize: 71, build: xceptionNetwork },
} as const satisfies Record<string, Architecture>;

export type ArchitectureName = keyof typeof architectures;

/** Names that {@link architecture} knows. */
export const architectureNames = Object.keys(architectures) as readonly ArchitectureName[];

/** The entry of a network. Throws ArgumentError that lists the known names. */
export function architecture(name: string): Architecture {
  const found = (architectures as Record<string, Architecture>)[name];
  if (found === undefined) {
    throw new ArgumentError(`arch: expected ${architectureNames.join(' or ')}, got ${JSON.stringify(name)}`);
  }
  return found;
}
