// Signals: the first stops a command where nothing is lost, the second at once.

import { Interrupted } from './failure.ts';
import { say } from './output.ts';

/**
 * Turns SIGINT and SIGTERM into an abort, until released; a second one ends the process at once.
 * @param stopping what the command says it is doing, for example 'stopping after this step'
 */
export function interruptible(stopping: string): { signal: AbortSignal; release: () => void } {
  const controller = new AbortController();
  const stop = (name: 'SIGINT' | 'SIGTERM') => {
    const reason = new Interrupted(name);
    if (controller.signal.aborted) process.exit(reason.exitCode);
    say(`${name}: ${stopping}; once more to stop at once`);
    controller.abort(reason);
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  return {
    signal: controller.signal,
    release: () => {
      process.off('SIGINT', stop);
      process.off('SIGTERM', stop);
    },
  };
}
