// Every kernel of the reference backend, by the name of its op.

import { batchNormKernels } from './batchNorm.ts';
import { conv2dKernels } from './conv2d.ts';
import { dropoutKernels } from './dropout.ts';
import { elementwiseKernels } from './elementwise.ts';
import { fusedKernels } from './fused.ts';
import { gradientGateKernels } from './gradientGate.ts';
import { imagesKernels } from './images.ts';
import type { Kernel } from './kernel.ts';
import { linearKernels } from './linear.ts';
import { lossKernels } from './loss.ts';
import { lossScaleKernels } from './lossScale.ts';
import { poolKernels } from './pool.ts';
import { shapeKernels } from './shape.ts';
import { updateKernels } from './update.ts';

export const kernels: ReadonlyMap<string, Kernel> = new Map(
  Object.entries<Kernel>({
    ...conv2dKernels,
    ...batchNormKernels,
    ...elementwiseKernels,
    ...poolKernels,
    ...linearKernels,
    ...shapeKernels,
    ...dropoutKernels,
    ...lossKernels,
    ...imagesKernels,
    ...updateKernels,
    ...lossScaleKernels,
    ...gradientGateKernels,
    ...fusedKernels,
  }),
);
