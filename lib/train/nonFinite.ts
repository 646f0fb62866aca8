// Where a training step first has a number that is not finite: the step is gone through op by op, and what each gives is
// checked on the device.

import { observing } from '../core/apply.ts';
import { showAval } from '../core/aval.ts';
import { isFloating } from '../core/dtype.ts';
import { OutOfMemoryError } from '../core/errors.ts';
import { scope } from '../core/scope.ts';
import { type Tensor, tensor } from '../core/tensor.ts';
import { currentNote } from '../core/traceState.ts';
import type { Batch } from '../data/batch.ts';
import { ops } from '../ops/index.ts';
import { castIfNeeded } from '../ops/shape.ts';
import type { TrainedValues } from './snapshot.ts';
import type { TrainingStep } from './step.ts';
import type { StepNumbers } from './stepInputs.ts';

/** Ends the search: what it has found. */
class Found extends Error {}

/** Whether all elements are finite. */
const allFinite = (x: Tensor): boolean =>
  scope(() => {
    const zero = tensor([0], [], { backend: x.backend });
    return ops.gradientGate(castIfNeeded(x, 'f32'), zero).skip.dataSync()[0] === 0;
  });

const isChecked = ({ dtype }: Tensor): boolean => isFloating(dtype) && dtype !== 'f64';

/**
 * Names the first tensor of a step that is not finite, in the order in which they are used and made: images, weights, what
 * the ops of the forward and of the backward pass give. Changes nothing.
 * @param batches of the step, with their numbers
 */
export function firstNonFinite(
  step: TrainingStep,
  { model }: TrainedValues,
  batches: readonly (readonly [Batch, StepNumbers])[],
): string {
  for (const [{ images }] of batches) {
    if (images instanceof Float32Array && !images.every(Number.isFinite)) return 'the images of the batch';
  }
  for (const [name, value] of model.network.state()) if (!allFinite(value)) return `the weight ${name}`;
  try {
    for (const [batch, numbers] of batches) {
      observing(
        (op, inputs, outputs) => {
          outputs.forEach((output, i) => {
            if (!isChecked(output) || allFinite(output)) return;
            const note = currentNote();
            const where = note === undefined ? '' : ` in ${note}`;
            const which = outputs.length === 1 ? '' : `, ${op.outputs[i]}`;
            const from = inputs.map(({ aval }) => showAval(aval)).join(', ');
            throw new Found(
              `the result of ${op.name}${where}${which}: ${showAval(output.aval)} from ${from}`,
            );
          });
        },
        () => step.look(batch, numbers),
      );
    }
  } catch (error) {
    if (error instanceof Found) return error.message;
    if (error instanceof OutOfMemoryError) return 'not found: there is too little memory to look for it';
    throw error;
  }
  return 'not found: op by op, everything is finite';
}
