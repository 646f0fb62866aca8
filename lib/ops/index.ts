// The ops: the namespace `ops` for users, and the table for whoever handles ops as such.

import { registerCopyOp } from '../core/compile.ts';
import type { AnyOp } from '../core/op.ts';
import { registerFusions } from '../core/passes/pipeline.ts';
import { registerStructuralOps } from '../core/tape.ts';
import { add } from './elementwise.ts';
import { foldings, packings } from './foldings.ts';
import { fusions } from './fusions.ts';
import { fillBeside, reshapeOp } from './shape.ts';

export * as ops from './functions.ts';
export { allOps, type OpName, opTable } from './table.ts';

// Differentiation adds up cotangents and starts from a one; lib/core itself knows no op.
registerStructuralOps({ add, fillLike: (x, value) => fillBeside(x, x.shape, value) });

// A compiled function that returns one of its inputs copies it: a reshape to the same shape.
registerCopyOp(reshapeOp as AnyOp);

// Traced programs are rewritten by these.
registerFusions([...foldings, ...fusions, ...packings]);
