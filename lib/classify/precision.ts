// Precision by name: what a user asks for, and the type of number that a device then computes in.

import type { Backend } from '../backend/backend.ts';
import type { ComputeType } from '../core/dtype.ts';
import { ArgumentError, UnsupportedError } from '../core/errors.ts';

/**
 * What networks are computed in. With `bf16` and `fp16` the activations, their gradients and the kernels that they are
 * multiplied with are in 16 bits; weights, the optimizer's state, statistics, sums, logits and losses stay in fp32.
 * `auto`: fp32 on a CPU; on a GPU bf16 from compute capability 8.0 on, else fp32.
 */
export type Precision = 'auto' | 'fp32' | 'bf16' | 'fp16';

const types = { fp32: 'f32', bf16: 'bf16', fp16: 'f16' } as const satisfies Record<string, ComputeType>;
const names = { f32: 'fp32', bf16: 'bf16', f16: 'fp16' } as const satisfies Record<ComputeType, Precision>;

/** All of {@link Precision}. */
export const precisions: readonly Precision[] = ['auto', 'fp32', 'bf16', 'fp16'];

/** The name of what a type computes in. */
export const precisionOf = (type: ComputeType): Exclude<Precision, 'auto'> => names[type];

/**
 * The type that a backend computes in when it is asked for a precision. Default `auto`.
 * @throws ArgumentError for a name that is none; UnsupportedError for one that the backend does not have
 */
export function computeTypeOf(precision: Precision = 'auto', { name, computeTypes }: Backend): ComputeType {
  if (!precisions.includes(precision)) {
    throw new ArgumentError(
      `precision: expected one of ${precisions.join(', ')}, got ${JSON.stringify(precision)}`,
    );
  }
  const type = precision === 'auto' ? (computeTypes[0] ?? 'f32') : types[precision];
  if (computeTypes.includes(type)) return type;
  const accepted = ['auto', ...computeTypes.map(precisionOf)];
  const last = accepted.pop();
  throw new UnsupportedError(
    `precision: ${name} does not compute in ${precision}; expected ${accepted.join(', ')} or ${last}`,
  );
}
