// Help for the tests of the native module: the fake backend, programs as plain numbers, errors by their code.

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import type { NativeDeviceOptions } from '../../lib/backend/addon.ts';
import { loadAddon } from '../../lib/backend/load.ts';
import { payloadVersion } from '../../lib/core/program.ts';

export const { addon, folder } = loadAddon();

/** The plug-in of native/test/fake_backend.cc, which says what its ops do. */
export const fakePath = join(folder, 'libdepthwise_fake.so');
export const addonPath = join(folder, 'depthwise.node');

export const codes = addon.opTable();

/** Opens a device of the fake backend for one test body and closes it; `threads` are its MiB of memory. */
export async function withFake(
  body: (device: number) => void | Promise<void>,
  options: NativeDeviceOptions = {},
): Promise<void> {
  const device = addon.openDevice(fakePath, options);
  try {
    await body(device);
  } finally {
    addon.closeDevice(device);
  }
}

export interface PayloadValue {
  readonly shape: readonly number[];
  readonly dtype?: number;
  /** In the arena; absent for values that come with each run. */
  readonly offset?: number;
}

export interface PayloadInstruction {
  readonly op: string;
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  readonly attributes?: readonly number[];
}

/** A payload as encodeProgram makes it, but from anything, right or wrong. */
export function payload(program: {
  values: readonly PayloadValue[];
  inputs: readonly number[];
  outputs: readonly number[];
  instructions: readonly PayloadInstruction[];
  /** Value, position of the input that it is a part of, offset there. */
  parts?: readonly (readonly [number, number, number])[];
  arenaBytes?: number;
}): Float64Array {
  const { values, inputs, outputs, instructions, parts = [], arenaBytes = 0 } = program;
  const counts = [values, inputs, outputs, instructions, parts].map(({ length }) => length);
  const numbers = [payloadVersion, ...counts, arenaBytes];
  for (const { shape, dtype = 0, offset = -1 } of values) numbers.push(dtype, shape.length, ...shape, offset);
  numbers.push(...inputs, ...outputs, ...parts.flat());
  for (const { op, inputs: from, outputs: to, attributes = [] } of instructions) {
    numbers.push(
      codes[op] ?? Number.NaN,
      from.length,
      to.length,
      attributes.length,
      ...from,
      ...to,
      ...attributes,
    );
  }
  return Float64Array.from(numbers);
}

/** One op on `inputs` vectors of `length` f32, giving one such vector. */
export function single(
  op: string,
  inputs: number,
  length: number,
  attributes: readonly number[] = [],
): Float64Array {
  const ids = Array.from({ length: inputs }, (_, i) => i);
  return payload({
    values: Array.from({ length: inputs + 1 }, () => ({ shape: [length] })),
    inputs: ids,
    outputs: [inputs],
    instructions: [{ op, inputs: ids, outputs: [inputs], attributes }],
  });
}

export const bytesOf = (numbers: readonly number[]): Uint8Array =>
  new Uint8Array(Float32Array.from(numbers).buffer);

export const floatsOf = (bytes: Uint8Array): number[] => [
  ...new Float32Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength / 4),
];

/** A new buffer holding these f32 numbers. */
export function upload(device: number, numbers: readonly number[]): number {
  const buffer = addon.allocate(device, numbers.length * 4);
  addon.write(device, buffer, bytesOf(numbers));
  return buffer;
}

export const download = (device: number, buffer: number, length: number): number[] =>
  floatsOf(addon.readSync(device, buffer, length * 4));

/** The `code` of the error that `call` throws or rejects with; `none` where it does neither. */
export async function codeOf(call: () => unknown): Promise<string> {
  try {
    await call();
    return 'none';
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : `untyped: ${String(error)}`;
  }
}

/** Runs CommonJS code in a process of its own, where `addon` and `fakePath` are what they are here. */
export function runProcess(
  code: string,
): Promise<{ status: number | string; output: string; seconds: number }> {
  const started = performance.now();
  const script = `const addon = require(${JSON.stringify(addonPath)});
    const fakePath = ${JSON.stringify(fakePath)};
    ${code}`;
  return new Promise((resolve) => {
    execFile(process.execPath, ['-e', script], { timeout: 60000 }, (error, stdout, stderr) => {
      const status = error === null ? 0 : (error.signal ?? error.code ?? 'unknown');
      resolve({ status, output: stdout + stderr, seconds: (performance.now() - started) / 1000 });
    });
  });
}
