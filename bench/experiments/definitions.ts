// The experiments in which networks are trained against each other: which variants, and what the paper found.

import type { OptionValue } from '../../lib/index.ts';
import type { ExperimentName } from './paper.ts';

/** A network that takes part. */
export interface Variant {
  /** In paths and results. */
  readonly id: string;
  /** In tables and curves. */
  readonly label: string;
  readonly arch: 'xception' | 'inception_v3';
  readonly options: Readonly<Record<string, OptionValue>>;
}

const xception = (id: string, label: string, options: Variant['options'] = {}): Variant => ({
  id,
  label,
  arch: 'xception',
  options,
});

/** The experiments that train. The first variant is the one that the paper found best. */
export const trainings = {
  figure6: [
    xception('xception', 'Xception'),
    { id: 'inception-v3', label: 'Inception V3', arch: 'inception_v3', options: {} },
  ],
  figure9: [
    xception('residual', 'with residual connections'),
    xception('no-residual', 'without residual connections', { residual: false }),
  ],
  figure10: [
    xception('none', 'no activation'),
    xception('relu', 'ReLU', { intermediateActivation: 'relu' }),
    xception('elu', 'ELU', { intermediateActivation: 'elu' }),
  ],
} as const satisfies Readonly<Partial<Record<ExperimentName, readonly Variant[]>>>;

export type TrainingName = keyof typeof trainings;

export const isTraining = (name: ExperimentName): name is TrainingName => name in trainings;
