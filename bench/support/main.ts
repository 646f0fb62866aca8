// The frame of a benchmark's program: an error is one line and exit code 1, not a stack.

import { exitCodeOf, messageOf } from '../../lib/cli/failure.ts';
import { say } from '../../lib/cli/output.ts';

/** Runs a program to its end. Sets the exit code; never throws. `DEPTHWISE_DEBUG=1` shows stacks. */
export async function runMain(name: string, program: () => Promise<void>): Promise<void> {
  try {
    await program();
  } catch (error) {
    const message = messageOf(error, process.env.DEPTHWISE_DEBUG === '1');
    if (message !== undefined) say(`${name}: ${message}`);
    process.exitCode = exitCodeOf(error);
  }
}
