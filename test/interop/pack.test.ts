// Tests of lib/interop/pack.ts: the shards made, resuming, unreadable images, and what is refused.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { ArgumentError, DataError } from '../../lib/core/errors.ts';
import { imageInfo } from '../../lib/data/decode.ts';
import { imageFolder } from '../../lib/data/imageFolder.ts';
import { shards } from '../../lib/data/shards.ts';
import { type PackOptions, packFolder } from '../../lib/interop/pack.ts';
import { collect, failureOf, fingerprints } from '../data/collect.ts';
import { put, putClasses, temporaryFolder } from '../data/makeImages.ts';

const folder = temporaryFolder();
after(() => folder.remove());
let folders = 0;
const newFolder = () => join(folder.path, `set${folders++}`);
const data = join(folder.path, 'data');

/** Names and contents of a folder of files. */
const contentsOf = (dir: string) =>
  readdirSync(dir)
    .sort()
    .map((name) => [name, readFileSync(join(dir, name)).toString('base64')] as const);

async function packed(options: Partial<PackOptions> = {}, from = data) {
  const out = newFolder();
  const result = await packFolder(from, { out, perShard: 7, ...options });
  return { out, result };
}

describe('packFolder', () => {
  before(() => putClasses(data, { apple: 9, banana: 6, cherry: 8 }));

  it('makes shards whose batches are those of the folder, bit for bit', async () => {
    const { out, result } = await packed();
    expect(result).to.include({ samples: 23, kept: 0 });
    expect(readdirSync(out).sort()).to.deep.equal([
      'classes.json',
      'pack.json',
      ...[0, 1, 2, 3].flatMap((n) => [`shard-00000${n}.index.json`, `shard-00000${n}.tar`]),
    ]);
    const options = { batchSize: 5, augment: 'inception', seed: 3 } as const;
    const set = await shards(out, { size: 24, onNotice: (text) => expect.fail(text) });
    expect(set.classes).to.deep.equal(['apple', 'banana', 'cherry']);
    expect(set.sampleName(9)).to.equal(`${join(out, 'shard-000001.tar')}: 000000009 (banana/000.jpg)`);
    const expected = fingerprints(await collect(imageFolder(data, { size: 24 }), options));
    expect(fingerprints(await collect(set, options))).to.deep.equal(expected);
    // And without the indices: from the headers, and classes.json.
    for (const name of readdirSync(out)) if (name.endsWith('.index.json')) rmSync(join(out, name));
    const scanned = await shards(out, { size: 24 });
    expect(scanned.classes).to.deep.equal(['apple', 'banana', 'cherry']);
    expect(fingerprints(await collect(scanned, options))).to.deep.equal(expected);
  });

  it('makes the same bytes with any number of workers, and nothing of the machine in them', async () => {
    const first = await packed({ workers: 1, shuffle: true, seed: 5 });
    const second = await packed({ workers: 4, shuffle: true, seed: 5 });
    expect(contentsOf(second.out)).to.deep.equal(contentsOf(first.out));
    const other = await packed({ shuffle: true, seed: 6 });
    expect(contentsOf(other.out)).not.to.deep.equal(contentsOf(first.out));
    const text = Buffer.concat(
      readdirSync(first.out).map((name) => readFileSync(join(first.out, name))),
    ).toString('latin1');
    expect(text).not.to.include(folder.path);
  });

  it('keeps to the size of a shard where more than one sample is in it', async () => {
    const { result } = await packed({ perShard: undefined, shardBytes: 12_000 } as object);
    expect(result.shards.length).to.be.greaterThan(3);
    for (const { bytes, samples } of result.shards) expect(bytes <= 12_000 || samples === 1).to.equal(true);
    const single = await packed({ perShard: undefined, shardBytes: 1 } as object);
    expect(single.result.shards).to.have.length(23);
  });

  it('resizes on request: squares, or the shorter edge, never larger', async () => {
    const sizes = async (resize: PackOptions['resize']) => {
      const { out } = await packed({ ...(resize && { resize }), perShard: 23 });
      const index = JSON.parse(readFileSync(join(out, 'shard-000000.index.json'), 'utf8')) as {
        offsets: number[];
        lengths: number[];
      };
      const path = join(out, 'shard-000000.tar');
      return Promise.all(
        index.offsets.map(async (offset, i) => {
          const { width, height } = await imageInfo({ path, offset, length: index.lengths[i] as number });
          return [width, height] as const;
        }),
      );
    };
    const own = await sizes(undefined);
    expect(await sizes({ size: 20 })).to.deep.equal(own.map(() => [20, 20]));
    const shorter = await sizes({ shorter: 40 });
    for (const [i, [width, height]] of shorter.entries()) {
      const [before, after] = [Math.min(...(own[i] as readonly number[])), Math.min(width, height)];
      expect(after).to.equal(Math.min(40, before));
    }
  });

  it('leaves out what cannot be read, and says so; more than 1 % fails', async () => {
    const dir = newFolder();
    await putClasses(dir, { a: 4, b: 4 });
    put(join(dir, 'a', '001.jpg'), 'no image');
    const said: string[] = [];
    const { out, result } = await packed({ onSkip: (path) => said.push(path) }, dir);
    expect(result.samples).to.equal(7);
    expect([...result.skipped.keys()]).to.deep.equal(['a/001.jpg']);
    expect(said).to.deep.equal([join(dir, 'a/001.jpg')]);
    expect((await shards(out, { size: 8 })).length).to.equal(7);
    const again = await packFolder(dir, { out, perShard: 7 });
    expect([...again.skipped.keys()]).to.deep.equal(['a/001.jpg']);
    put(join(dir, 'b', '001.jpg'), '');
    const error = await failureOf(() => packed({}, dir));
    expect(error).to.be.instanceOf(DataError).with.property('code', 'TOO_MANY_UNREADABLE');
    expect((error as Error).message).to.match(
      /2 of 8 images cannot be read: a\/001\.jpg \(.*\), b\/001\.jpg \(/,
    );
  });

  it('is refused where it would go wrong', async () => {
    const { out } = await packed();
    for (const [options, says] of [
      [{ perShard: 8 }, /made otherwise: perShard was 7, is 8; choose another folder/],
      [{ perShard: 7, resize: { size: 20 } }, /resize was "none", is "size"/],
      [{ perShard: 7, shuffle: true }, /shuffle was false, is true/],
    ] as const) {
      const error = await failureOf(() => packFolder(data, { out, ...options }));
      expect(error).to.be.instanceOf(DataError).with.property('code', 'PACK_MISMATCH');
      expect((error as Error).message).to.match(says);
    }
    const other = newFolder();
    mkdirSync(other);
    writeFileSync(join(other, 'x.tar'), '');
    expect(((await failureOf(() => packFolder(data, { out: other }))) as Error).message).to.match(
      /holds x\.tar, which/,
    );
    for (const options of [
      { out: join(data, 'out') },
      { out: other, quality: 101 },
      { out: other, name: '../x' },
    ]) {
      expect(await failureOf(() => packFolder(data, options))).to.be.instanceOf(ArgumentError);
    }
  });
});

describe('packFolder, interrupted', function () {
  this.timeout(120_000);
  let whole: ReturnType<typeof contentsOf>;
  before(async () => {
    whole = contentsOf((await packed({ perShard: 3 })).out);
  });

  it('goes on behind what is finished, with the same bytes', async () => {
    const out = newFolder();
    const controller = new AbortController();
    const stopped = await failureOf(() =>
      packFolder(data, {
        out,
        perShard: 3,
        signal: controller.signal,
        onProgress: ({ images }) => images === 11 && controller.abort(new Error('stop')),
      }),
    );
    expect((stopped as Error).message).to.equal('stop');
    expect(readdirSync(out).filter((name) => name.startsWith('.'))).to.deep.equal([]);
    const error = await failureOf(() => shards(out, { size: 8 }));
    expect(error).to.be.instanceOf(DataError).with.property('code', 'PACK_INCOMPLETE');
    const result = await packFolder(data, { out, perShard: 3 });
    expect(result.kept).to.be.within(2, 4);
    expect(contentsOf(out)).to.deep.equal(whole);
    const times = readdirSync(out).map((name) => statSync(join(out, name)).mtimeMs);
    expect(await packFolder(data, { out, perShard: 3 })).to.include({ kept: 8 });
    expect(readdirSync(out).map((name) => statSync(join(out, name)).mtimeMs)).to.deep.equal(times);
  });

  it('makes anew what is damaged, missing or left over', async () => {
    const { out } = await packed({ perShard: 3 });
    const second = join(out, 'shard-000002.tar');
    for (const damage of [
      () => appendFileSync(second, 'x'),
      () => {
        const bytes = readFileSync(second);
        bytes[700] = (bytes[700] as number) ^ 1;
        writeFileSync(second, bytes);
      },
      () => rmSync(second),
      () => writeFileSync(join(out, 'shard-000002.index.json'), '{'),
      () => writeFileSync(join(out, '.shard-000009.tar.1-0-0.tmp'), 'left'),
    ]) {
      damage();
      await packFolder(data, { out, perShard: 3 });
      expect(contentsOf(out)).to.deep.equal(whole);
    }
  });

  it('by SIGKILL at random times, gives the same bytes in the end', async () => {
    const out = newFolder();
    const args = ['pack', data, '--out', out, '--per-shard', '3'];
    const binary = join(import.meta.dirname, '../../bin/depthwise.js');
    let killed = 0;
    // What is finished stays, so that the shards come to be however often this happens.
    for (let i = 0; i < 4; i++) {
      const child = spawn(process.execPath, [binary, ...args], { stdio: 'ignore' });
      const ended = once(child, 'exit');
      while (child.exitCode === null && !(i === 0 ? readable(out) : readable(out) > 2 * i)) await delay(5);
      child.kill('SIGKILL');
      const [, signal] = (await ended) as [number | null, string | null];
      killed += signal === 'SIGKILL' ? 1 : 0;
    }
    expect(killed).to.be.greaterThan(0);
    await packFolder(data, { out, perShard: 3 });
    expect(contentsOf(out)).to.deep.equal(whole);
  });
});

/** Files in a folder that may not be there yet. */
function readable(out: string): number {
  try {
    return readdirSync(out).length;
  } catch {
    return 0;
  }
}
