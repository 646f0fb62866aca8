// The devices that tests run on: `reference` always; `cpu`, and `cudasim`, the CUDA backend simulated on the CPU, where
// the native build is there; `cuda` where there is a GPU. A skipped one is printed, and REQUIRE_DEVICES=cpu,cudasim makes it
// a failure; DEVICES=cuda leaves the others out.

import type { Backend } from '../../lib/backend/backend.ts';
import { openDevice } from '../../lib/backend/devices.ts';
import { loadAddon, pluginPath } from '../../lib/backend/load.ts';
import { NativeBackend } from '../../lib/backend/native.ts';
import { LoadError } from '../../lib/core/errors.ts';
import { chosenDevices } from './chosen.ts';

const required = (process.env.REQUIRE_DEVICES ?? '').split(',').filter((name) => name !== '');

/** Whether REQUIRE_DEVICES names this device: what needs it may not be skipped. */
export const isRequired = (name: string): boolean => required.includes(name);

/**
 * The device with fp32 as `precision: 'auto'`, which on a GPU would be bf16: tests compare devices, and ask for 16 bits by
 * name.
 */
function inFp32(backend: Backend): Backend {
  const others = backend.computeTypes.filter((type) => type !== 'f32');
  return Object.assign(backend, { computeTypes: ['f32', ...others] });
}

/** A device whose every buffer has memory of its own: AddressSanitizer then sees a kernel that leaves its operands. */
function openUncached(name: string): Backend {
  const [kind = '', ordinal = '0'] = name.split(':');
  const full = kind === 'cpu' ? kind : `${kind}:${ordinal}`;
  return new NativeBackend(loadAddon().addon, pluginPath(kind), full, {
    ordinal: Number(ordinal),
    uncached: true,
  });
}

/** Opens a device, or prints why it is left out. */
function tryDevice(name: string): Backend[] {
  try {
    return [inFp32(process.env.UNCACHED === '1' ? openUncached(name) : openDevice(name))];
  } catch (error) {
    if (!(error instanceof LoadError) || isRequired(name.split(':')[0] as string)) throw error;
    process.stderr.write(`device ${name} skipped: ${error.message.split('\n')[0]}\n`);
    return [];
  }
}

/** The oracle. */
export const reference: Backend = openDevice('reference');

/** The devices compared with it: those that are there. */
export const devices: readonly Backend[] = chosenDevices.flatMap(tryDevice);

/**
 * Those for tests of whole networks: without the simulation, where one step of Xception takes many minutes. What it is
 * there for, kernels and how programs run them, is tested with single ops and small programs.
 */
export const networkDevices: readonly Backend[] = devices.filter(({ name }) => !name.startsWith('cudasim'));

/**
 * The same for tests of single ops, which run on the simulation in all orders of threads: ascending, descending and
 * shuffled. A kernel whose result depends on the order lacks a barrier.
 */
export const opDevices: readonly Backend[] = [
  ...devices,
  ...(devices.some(({ name }) => name.startsWith('cudasim')) ? ['cudasim:1', 'cudasim:2'] : []).flatMap(
    tryDevice,
  ),
];
