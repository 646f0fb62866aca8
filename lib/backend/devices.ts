// Devices by name: `auto`, `cpu`, `cuda`, `cuda:1`, `reference`. One backend per name and set of options, opened once.

import { ArgumentError, DepthwiseError, LoadError } from '../core/errors.ts';
import type { Backend } from './backend.ts';
import { hasGpuOnBus } from './cuda/fixes.ts';
import { openCuda } from './cuda/open.ts';
import { thisMachine } from './cuda/system.ts';
import { openNative } from './native.ts';
import { openReference } from './reference/index.ts';

/** Options of a device; all optional. */
export interface DeviceOptions {
  /** CPU threads; default: the cores this process may use. */
  readonly threads?: number;
  /** Only algorithms that give the same bits every time. */
  readonly deterministic?: boolean;
  /** GPU: products of fp32 numbers may be rounded to TF32, which is faster and keeps 10 bits of each factor. Default false. */
  readonly allowTf32?: boolean;
  /**
   * Told in one line why `auto` is the CPU. Default: a warning of the process (`DEPTHWISE_CPU`), where there is a GPU
   * that is passed over.
   */
  readonly onNotice?: (line: string) => void;
}

interface Opened {
  readonly backend: Backend;
  /** Why `auto` is the CPU. */
  readonly refusal?: DepthwiseError;
}

const opened = new Map<string, Opened>();

const pattern = /^(auto|cpu|reference|(cuda|cudasim)(?::(\d+))?)$/;

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
  if (name === 'cuda') return openDevice('cuda:0', options);
  const { threads = '', deterministic = false, allowTf32 = false } = options;
  const key = [name, threads, deterministic, allowTf32].join('|');
  const known = opened.get(key);
  const device = known ?? open(name, Number(match[3] ?? 0), options);
  opened.set(key, device);
  if (device.refusal !== undefined) tell(device.refusal, options, known !== undefined);
  return device.backend;
}

/** Says why a GPU is not used, as doctor does, in one line. */
function tell(refusal: DepthwiseError, { onNotice }: DeviceOptions, again: boolean): void {
  const { code } = refusal;
  const { reason, fixes } =
    refusal instanceof LoadError ? refusal : { reason: refusal.message.split('\n')[0], fixes: [] };
  const choice = fixes.length === 1 ? '' : ' one of';
  const mending = fixes.length === 0 ? '' : `; mend it with${choice}: ${fixes.join(' · ')}`;
  const line = `device: cpu; cuda: not used: ${reason} (${code})${mending}`;
  if (onNotice !== undefined) onNotice(line);
  else if (!again && passesOverGpu(code)) {
    process.emitWarning(line, { type: 'DepthwiseWarning', code: 'DEPTHWISE_CPU' });
  }
}

/** Whether there is a GPU: where there is none, the CPU is no news to a program that asked for whatever there is. */
const passesOverGpu = (code: string): boolean =>
  code === 'NO_DRIVER' ? hasGpuOnBus(thisMachine()) : code !== 'NO_DEVICE';

function open(name: string, ordinal: number, given: DeviceOptions): Opened {
  const { onNotice: _, ...options } = given;
  if (name === 'reference') return { backend: openReference() };
  if (name === 'cpu') return { backend: openNative('cpu', options) };
  if (name.startsWith('cudasim')) return { backend: openNative('cudasim', { ...options, ordinal }) };
  if (name !== 'auto') return { backend: openCuda({ ...options, ordinal }) };
  try {
    return { backend: openDevice('cuda:0', options) };
  } catch (error) {
    // A mistake in the options is found again by the CPU.
    if (!(error instanceof DepthwiseError)) throw error;
    return { backend: openDevice('cpu', options), refusal: error };
  }
}

/** Disposes of every open device. Tensors on them are gone. */
export function closeDevices(): void {
  const backends = new Set([...opened.values()].map(({ backend }) => backend));
  opened.clear();
  for (const backend of backends) backend.dispose();
}
