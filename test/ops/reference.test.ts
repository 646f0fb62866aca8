// The reference backend as a backend: handles, memory, stored errors, what it supports, programs with temporaries.

import { expect } from 'chai';
import type { BufferHandle } from '../../lib/backend/backend.ts';
import { openReference } from '../../lib/backend/reference/index.ts';
import { aval } from '../../lib/core/aval.ts';
import { ArgumentError, DisposedError, OutOfMemoryError, UnsupportedError } from '../../lib/core/errors.ts';
import { type Program, programOfOne } from '../../lib/core/program.ts';
import { allOps } from '../../lib/ops/index.ts';

const bytes = (values: readonly number[]) => new Uint8Array(Float32Array.from(values).buffer);
const floats = (read: Uint8Array) => [...new Float32Array(read.slice().buffer)];
const pair = aval([2], 'f32');

describe('the reference backend', () => {
  it('counts references and refuses stale handles', () => {
    const backend = openReference();
    const buffer = backend.allocate(8);
    backend.write(buffer, bytes([1, 2]));
    backend.retain(buffer);
    backend.release(buffer);
    expect(floats(backend.readSync(buffer, 8))).to.deep.equal([1, 2]);
    expect(backend.memory()).to.deep.equal({ buffers: 1, live: 8, cached: 0, arena: 0, peak: 8 });
    backend.release(buffer);
    expect(backend.memory()).to.include({ buffers: 0, live: 0, peak: 8 });
    expect(() => backend.readSync(buffer, 8)).to.throw(DisposedError);
    expect(() => backend.release(buffer)).to.throw(DisposedError);
    expect(() => backend.retain(12345 as BufferHandle)).to.throw(DisposedError);
    expect(backend.allocate(8)).to.not.equal(buffer);
  });

  it('fills fresh memory with what no computation hides', () => {
    const backend = openReference();
    expect(floats(backend.readSync(backend.allocate(8), 8))).to.deep.equal([Number.NaN, Number.NaN]);
  });

  it('refuses reads, writes and runs past the end of a buffer', () => {
    const backend = openReference();
    const [small, large] = [backend.allocate(4), backend.allocate(8)];
    expect(() => backend.write(small, bytes([1, 2]))).to.throw(ArgumentError);
    expect(() => backend.readSync(small, 8)).to.throw(ArgumentError);
    const program = backend.prepare(programOfOne(allOps.relu, {}, [pair], [pair]));
    expect(() => backend.run(program, [small], [large])).to.throw(ArgumentError, /at least 8 bytes, got 4/);
    expect(() => backend.run(program, [], [large])).to.throw(ArgumentError, /expected 1 inputs, got 0/);
  });

  it('runs a program whose temporaries lie in its arena, also in place', () => {
    const backend = openReference();
    const instruction = (name: 'square' | 'add', inputs: number[], output: number) => ({
      op: allOps[name],
      attributes: {},
      inputs,
      outputs: [output],
    });
    // %3 = (x²)² + x², with x² and (x²)² in the arena
    const program: Program = {
      values: [pair, pair, pair, pair],
      inputs: [0],
      outputs: [3],
      instructions: [
        instruction('square', [0], 1),
        instruction('square', [1], 2),
        instruction('add', [2, 1], 3),
      ],
      plan: { offsets: [undefined, 0, 64, undefined], arenaBytes: 128 },
    };
    const prepared = backend.prepare(program);
    expect(backend.memory().arena).to.equal(128);
    const buffer = backend.allocate(8);
    backend.write(buffer, bytes([2, 3]));
    backend.run(prepared, [buffer], [buffer]);
    expect(floats(backend.readSync(buffer, 8))).to.deep.equal([20, 90]);
    backend.forget(prepared);
    expect(backend.memory().arena).to.equal(0);
    expect(() => backend.run(prepared, [buffer], [buffer])).to.throw(DisposedError);
  });

  it('keeps an error until the next read or sync, and computes nothing in between', async () => {
    const backend = openReference();
    const avals = [aval([1, 2], 'f32'), aval([1], 'i32')];
    const loss = backend.prepare(
      programOfOne(allOps.softmaxCrossEntropy, { smoothing: 0 }, avals, [aval([1], 'f32')]),
    );
    const square = backend.prepare(programOfOne(allOps.square, {}, [pair], [pair]));
    const [logits, label, out] = [backend.allocate(8), backend.allocate(4), backend.allocate(8)];
    backend.write(logits, bytes([3, 4]));
    backend.write(label, new Uint8Array(Int32Array.of(2).buffer));
    backend.write(out, bytes([7, 7]));
    const fail = () => backend.run(loss, [logits, label], [out]);
    fail();
    backend.run(square, [logits], [out]);
    expect(() => backend.readSync(out, 8)).to.throw('labels expects 0 to 1, got 2 at 0');
    expect(floats(backend.readSync(out, 8))).to.deep.equal([7, 7]);
    backend.run(square, [logits], [out]);
    expect(floats(backend.readSync(out, 8))).to.deep.equal([9, 16]);
    for (const wait of [() => backend.sync(), () => backend.read(out, 8)]) {
      fail();
      const error = await wait().then(
        () => undefined,
        (reason: Error) => reason,
      );
      expect(error?.message).to.match(/labels/);
    }
  });

  it('says what it does not support, and why', () => {
    const backend = openReference();
    const fused = { ...allOps.relu, name: 'fused' };
    expect(backend.supports(fused, [pair], {})).to.deep.equal({
      supported: false,
      reason: 'reference: has no op fused',
    });
    expect(() => backend.prepare(programOfOne(fused, {}, [pair], [pair]))).to.throw(
      UnsupportedError,
      /has no op fused/,
    );
    expect(backend.supports(allOps.relu, [pair], {})).to.deep.equal({ supported: true });
  });

  it('tells how much it could not allocate', () => {
    const backend = openReference();
    expect(() => backend.allocate(2 ** 52))
      .to.throw(OutOfMemoryError)
      .with.property('requested', 2 ** 52);
  });

  it('refuses everything after dispose', () => {
    const backend = openReference();
    const buffer = backend.allocate(8);
    backend.dispose();
    backend.dispose();
    for (const call of [
      () => backend.allocate(8),
      () => backend.readSync(buffer, 8),
      () => backend.memory(),
    ]) {
      expect(call).to.throw(DisposedError);
    }
  });
});
