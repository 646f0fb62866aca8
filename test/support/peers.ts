// Live peers: the scripts of scripts/peers in the Python that DEPTHWISE_PYTHON names (default: python3). Where a package is
// missing, tests say so and are left out.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Context } from 'mocha';
import { skip } from './skip.ts';

const folder = fileURLToPath(new URL('../../scripts/peers/', import.meta.url));
const python = process.env.DEPTHWISE_PYTHON ?? 'python3';

/** The status with which the scripts say that a package is missing. */
const missingPackage = 69;

/** Runs a script to its end; skips the test where it cannot. Throws where the script fails. */
export function runPeer(context: Context, script: string, ...args: readonly string[]): void {
  const { status, error, stderr } = spawnSync(python, [folder + script, ...args], { encoding: 'utf8' });
  if (error !== undefined) skip(context, `${python}: ${error.message}`);
  if (status === missingPackage) skip(context, stderr.trim().split('\n').at(-1) ?? python);
  if (status !== 0) throw new Error(`${script} ended with ${status}: ${stderr.trim().slice(-2000)}`);
}
