// Under which conditions an experiment trained, beside those of the paper.

import { percent, whole } from '../../lib/report/parts.ts';
import { paperConditions } from './paper.ts';
import { type Outcome, recipeFor, type TrainingSettings } from './runs.ts';

/** The recipe in words, under the paper's words for it. */
function recipeWords(settings: TrainingSettings): (readonly [string, string])[] {
  const recipe = recipeFor(settings.preset, 'xception', settings);
  const other = recipeFor(settings.preset, 'inception_v3', settings);
  const { optimizer, momentum, lr, schedule, warmup = 0, weightDecay = 0, dropout, polyak } = recipe;
  const rest = `augmentation ${recipe.augment ?? 'inception'}, label smoothing ${recipe.labelSmoothing ?? 0}`;
  return [
    [
      'optimizer',
      `${optimizer}${momentum === undefined ? '' : `, momentum ${momentum}`} (preset ${settings.preset})`,
    ],
    ['learning rate', `${lr}, ${schedule}${warmup > 0 ? `, rising over ${warmup} steps` : ''}`],
    [
      'weight decay',
      other.weightDecay === recipe.weightDecay
        ? String(weightDecay)
        : `${weightDecay} for Xception, ${other.weightDecay} for Inception V3`,
    ],
    ['dropout', `${dropout ?? 0.5}; ${rest}`],
    ['evaluation', polyak === 0 ? 'the weights themselves' : `Polyak average, decay ${polyak ?? 0.9999}`],
  ];
}

/** What a condition is called, what it was in the paper, and what it was here. */
export type Condition = readonly [words: string, paper: string, here: string];

/** The paper's conditions, each beside what it was here. */
export function conditionsOf(settings: TrainingSettings, outcomes: readonly Outcome[]): Condition[] {
  const [first] = outcomes;
  const here = new Map<string, string>([
    [
      'images',
      `${settings.data}: ${whole(first?.trainingImages)} images, ${first?.classes ?? '–'} classes` +
        (settings.fraction < 1 ? ` (${percent(settings.fraction, 0)} of each class)` : ''),
    ],
    ['validation', `${whole(first?.validationImages)} images`],
    ['image size', `${settings.size} pixels`],
    ['hardware', [...new Set(outcomes.map(({ device, precision }) => `${device}, ${precision}`))].join('; ')],
    ['images per step', String(settings.batch)],
    ['length', `${settings.epochs} epochs, ${whole((first?.stepsPerEpoch ?? 0) * settings.epochs)} steps`],
    ['seeds', [...new Set(outcomes.map(({ seed }) => seed))].sort((a, b) => a - b).join(', ')],
    ...recipeWords(settings),
  ]);
  return paperConditions.map(([words, paper]) => [words, paper, here.get(words) ?? '–']);
}
