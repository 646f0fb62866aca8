// NativeBackend: the backend contract over the native module, with the errors of lib/core.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { BufferHandle } from '../../lib/backend/backend.ts';
import { NativeBackend, openNative } from '../../lib/backend/native.ts';
import { aval } from '../../lib/core/aval.ts';
import {
  ArgumentError,
  DeviceError,
  DisposedError,
  LoadError,
  OutOfMemoryError,
  UnsupportedError,
} from '../../lib/core/errors.ts';
import { type AnyOp, defineOp } from '../../lib/core/op.ts';
import { programOfOne } from '../../lib/core/program.ts';
import { skip } from '../support/skip.ts';
import { addon, bytesOf, fakePath, floatsOf, folder } from './support.ts';

/** An op with one f32 input and output of the same shape, whose attributes are its numbers. */
const unary = (name: string): AnyOp =>
  defineOp<unknown>()({
    name,
    inputs: ['x'],
    outputs: ['y'],
    infer: ([x]) => (x === undefined ? [] : [x]),
    encode: (attributes) => (Array.isArray(attributes) ? attributes.map(Number) : []),
    vjp: { none: 'only for this test' },
  });

const four = aval([4], 'f32');
const programOf = (name: string, attributes: readonly number[] = []) =>
  programOfOne(unary(name), attributes, [four], [four]);

const rejection = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('NativeBackend', () => {
  let backend: NativeBackend;
  beforeEach(() => {
    backend = new NativeBackend(addon, fakePath, 'fake', { memoryLimit: 1 << 26 });
  });
  afterEach(() => backend.dispose());

  const upload = (numbers: readonly number[]): BufferHandle => {
    const buffer = backend.allocate(numbers.length * 4);
    backend.write(buffer, bytesOf(numbers));
    return buffer;
  };

  it('describes itself', () => {
    expect(backend.name).to.equal('fake');
    expect(backend.details).to.deep.include({ library: 'none', simulated: true });
  });

  it('runs a program, reads with and without waiting', async () => {
    const x = upload([1, 2, 3, 4]);
    const y = backend.allocate(16);
    const prepared = backend.prepare(programOf('scale', [3]));
    backend.run(prepared, [x], [y]);
    expect(floatsOf(await backend.read(y, 16))).to.deep.equal([3, 6, 9, 12]);
    expect(floatsOf(backend.readSync(y, 8))).to.deep.equal([3, 6]);
    backend.forget(prepared);
    await backend.sync();
    expect(backend.memory()).to.include({ buffers: 2, live: 128, arena: 0 });
  });

  it('has nothing to pack where the plug-in does not say', () => {
    expect(backend.packedBytes(unary('scale'), [four], [1])).to.equal(undefined);
    expect(() => backend.packedBytes(unary('softmax'), [four], [])).to.throw(UnsupportedError);
  });

  it('says what it supports, with a reason where not', () => {
    expect(backend.supports(unary('scale'), [four], [1])).to.deep.equal({ supported: true });
    expect(backend.supports(unary('softmax'), [four], [])).to.deep.equal({
      supported: false,
      reason: 'softmax on fake: the fake backend knows few ops',
    });
    expect(backend.supports(unary('fourier'), [four], [])).to.have.property('supported', false);
    expect(() => backend.prepare(programOf('softmax'))).to.throw(UnsupportedError, 'softmax on fake');
    expect(() => backend.prepare(programOf('fourier'))).to.throw(UnsupportedError, 'fourier on fake');
  });

  it('throws errors of the right class', async () => {
    const x = upload([1, 2, 3, 4]);
    expect(() => backend.write(x, new Uint8Array(17))).to.throw(
      ArgumentError,
      '17 bytes into a buffer of 16',
    );
    expect(() => backend.allocate(1 << 27))
      .to.throw(OutOfMemoryError)
      .that.includes({ requested: 1 << 27, code: 'OUT_OF_MEMORY' })
      .and.has.property('free')
      .that.is.above(1 << 25);
    backend.run(backend.prepare(programOf('relu')), [x], [x]);
    expect(await rejection(backend.sync()))
      .to.be.instanceOf(DeviceError)
      .and.have.property('code', 'DEVICE');
    const z = upload([1, 2, 3, 4]);
    backend.run(backend.prepare(programOf('sigmoid')), [z], [backend.allocate(16)]);
    expect(await rejection(backend.read(z, 16))).to.be.instanceOf(UnsupportedError);
    backend.release(x);
    expect(() => backend.readSync(x, 16)).to.throw(DisposedError, 'stale');
    expect(await rejection(backend.read(x, 16))).to.be.instanceOf(DisposedError);
    expect(() => new NativeBackend(addon, join(folder, 'depthwise.node'), 'none')).to.throw(LoadError);
  });

  it('can be disposed of twice, and refuses everything after', async () => {
    backend.dispose();
    backend.dispose();
    expect(() => backend.allocate(4)).to.throw(DisposedError, 'device fake: used after dispose');
    expect(await rejection(backend.sync())).to.be.instanceOf(DisposedError);
  });

  it('opens the CPU and computes there', async function () {
    const plugin = join(folder, 'libdepthwise_cpu.so');
    if (!existsSync(plugin)) skip(this, `${plugin} is not built`);
    const cpu = openNative('cpu', { threads: 1 });
    try {
      expect(cpu.name).to.equal('cpu');
      const x = cpu.allocate(16);
      cpu.write(x, bytesOf([-1, 2, -3, 4]));
      const y = cpu.allocate(16);
      cpu.run(cpu.prepare(programOf('relu')), [x], [y]);
      expect(floatsOf(await cpu.read(y, 16))).to.deep.equal([0, 2, 0, 4]);
    } finally {
      cpu.dispose();
    }
  });
});
