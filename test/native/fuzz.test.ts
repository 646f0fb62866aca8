// Random changes to the nodes of every op on the CPU: refused or computed, never a crash. Memory errors show
// in the AddressSanitizer build (scripts/build-native.sh --sanitize --test), with `uncached`.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { aval, byteLength } from '../../lib/core/aval.ts';
import { dtypeCode, dtypes } from '../../lib/core/dtype.ts';
import { encodeProgram, programOfOne } from '../../lib/core/program.ts';
import { allOps, type OpName } from '../../lib/ops/index.ts';
import { cases } from '../ops/cases.ts';
import { Random } from '../support/random.ts';
import { skip } from '../support/skip.ts';
import { addon, codeOf, codes, folder, runProcess } from './support.ts';

const cpuPath = join(folder, 'libdepthwise_cpu.so');
const changesPerOp = 150;
/** Larger operands than this are refused or prepared, but not run. */
const largest = 1 << 20;

/** One op's payload, from its own test cases. */
function payloadOf(name: OpName, i: number): Float64Array {
  const random = new Random(`fuzz/${name}/${i}`);
  const op = allOps[name];
  const { inputs, attributes } = cases[name](random, i);
  const avals = inputs.map(({ shape, dtype }) => aval(shape, dtype ?? 'f32'));
  return encodeProgram(
    programOfOne(op, attributes, avals, op.infer(avals, attributes)),
    (n) => codes[n] ?? -1,
  );
}

const odd = [
  0,
  1,
  2,
  3,
  5,
  7,
  64,
  1000,
  -1,
  0.5,
  2 ** 20,
  2 ** 31,
  2 ** 40,
  1e300,
  Number.NaN,
  Number.NEGATIVE_INFINITY,
];

function changed(original: Float64Array, random: Random): Float64Array {
  const numbers = original.slice();
  for (let change = random.whole(1, 3); change > 0; change -= 1) {
    // Past the counts of the header, whose changes are refused before the backend sees them.
    const at = random.whole(7, numbers.length - 1);
    numbers[at] = random.whole(0, 2) === 0 ? random.pick(odd) : numbers[at]! + random.whole(-2, 2);
  }
  return numbers;
}

/** Bytes of each value of a payload that the runtime has accepted. */
function valueBytes(numbers: Float64Array): number[] {
  const sizes: number[] = [];
  let at = 7;
  for (let i = 0; i < numbers[1]!; i += 1) {
    const rank = numbers[at + 1]!;
    const dtype = dtypes.find((d) => dtypeCode(d) === numbers[at])!;
    sizes.push(byteLength(aval([...numbers.subarray(at + 2, at + 2 + rank)], dtype)));
    at += rank + 3;
  }
  return sizes;
}

describe('native fuzz on the CPU', () => {
  before(function () {
    if (!existsSync(cpuPath)) skip(this, `${cpuPath} is not built`);
  });

  it('would show an overrun, where AddressSanitizer is', async function () {
    if (!/asan/.test(process.env.LD_PRELOAD ?? '')) {
      skip(this, 'AddressSanitizer is not here; scripts/build-native.sh --sanitize --test brings it');
    }
    const { status, output } = await runProcess(`
      const device = addon.openDevice(fakePath, { uncached: true });
      const payload = Float64Array.of(2, 1, 0, 1, 1, 0, 0, 0, 1, 3, -1, 0, ${codes.pad}, 0, 1, 0, 0);
      const pad = addon.prepare(device, payload);
      addon.run(device, pad, [], [addon.allocate(device, 12)]);
      addon.syncBlocking(device);`);
    expect(status).not.to.equal(0);
    expect(output).to.match(/AddressSanitizer: .*\n.*WRITE of size 4/s);
  });

  for (const name of Object.keys(allOps) as OpName[]) {
    it(`${name}: ${changesPerOp} changed nodes`, async () => {
      const device = addon.openDevice(cpuPath, { uncached: true, memoryLimit: 1 << 28, threads: 2 });
      try {
        for (let i = 0; i < changesPerOp; i += 1) {
          const random = new Random(`change/${name}/${i}`);
          const original = payloadOf(name, i % 20);
          // Each case once as it is, on random bytes: labels, positions and counters out of their range.
          const numbers = i < 20 ? original : changed(original, random);
          const code = await codeOf(() => runOnRandomBytes(device, numbers, random));
          expect(code, `change/${name}/${i}: ${numbers.join(',')}`).to.be.oneOf([
            'none',
            'ARGUMENT',
            'UNSUPPORTED',
            'DEVICE',
            'OUT_OF_MEMORY',
          ]);
        }
        expect(await codeOf(() => addon.sync(device))).to.equal('none');
      } finally {
        addon.closeDevice(device);
      }
    });
  }
});

function runOnRandomBytes(device: number, numbers: Float64Array, random: Random): void {
  const program = addon.prepare(device, numbers);
  const buffers: number[] = [];
  try {
    const sizes = valueBytes(numbers);
    if (sizes.some((size) => size > largest)) return;
    const inputs = numbers[2]!;
    for (const size of sizes) {
      const buffer = addon.allocate(device, size);
      buffers.push(buffer);
      addon.write(
        device,
        buffer,
        Uint8Array.from({ length: size }, () => random.whole(0, 255)),
      );
    }
    // Ids in the payload's order of values; a changed id is refused by the sizes or runs on another buffer.
    addon.run(device, program, buffers.slice(0, inputs), buffers.slice(inputs));
    addon.syncBlocking(device);
  } finally {
    for (const buffer of buffers) addon.release(device, buffer);
    addon.forget(device, program);
  }
}
