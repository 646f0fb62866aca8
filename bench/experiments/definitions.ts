// The experiments in which networks are trained against each other: which variants, and what they are called there.

import type { OptionValue } from '../../lib/index.ts';
import type { ExperimentName } from './paper.ts';

/** A network that takes part. */
export interface Variant {
  /**
   * In paths and results. A network has the same one in every experiment: it is trained once for each seed, and all
   * experiments read that run.
   */
  readonly id: string;
  /** In tables and curves of one experiment. */
  readonly label: string;
  readonly arch: 'xception' | 'inception_v3';
  readonly options: Readonly<Record<string, OptionValue>>;
}

/** Figure 5 of the paper: no option is set. */
const plain = (label: string): Variant => ({ id: 'xception', label, arch: 'xception', options: {} });

const variant = (id: string, label: string, options: Variant['options']): Variant => ({
  id: `xception-${id}`,
  label,
  arch: 'xception',
  options,
});

/** The experiments that train. The first variant is the one that the paper found best. */
export const trainings = {
  figure6: [
    plain('Xception'),
    { id: 'inception-v3', label: 'Inception V3', arch: 'inception_v3', options: {} },
  ],
  figure9: [
    plain('with residual connections'),
    variant('no-residual', 'without residual connections', { residual: false }),
  ],
  figure10: [
    plain('no activation'),
    variant('relu', 'ReLU', { intermediateActivation: 'relu' }),
    variant('elu', 'ELU', { intermediateActivation: 'elu' }),
  ],
} as const satisfies Readonly<Partial<Record<ExperimentName, readonly Variant[]>>>;

export type TrainingName = keyof typeof trainings;

export const isTraining = (name: ExperimentName): name is TrainingName => name in trainings;
