// Plans kept on disk, on a described device: what is kept is used again; what is damaged, of another version or cannot be
// written is made anew, with the same choice, and never an error.

import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { loadAddon } from '../../lib/backend/load.ts';
import { describedDevices } from '../../lib/cudnn/index.ts';
import { findCudnn, foldersOf } from '../../lib/cudnn/library.ts';
import { reasonAgainstPlans } from '../support/cudnn.ts';
import { skip } from '../support/skip.ts';

describe('cudnn: plans on disk', function () {
  this.timeout(120_000);
  let folder = '';
  let plans = '';

  before(function () {
    const { folder: built } = loadAddon();
    const missing = existsSync(join(built, 'cudnn_cache'))
      ? undefined
      : 'native/test/cudnn_cache.cc is not built';
    const reason = reasonAgainstPlans() ?? missing;
    if (reason !== undefined) skip(this, reason);
  });
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'depthwise-plans-'));
    plans = join(folder, 'below', 'plans');
    for (const name of ['h200', 'a100'] as const)
      writeFileSync(join(folder, `${name}.json`), JSON.stringify(describedDevices[name]));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** What the program chose, a line for each of three convolutions. */
  async function choose(
    device: 'h200' | 'a100' = 'h200',
    into = plans,
    ...more: string[]
  ): Promise<string[]> {
    const { folder: built } = loadAddon();
    const program = join(built, 'cudnn_cache');
    const { LD_PRELOAD: _, ...env } = process.env;
    const driver = join(built, 'libdepthwise_nodriver.so');
    const libraries = foldersOf(findCudnn()).join(':');
    const { stdout } = await promisify(execFile)(
      program,
      [libraries, join(folder, `${device}.json`), driver, into, ...more],
      { env },
    );
    return stdout.trim().split('\n');
  }

  /** The files that are kept. A file that was written again is another one. */
  const kept = () =>
    new Map(readdirSync(plans).map((name) => [name, statSync(join(plans, name)).ino] as const));

  /** Spoils every file, and expects the same choice and files that are whole again. */
  async function expectMended(spoil: (path: string) => void): Promise<void> {
    const chosen = await choose();
    const whole = new Map([...kept().keys()].map((name) => [name, readFileSync(join(plans, name))]));
    for (const name of whole.keys()) spoil(join(plans, name));
    expect(await choose()).to.deep.equal(chosen);
    for (const [name, bytes] of whole)
      expect(readFileSync(join(plans, name)).equals(bytes), name).to.equal(true);
    expect([...kept().keys()], 'nothing beside them').to.have.members([...whole.keys()]);
  }

  it('are made once and used again', async () => {
    const chosen = await choose();
    expect(chosen).to.have.length(3);
    for (const line of chosen) expect(line).to.match(/^cuDNN 9\.\d+\.\d+ \| engine \d+.* \d+ candidates/);
    const files = kept();
    expect(files.size).to.equal(3);
    for (const name of files.keys()) expect(name).to.match(/^[0-9a-f]{16}\.plan$/);
    expect(await choose()).to.deep.equal(chosen);
    expect(kept(), 'none was written again').to.deep.equal(files);
  });

  it('are those of one device', async () => {
    await choose('h200');
    const files = kept();
    await choose('a100');
    expect(kept().size).to.equal(6);
    for (const [name, inode] of files) expect(kept().get(name)).to.equal(inode);
  });

  it('are made anew where a byte was changed', () =>
    expectMended((path) => {
      const bytes = readFileSync(path);
      const place = Math.floor(bytes.length / 2);
      bytes[place] = bytes[place]! ^ 1;
      writeFileSync(path, bytes);
    }));

  it('are made anew where a file ends early, or is empty', async () => {
    for (const length of [0, 1, 17, 40, 300]) {
      await expectMended((path) => truncateSync(path, Math.min(length, statSync(path).size - 1)));
    }
    await expectMended((path) => truncateSync(path, statSync(path).size - 1));
  });

  it('are made anew where they are of another format', () =>
    expectMended((path) => {
      const text = readFileSync(path, 'latin1');
      writeFileSync(path, text.replace(/^depthwise plan \d+/, 'depthwise plan 999'), 'latin1');
    }));

  it('are made anew where the file is whole but the plan of something else', () => {
    let first: Buffer | undefined;
    return expectMended((path) => {
      first ??= readFileSync(path);
      // The first stays as it is; the others hold its plan under their names.
      writeFileSync(path, first);
    });
  });

  it('are made anew where cuDNN does not take the text', () =>
    expectMended((path) => {
      const lines = readFileSync(path, 'latin1').split('\n');
      const numbers = lines[6]!.split(' ');
      const saved = '{"not": "a plan"}';
      const body = [...lines.slice(2, 6), [...numbers.slice(0, 3), saved.length].join(' '), saved].join('\n');
      writeFileSync(path, `${lines[0]}\n${fnv1a(body)}\n${body}`, 'latin1');
    }));

  it('of engines that are compiled are the same, built by one thread or by several', async () => {
    const alone = await choose('h200', '', '1');
    expect(alone.filter((line) => line.includes('| compiled | built |'))).to.have.length(3);
    expect(await choose('h200', '', '3')).to.deep.equal(alone);
  });

  it('are found however little time there is, also where the first wants too much workspace', async () => {
    const [chosen, ...more] = await choose('h200', '', 'hurried');
    expect(more).to.deep.equal([]);
    expect(Number(/(\d+) bytes$/.exec(chosen!)?.[1])).to.be.at.most(2 ** 20);
  });

  it('need no folder that can be written to', async () => {
    const chosen = await choose();
    writeFileSync(join(folder, 'file'), '');
    for (const into of [join(folder, 'file'), join(folder, 'file', 'below'), '/proc/depthwise/plans', ''])
      expect(await choose('h200', into), into).to.deep.equal(chosen);
  });

  it('are written by several processes at once', async () => {
    const all = await Promise.all(Array.from({ length: 4 }, () => choose()));
    for (const chosen of all) expect(chosen).to.deep.equal(all[0]);
    expect([...kept().keys()].every((name) => name.endsWith('.plan'))).to.equal(true);
    const files = kept();
    expect(files.size).to.equal(3);
    expect(await choose()).to.deep.equal(all[0]);
    expect(kept(), 'whole').to.deep.equal(files);
  });
});

/** The checksum of native/cuda/planCache.cc: FNV-1a of 64 bits. */
function fnv1a(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(text, 'latin1'))
    hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffffffffffffffffn;
  return hash.toString(16).padStart(16, '0');
}
