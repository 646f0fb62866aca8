// Leak reports: a tensor that the garbage collector finds before anyone disposed of it is counted and warned of, once.
// Nothing is freed here: when memory returns must not depend on the collector.

import { type Aval, showAval } from './aval.ts';

let leaked = 0;

const registry = new FinalizationRegistry<Aval>((a) => {
  leaked += 1;
  if (leaked === 1) {
    process.emitWarning(
      `a tensor ${showAval(a)} was dropped without dispose(); use scope(), "using" or dispose(). Reported once.`,
      { type: 'DepthwiseLeak' },
    );
  }
});

/** Watches an object that no scope owns. */
export const reportIfLeaked = (object: object, a: Aval): void => registry.register(object, a, object);

/** The object was disposed of as it should be, or has an owner now. */
export const settled = (object: object): void => {
  registry.unregister(object);
};

/** How many tensors were dropped without being disposed of. */
export const leakedTensors = (): number => leaked;
