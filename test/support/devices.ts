// The devices that tests run on: `reference` always, `cpu` where the native build is there. A skipped one is printed,
// and REQUIRE_DEVICES=cpu makes it a failure.

import type { Backend } from '../../lib/backend/backend.ts';
import { openDevice } from '../../lib/backend/devices.ts';
import { LoadError } from '../../lib/core/errors.ts';

const required = (process.env.REQUIRE_DEVICES ?? '').split(',').filter((name) => name !== '');

/** Whether REQUIRE_DEVICES names this device: what needs it may not be skipped. */
export const isRequired = (name: string): boolean => required.includes(name);

/** Backends by name, in the order reference, cpu. */
function testDevices(): Map<string, Backend> {
  const found = new Map<string, Backend>();
  for (const name of ['reference', 'cpu']) {
    try {
      found.set(name, openDevice(name));
    } catch (error) {
      if (!(error instanceof LoadError) || isRequired(name)) throw error;
      process.stderr.write(`device ${name} skipped: ${error.message.split('\n')[0]}\n`);
    }
  }
  return found;
}

const opened = testDevices();

/** The oracle. */
export const reference: Backend = opened.get('reference') as Backend;

/** The devices compared with it: those that are there. */
export const devices: readonly Backend[] = [...opened.values()].filter((backend) => backend !== reference);
