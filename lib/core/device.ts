// The default backend: where tensors without a device of their own are made.

import type { Backend } from '../backend/backend.ts';
import { openDevice } from '../backend/devices.ts';

let chosen: Backend | undefined;

/** The backend in force: the one set, else the device `auto`, opened at first use. */
export function defaultBackend(): Backend {
  chosen ??= openDevice('auto');
  return chosen;
}

/** Makes `backend` the default for tensors made from now on; undefined: `auto` again. */
export function setDefaultBackend(backend: Backend | undefined): void {
  chosen = backend;
}

/** Runs a synchronous `body` with another default backend. */
export function withBackend<T>(backend: Backend, body: () => T): T {
  const outer = chosen;
  chosen = backend;
  try {
    return body();
  } finally {
    chosen = outer;
  }
}
