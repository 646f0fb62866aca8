// The comparison with peers: that contenders take turns, and what is made of their times. The peers are
// fakes.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect } from 'chai';
import { alternate } from '../../bench/support/alternate.ts';
import { type Contender, peers, takes } from '../../bench/support/contenders.ts';
import { comparisonMarkdown, comparisonText } from '../../bench/support/peersReport.ts';
import { parseReply, type Setting, settingFlags } from '../../bench/support/protocol.ts';

const setting: Setting = {
  arch: 'xception',
  mode: 'train',
  batch: 8,
  size: 71,
  threads: 2,
  warmup: 1,
  device: 'cpu',
  precision: 'fp32',
};
const rounds = { rounds: 3, steps: 2, settle: 1 };

describe('bench: peers', () => {
  let folder: string;
  let said: string[];
  const say = (line: string) => said.push(line);
  const diary = () => join(folder, 'diary');
  const turns = () => readFileSync(diary(), 'utf8').trim().split('\n');

  /** A contender whose steps take `milliseconds`. */
  const fake = (name: string, milliseconds: number): Contender => ({
    name,
    modes: ['train', 'infer'],
    command: (setting) => ({
      file: process.execPath,
      args: [
        resolve(import.meta.dirname, 'fakePeer.mjs'),
        name,
        diary(),
        String(milliseconds),
        ...settingFlags(setting),
      ],
    }),
  });

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'depthwise-bench-'));
    said = [];
  });

  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('lets everyone run in turn, and counts no step that only settles', async () => {
    const contenders = [fake('ours', 100), fake('slow', 400), fake('fast', 160)];
    const { measured, leftOut } = await alternate(contenders, setting, rounds, say);
    expect(turns()).to.deep.equal([
      'ours 3',
      'slow 3',
      'fast 3',
      'ours 3',
      'slow 3',
      'fast 3',
      'ours 3',
      'slow 3',
      'fast 3',
    ]);
    expect(leftOut).to.deep.equal([]);
    expect(measured.map(({ imagesPerSecond }) => imagesPerSecond.median)).to.deep.equal([80, 20, 50]);
    expect(measured.map(({ ratio }) => ratio)).to.deep.equal([1, 4, 1.6]);
    expect(measured.map(({ parameters }) => parameters)).to.deep.equal([undefined, 1234, undefined]);
    for (const { rounds, peakBytes, idleShare, description } of measured) {
      expect(rounds).to.have.length(3);
      expect(peakBytes).to.be.within(10e6, 1e9);
      expect(idleShare).to.be.at.least(0);
      expect(description).to.contain('--mode train --batch 8 --size 71 --threads 2 --warmup 1');
    }
  });

  it('says who is not installed and who fails, and goes on without', async () => {
    const nowhere: Contender = {
      name: 'nowhere',
      modes: ['train'],
      command: () => ({ file: join(folder, 'python'), args: [] }),
    };
    const contenders = [fake('ours', 100), fake('absent', 1), nowhere, fake('mortal', 50), fake('slow', 200)];
    const { measured, leftOut } = await alternate(contenders, setting, rounds, say);
    expect(measured.map(({ name }) => name)).to.deep.equal(['ours', 'slow']);
    expect(leftOut.map(({ name }) => name)).to.deep.equal(['absent', 'nowhere', 'mortal']);
    expect(leftOut[0]?.reason).to.equal('its library is not installed');
    expect(leftOut[1]?.reason).to.match(/cannot be started: .*ENOENT/);
    expect(leftOut[2]?.reason).to.match(/exit code 9: .*out of memory/);
    expect(said).to.include('absent is left out: its library is not installed');
    expect(said.some((line) => line.startsWith('mortal failed: '))).to.equal(true);
    expect(turns().slice(-2)).to.deep.equal(['ours 3', 'slow 3']);
  });

  it('fails where the first contender does', async () => {
    let error: unknown;
    await alternate([fake('mortal', 100), fake('slow', 200)], setting, rounds, say).catch((thrown) => {
      error = thrown;
    });
    expect(error).to.be.an('error').with.property('message').that.contains('out of memory');
  });

  it('makes a table with the ratios, and says what follows from them', async () => {
    const contenders = [fake('ours', 100), fake('slow', 400), fake('fast', 160), fake('absent', 1)];
    const comparison = await alternate(contenders, setting, rounds, say);
    const [ours, ...others] = comparison.measured.map((found) => ({
      ...found,
      peakBytes: 1e9,
      idleShare: 0,
    }));
    const found = {
      ...comparison,
      measured: [{ ...ours!, peakBytes: 0.6e9 }, ...others.map((other) => ({ ...other, idleShare: 0.5 }))],
    };
    const text = comparisonText([found]).split('\n');
    expect(text.slice(0, 4).map((line) => line.trim().split(/\s{2,}/))).to.deep.equal([
      [
        'network',
        'mode',
        'precision',
        'batch',
        'who',
        'images/s',
        'min',
        'max',
        'ratio',
        'peak MB',
        'memory ratio',
      ],
      ['xception', 'train', 'fp32', '8', 'ours', '80.00', '80.00', '80.00', '1.00', '600', '1.00'],
      ['xception', 'train', 'fp32', '8', 'slow', '20.00', '20.00', '20.00', '4.00', '1000', '0.60'],
      ['xception', 'train', 'fp32', '8', 'fast', '50.00', '50.00', '50.00', '1.60', '1000', '0.60'],
    ]);
    expect(text[4]).to.contain('ours is 1.60 times as fast as fast');
    expect(text[5]).to.contain('without absent (its library is not installed)');
    expect(text[6]).to.contain('slow took 50 % of a core while others were measured');
    const markdown = comparisonMarkdown([found]);
    expect(markdown).to.contain(
      '| xception | train | fp32 | 8 | fast | 50.00 | 50.00 | 50.00 | 1.60 | 1000 | 0.60 |',
    );
    expect(markdown).to.contain('- fast: fast 1.0');
  });

  it('has on a GPU the peers that compute there, in the precisions that they have', () => {
    const named = (
      device: string,
      precision: Setting['precision'],
      mode: Setting['mode'],
      arch: Setting['arch'] = 'xception',
    ) => peers.filter((peer) => takes(peer, { device, precision, mode, arch })).map(({ name }) => name);
    expect(named('cpu', 'fp32', 'train')).to.deep.equal(['torch-eager', 'torch-compiled', 'keras']);
    expect(named('cpu', 'fp32', 'infer')).to.include('onnxruntime');
    expect(named('cpu', 'fp32', 'train', 'inception_v3')).to.deep.equal([
      'torch-eager',
      'torch-compiled',
      'keras',
    ]);
    expect(named('cpu', 'fp32', 'infer', 'inception_v3')).not.to.include('onnxruntime');
    expect(named('cuda:0', 'bf16', 'infer')).to.deep.equal(['torch-eager', 'torch-compiled']);
  });

  it('counts the memory of a GPU where a contender tells it', async () => {
    const { measured } = await alternate([fake('held', 10), fake('resident', 10)], setting, rounds, say);
    const [held, resident] = measured;
    expect([held?.peakBytes, held?.usedBytes]).to.deep.equal([3e9, 2e9]);
    expect(resident?.usedBytes).to.equal(undefined);
    const text = comparisonText([{ setting, measured, leftOut: [] }]).split('\n');
    expect(text[0]?.endsWith('in tensors MB')).to.equal(true);
    expect(text[1]).to.match(/ 3000 +1\.00 +2000$/);
  });

  it('takes from a child only what the protocol knows', () => {
    expect(parseReply('{"milliseconds":[1,2]}')).to.deep.equal({ milliseconds: [1, 2] });
    expect(parseReply('{"milliseconds":[1],"heldBytes":8,"usedBytes":"4","more":1}')).to.deep.equal({
      milliseconds: [1],
      heldBytes: 8,
    });
    expect(parseReply('{"ready":"it 1.0","parameters":12}')).to.deep.equal({
      ready: 'it 1.0',
      parameters: 12,
    });
    for (const line of [
      'banner',
      '',
      'null',
      '3',
      '{"milliseconds":"1"}',
      '{"milliseconds":[null]}',
      '{"ready":1}',
    ]) {
      expect(parseReply(line), line).to.equal(undefined);
    }
  });
});
