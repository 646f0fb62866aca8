// The ops: the namespace `ops` for users, and the table for whoever handles ops as such.

import { registerFlatOps } from '../core/flat.ts';
import type { AnyOp } from '../core/op.ts';
import { registerFusions } from '../core/passes/pipeline.ts';
import { registerCopyOp } from '../core/recorder.ts';
import { registerStructuralOps } from '../core/tape.ts';
import { add } from './elementwise.ts';
import { flatPart, flattenOp } from './flat.ts';
import { foldings, packings } from './foldings.ts';
import { fusions } from './fusions.ts';
import { fillBeside, reshapeOp } from './shape.ts';

export * as ops from './functions.ts';
export { allOps, type OpName, opTable } from './table.ts';

// Differentiation adds up cotangents and starts from a one; lib/core itself knows no op.
registerStructuralOps({ add, fillLike: (x, value) => fillBeside(x, x.shape, value) });

// A compiled function that returns one of its inputs copies it: a reshape to the same shape.
registerCopyOp(reshapeOp as AnyOp);

// Variables that lie in one block of memory.
registerFlatOps({ flatten: flattenOp as AnyOp, part: flatPart });

// Traced programs are rewritten by these.
registerFusions([...foldings, ...fusions, ...packings]);
