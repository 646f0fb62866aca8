// The backend behind the native module: carries tensors and programs to a plug-in's device, and errors back.

import type { Aval } from '../core/aval.ts';
import type { ComputeType } from '../core/dtype.ts';
import {
  ArgumentError,
  DepthwiseError,
  DeviceError,
  DisposedError,
  LoadError,
  OutOfMemoryError,
  UnsupportedError,
} from '../core/errors.ts';
import type { AnyOp } from '../core/op.ts';
import { encodeProgram, type Program, programOfOne } from '../core/program.ts';
import type { NativeAddon, NativeDeviceOptions, NativeHandles } from './addon.ts';
import type { Backend, BackendMemory, BufferHandle, PreparedHandle, Support } from './backend.ts';
import { explainPlugin, loadAddon, pluginPath } from './load.ts';

/** Plug-ins that exist. `cudasim` is for tests. */
export type NativeKind = 'cpu' | 'cuda' | 'cudasim';

export interface NativeOptions {
  /** Threads that compute on `cpu`. Default: the plug-in's choice, the machine's cores. */
  readonly threads?: number;
  /** Only algorithms that give the same bits every time. Default false. */
  readonly deterministic?: boolean;
  /** Which device of its kind. Default 0. */
  readonly ordinal?: number;
  /** Bytes that the device may hold in all. Default: what the machine has. */
  readonly memoryLimit?: number;
  /** CUDA: TF32 in place of fp32 products. Default false. */
  readonly allowTf32?: boolean;
  /** CUDA: the folder where its libraries were found. */
  readonly libraryFolder?: string;
}

/**
 * What a device computes networks in, from its name and its facts. Tensor cores take bf16 from compute capability 8.0 on;
 * the simulation is a CPU, whose fp32 nothing surpasses. The CPU's kernels are for fp32: without special units, which
 * oneDNN alone would use, its bf16 is slower.
 */
export function computeTypesOf(name: string, details: Facts): readonly ComputeType[] {
  if (name === 'cpu') return ['f32'];
  if (name.startsWith('cudasim')) return ['f32', 'bf16', 'f16'];
  return Number(details.sm) >= 8 ? ['bf16', 'f32', 'f16'] : ['f32', 'f16'];
}

/** Facts about a device, for people. */
type Facts = Readonly<Record<string, string | number | boolean>>;

/**
 * Opens a device of a native backend; `found` are facts beside the device's own. Throws LoadError where the native module
 * or the plug-in cannot be loaded, and DeviceError where the device cannot be opened. For `cuda` the libraries have to be
 * open already: `openCuda` sees to that.
 */
export function openNative(kind: NativeKind, options: NativeOptions = {}, found: Facts = {}): NativeBackend {
  const { addon } = loadAddon();
  const name = kind === 'cpu' ? kind : `${kind}:${options.ordinal ?? 0}`;
  try {
    return new NativeBackend(addon, pluginPath(kind), name, options, found);
  } catch (error) {
    throw error instanceof LoadError && error.code === 'LOAD' ? explainPlugin(error) : error;
  }
}

/** Long lists of handles as a typed array: native code reads it in one go. */
const packed = (handles: readonly BufferHandle[]): NativeHandles =>
  handles.length > 16 ? Float64Array.from(handles) : handles;

/** A device of a native plug-in. Made by {@link openNative}; for one JavaScript thread. */
export class NativeBackend implements Backend {
  readonly name: string;
  readonly details: Facts;
  readonly computeTypes: readonly ComputeType[];
  readonly #addon: NativeAddon;
  readonly #device: number;
  readonly #codes: ReadonlyMap<string, number>;
  #disposed = false;

