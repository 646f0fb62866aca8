// Devices by name: `auto`, `cpu`, `cuda`, `cuda:1`, `reference`. One backend per name and set of options, opened once.

import { ArgumentError, LoadError } from '../core/errors.ts';
import type { Backend } from './backend.ts';
import { openNative } from './native.ts';
import { openReference } from './reference/index.ts';

/** Options of a device; all optional. */
export interface DeviceOptions {
  /** CPU threads; default: the cores this process may use. */
  readonly threads?: number;
  /** Only algorithms that give the same bits every time. */
  readonly deterministic?: boolean;
}

const opened = new Map<string, Backend>();

const pattern = /^(auto|cpu|reference|cudasim|cuda(?::(\d+))?)$/;

/** Whether `name` is a device name; it need not be present. */
export const isDeviceName = (name: string): boolean => pattern.test(name);

/**
 * Opens a device, or returns it if it is open with the same options.
 * `auto` is the GPU where there is a usable one, else the CPU, and never throws for want of a GPU; any other name is
 * that device or an error.
 * @throws ArgumentError for an unknown name; LoadError with a code where the device cannot be used
 */
export function openDevice(name: string, options: DeviceOptions = {}): Backend {
  const match = pattern.exec(name);
  if (match === null) {
    throw new ArgumentError(
      `device: expected auto, cpu, cuda, cuda:<n> or reference, got ${JSON.stringify(name)}`,
    );
  }
  const key = `${name}|${options.threads ?? ''}|${options.deterministic === true}`;
  const known = opened.get(key);
  if (known !== undefined) return known;
  const backend = open(name, match[2], options);
  opened.set(key, backend);
  return backend;
}

function open(name: string, ordinal: string | undefined, options: DeviceOptions): Backend {
  if (name === 'reference') return openReference();
  if (name === 'cpu') return openNative('cpu', options);
  if (name === 'auto') {
    try {
      return openNative('cuda', options);
    } catch (error) {
      if (!(error instanceof LoadError)) throw error;
      return openDevice('cpu', options);
    }
  }
  if (name === 'cudasim') return openNative('cudasim', options);
  return openNative('cuda', { ...options, ordinal: Number(ordinal ?? 0) });
}

/** Disposes of every open device. Tensors on them are gone. */
export function closeDevices(): void {
  const backends = new Set(opened.values());
  opened.clear();
  for (const backend of backends) backend.dispose();
}
