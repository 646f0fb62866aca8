// Tests that cannot run here: left out in print, never in silence.

import type { Context } from 'mocha';

/** Skips the test, or in a `before` hook those that follow, and prints why. */
export function skip(context: Context, reason: string): never {
  const title = context.test?.fullTitle() ?? context.currentTest?.fullTitle() ?? 'a test';
  process.stderr.write(`skipped, ${title}: ${reason}\n`);
  return context.skip();
}