  /** `path` of the plug-in; `found` are details beside the device's own. */
  constructor(
    addon: NativeAddon,
    path: string,
    name: string,
    options: NativeDeviceOptions = {},
    found: Facts = {},
  ) {
    this.name = name;
    this.#addon = addon;
    this.#codes = new Map(Object.entries({ ...addon.opTable(), ...addon.cudnnOpTable() }));
    this.#device = translated(() => addon.openDevice(path, options));
    try {
      this.details = { ...facts(translated(() => addon.describe(this.#device))), ...found };
    } catch (error) {
      addon.closeDevice(this.#device);
      throw error;
    }
    this.computeTypes = computeTypesOf(name, this.details);
  }

  supports(op: AnyOp, inputs: readonly Aval[], attributes: unknown): Support {
    if (!this.#codes.has(op.name)) return { supported: false, reason: `${op.name} has no native code` };
    const program = programOfOne(op, attributes, inputs, op.infer(inputs, attributes));
    const reason = this.#call((addon, device) => addon.supports(device, this.#encode(program)));
    return reason === null ? { supported: true } : { supported: false, reason };
  }

  packedBytes(op: AnyOp, inputs: readonly Aval[], attributes: unknown): number | undefined {
    const payload = this.#encode(programOfOne(op, attributes, inputs, op.infer(inputs, attributes)));
    const bytes = this.#call((addon, device) => addon.packedBytes(device, payload));
    return bytes === 0 ? undefined : bytes;
  }

  allocate(bytes: number): BufferHandle {
    return this.#call((addon, device) => addon.allocate(device, bytes)) as BufferHandle;
  }

  part(buffer: BufferHandle, offset: number, bytes: number): BufferHandle {
    return this.#call((addon, device) => addon.part(device, buffer, offset, bytes)) as BufferHandle;
  }

  retain(buffer: BufferHandle): void {
    this.#call((addon, device) => addon.retain(device, buffer));
  }

  release(buffer: BufferHandle): void {
    this.#call((addon, device) => addon.release(device, buffer));
  }

  write(buffer: BufferHandle, bytes: Uint8Array): void {
    this.#call((addon, device) => addon.write(device, buffer, bytes));
  }

  async read(buffer: BufferHandle, bytes: number): Promise<Uint8Array> {
    try {
      return await this.#call((addon, device) => addon.read(device, buffer, bytes));
    } catch (error) {
      throw toTypedError(error);
    }
  }

  readSync(buffer: BufferHandle, bytes: number): Uint8Array {
    return this.#call((addon, device) => addon.readSync(device, buffer, bytes));
  }

  prepare(program: Program): PreparedHandle {
    return this.#call((addon, device) => addon.prepare(device, this.#encode(program))) as PreparedHandle;
  }

  run(prepared: PreparedHandle, inputs: readonly BufferHandle[], outputs: readonly BufferHandle[]): void {
    this.#call((addon, device) => addon.run(device, prepared, packed(inputs), packed(outputs)));
  }

  async profile(
    prepared: PreparedHandle,
    inputs: readonly BufferHandle[],
    outputs: readonly BufferHandle[],
  ): Promise<Float64Array> {
    try {
      const bytes = await this.#call((addon, device) =>
        addon.profile(device, prepared, packed(inputs), packed(outputs)),
      );
      return new Float64Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 8);
    } catch (error) {
      throw toTypedError(error);
    }
  }

  forget(prepared: PreparedHandle): void {
    this.#call((addon, device) => addon.forget(device, prepared));
  }

  async sync(): Promise<void> {
    try {
      await this.#call((addon, device) => addon.sync(device));
    } catch (error) {
      throw toTypedError(error);
    }
  }

  memory(): BackendMemory {
    return this.#call((addon, device) => addon.memory(device));
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    translated(() => this.#addon.closeDevice(this.#device));
  }

  #encode(program: Program): Float64Array {
    return encodeProgram(program, (name) => {
      const code = this.#codes.get(name);
      if (code === undefined) throw new UnsupportedError(`${name} on ${this.name}: it has no native code`);
      return code;
    });
  }

  #call<T>(call: (addon: NativeAddon, device: number) => T): T {
    if (this.#disposed) throw new DisposedError(`device ${this.name}: used after dispose`);
    return translated(() => call(this.#addon, this.#device));
  }
}

function translated<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw toTypedError(error);
  }
}

/** A native error as the class that its code stands for; any other error as it is. */
export function toTypedError(error: unknown): unknown {
  if (error instanceof DepthwiseError || !(error instanceof Error) || !('code' in error)) return error;
  const { code, message } = error;
  switch (code) {
    case 'ARGUMENT':
      return new ArgumentError(message);
    case 'UNSUPPORTED':
      return new UnsupportedError(message);
    case 'DISPOSED':
      return new DisposedError(message);
    case 'LOAD':
      return new LoadError(message, { cause: error });
    case 'OUT_OF_MEMORY':
      return new OutOfMemoryError(message, figuresOf(error));
    case 'DEVICE':
      return new DeviceError(message, { cause: error });
    case 'INTERNAL':
      return new DeviceError(message, { code: 'INTERNAL', cause: error });
    default:
      return error;
  }
}

function figuresOf(error: Error): { requested: number; free?: number; largest?: number } {
  const figure = (name: 'requested' | 'free' | 'largest'): number | undefined => {
    const value: unknown = Reflect.get(error, name);
    return typeof value === 'number' ? value : undefined;
  };
  const free = figure('free');
  const largest = figure('largest');
  return {
    requested: figure('requested') ?? 0,
    ...(free === undefined ? {} : { free }),
    ...(largest === undefined ? {} : { largest }),
  };
}

/** The plug-in's JSON, without anything that is not a plain fact. */
function facts(json: string): Record<string, string | number | boolean> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch (error) {
    throw new DeviceError(
      `the backend describes itself in something that is not JSON: ${json.slice(0, 80)}`,
      {
        cause: error,
      },
    );
  }
  const result: Record<string, string | number | boolean> = {};
  if (parsed === null || typeof parsed !== 'object') return result;
  for (const [name, value] of Object.entries(parsed)) {
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
      result[name] = value;
  }
  return result;
}
