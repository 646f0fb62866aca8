// The command line at work: Xception at 71 pixels on a handful of images, and everything that can be wrong with input.

import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import sharp from 'sharp';
import { uniform } from '../../lib/core/philox.ts';
import { readNpy, writeNpy } from '../../lib/interop/npy.ts';
import { readWeights, writeWeights } from '../../lib/interop/weights.ts';
import { modes } from '../support/modes.ts';
import { jsonLines, runCommand, startCommand } from './runCommand.ts';

const slow = 600_000; // milliseconds; a machine that is busy otherwise

let folder: string;
let data: string;
/** A run of two steps, made compiled, and one made op by op. */
let run: string;
let eagerRun: string;

const at = (...parts: string[]): string => join(folder, ...parts);
const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '');

type Mode = (typeof modes)[number];
const runOf = (mode: Mode): string => (mode === 'eager' ? eagerRun : run);
const flagsOf = (mode: Mode): string[] => (mode === 'eager' ? ['--eager'] : []);

/** Arguments of a short training. */
const short = (out: string, ...rest: string[]): string[] => [
  ...['train', data, '--size', '71', '--batch', '2', '--lr', '0.01', '--log-every', '1', '--json'],
  ...['--out', out, ...rest],
];

/** The same without evaluation and average, where they do not matter. */
const bare = (out: string, ...rest: string[]): string[] =>
  short(out, '--polyak', '0', ...rest).map((word) => (word === data ? join(data, 'train') : word));

/** A JPEG of one colour with noise. */
async function image(file: string, red: number, seed: number): Promise<void> {
  const pixels = Uint8Array.from(
    { length: 80 * 72 * 3 },
    (_, i) => uniform(seed, i) * 90 + (i % 3 === 0 ? red : 20),
  );
  await sharp(pixels, { raw: { width: 80, height: 72, channels: 3 } })
    .jpeg()
    .toFile(file);
}

async function makeData(): Promise<void> {
  for (const [part, count] of [
    ['train', 4],
    ['validation', 2],
  ] as const) {
    for (const [name, red] of [
      ['blue', 0],
      ['red', 160],
    ] as const) {
      await mkdir(join(data, part, name), { recursive: true });
      for (let i = 0; i < count; i++) await image(join(data, part, name, `${i}.jpg`), red, i + count);
    }
  }
}

/** Every file of a folder, with what changes when it is written. */
async function snapshot(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  return Promise.all(
    files.sort().map(async (file) => {
      const { size, mtimeMs, ino } = await stat(file);
      return `${file} ${size} ${mtimeMs} ${ino}`;
    }),
  );
}

describe('depthwise commands', function () {
  this.timeout(slow);

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'depthwise-cli-'));
    data = at('data');
    run = at('run');
    eagerRun = at('run-eager');
    await makeData();
    for (const mode of modes) {
      const { code, stderr } = await runCommand(...short(runOf(mode), '--steps', '2', ...flagsOf(mode)));
      expect(code, stderr).to.equal(0);
    }
  });
  after(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  describe('train', () => {
    for (const mode of modes) {
      it(`leaves a run with its configuration, metrics and checkpoint, ${mode}`, async () => {
        const config = JSON.parse(await readFile(join(runOf(mode), 'config.json'), 'utf8')) as Record<
          string,
          unknown
        >;
        expect(config).to.include({
          arch: 'xception',
          classes: 2,
          size: 71,
          batchSize: 2,
          seed: 0,
          polyak: 0.9999,
          mode,
        });
        expect(config.labels).to.deep.equal(['blue', 'red']);
        expect(config.augment).to.be.oneOf(['inception', 'light', 'none']);
        const metrics = lines(await readFile(join(runOf(mode), 'metrics.jsonl'), 'utf8')).map(
          (line) => JSON.parse(line) as Record<string, unknown>,
        );
        expect(metrics.map(({ step }) => step)).to.deep.equal([1, 2, undefined]);
        expect(metrics[0]).to.include.keys('step', 'loss', 'lr');
        expect(metrics[2]).not.to.have.any.keys('step', 'loss');
        expect(metrics[2]).to.include({ epoch: 0.5 });
        for (const key of ['validation', 'validation_average']) {
          expect(metrics[2]?.[key]).to.have.all.keys('top1', 'top5', 'loss');
        }
        expect(await readdir(join(runOf(mode), 'checkpoints'))).to.deep.equal(['step-00000002']);
      });
    }

    it('refuses to write over a run', async () => {
      const before = await snapshot(run);
      const { code, stderr } = await runCommand(...short(run, '--steps', '4'));
      expect(stderr).to.match(/holds a run already; continue it with --resume/);
      expect(code).to.equal(1);
      expect(await snapshot(run)).to.deep.equal(before);
    });

    it('refuses to resume with other settings, and leaves the run as it is', async () => {
      const before = await snapshot(run);
      const { code, stderr } = await runCommand(
        'train',
        '--out',
        run,
        '--resume',
        '--steps',
        '4',
        '--batch',
        '4',
      );
      expect(stderr).to.match(/cannot be resumed with other settings: batchSize was 2, is 4\n$/);
      expect(code).to.equal(1);
      expect(await snapshot(run)).to.deep.equal(before);
    });

    for (const mode of modes) {
      it(`leaves a checkpoint at SIGINT and SIGTERM, and continues where it stopped, ${mode}`, async () => {
        const out = at(`stopped-${mode}`);
        const first = startCommand(bare(out, '--steps', '500', ...flagsOf(mode)));
        await first.lines(1);
        first.child.kill('SIGINT');
        const interrupted = await first.ended;
        expect(interrupted.code, interrupted.stderr).to.equal(130);
        expect(interrupted.stderr).to.match(/SIGINT: stopping after this step/);
        const steps = jsonLines(interrupted).length;
        const [checkpoint] = await readdir(join(out, 'checkpoints'));
        expect(checkpoint).to.equal(`step-${String(steps).padStart(8, '0')}`);

        const second = startCommand([
          ...['train', '--out', out, '--resume', '--steps', '500', '--json', ...flagsOf(mode)],
        ]);
        await second.lines(1);
        second.child.kill('SIGTERM');
        const terminated = await second.ended;
        expect(terminated.code, terminated.stderr).to.equal(143);
        expect(jsonLines(terminated)[0]?.step).to.equal(steps + 1);
        const written = lines(await readFile(join(out, 'metrics.jsonl'), 'utf8'))
          .map((line) => (JSON.parse(line) as { step?: number }).step)
          .filter((step) => step !== undefined);
        expect(written).to.deep.equal(Array.from({ length: written.length }, (_, i) => i + 1));
      });
    }

    it('exits at once at the second SIGINT', async () => {
      const running = startCommand(bare(at('twice'), '--steps', '500'));
      await running.lines(1);
      running.child.kill('SIGINT');
      running.child.kill('SIGINT');
      // Two signals may arrive as one.
      const again = setInterval(() => running.child.kill('SIGINT'), 5);
      const { code } = await running.ended;
      clearInterval(again);
      expect(code).to.equal(130);
    });

    for (const mode of modes) {
      it(`stops with 4 when the loss is not finite, ${mode}`, async () => {
        const out = at(`diverged-${mode}`);
        const args = bare(out, '--steps', '6', '--log-every', '1', ...flagsOf(mode));
        const { code, stderr } = await runCommand(...args.map((word) => (word === '0.01' ? '1e30' : word)));
        expect(stderr).to.match(/depthwise: step \d+: .*(not finite|the loss is)/);
        expect(code).to.equal(4);
      });
    }

    for (const mode of modes) {
      it(`starts from weights with another number of classes, and says what is left out, ${mode}`, async () => {
        const { code, stderr } = await runCommand(
          ...bare(
            at(`init-${mode}`),
            '--steps',
            '1',
            '--classes',
            '3',
            '--init',
            runOf(mode),
            ...flagsOf(mode),
          ),
        );
        expect(stderr).to.match(
          /--init: the classifier does not fit 3 classes and starts anew \(predictions\.weight/,
        );
        expect(code, stderr).to.equal(0);
        expect(await readdir(at(`init-${mode}`, 'checkpoints', 'step-00000001'))).not.to.include(
          'average.safetensors',
        );
      });
    }

    it('computes as the weights of --init do, unless a flag says otherwise, also where a run begins again', async () => {
      const weights = at('epsilon.safetensors');
      const converted = await runCommand('convert', run, weights, '--arch-option', 'epsilon=0.00001');
      expect(converted.code, converted.stderr).to.equal(0);
      const optionsAfter = async (out: string, ...rest: string[]) => {
        const { code, stderr } = await runCommand(...bare(out, '--steps', '1', ...rest));
        expect(code, stderr).to.equal(0);
        return (await readWeights(out)).options;
      };
      expect(await optionsAfter(at('epsilon-kept'), '--init', weights)).to.include({ epsilon: 1e-5 });
      // A value that is the network's own default counts too.
      const asked = await optionsAfter(
        at('epsilon-asked'),
        '--init',
        weights,
        '--arch-option',
        'epsilon=0.001',
      );
      expect(asked).not.to.have.property('epsilon');
      // A run that was stopped before its first checkpoint.
      await mkdir(at('epsilon-again'));
      await copyFile(at('epsilon-kept', 'config.json'), at('epsilon-again', 'config.json'));
      const { code, stderr } = await runCommand('train', '--resume', '--out', at('epsilon-again'));
      expect(code, stderr).to.equal(0);
      expect((await readWeights(at('epsilon-again'))).options).to.include({ epsilon: 1e-5 });
    });

    it('refuses to write labels that are not as many as the classes', async () => {
      await writeFile(at('few.txt'), 'one\n');
      const to = at('labelled.safetensors');
      const { code, stderr } = await runCommand('convert', run, to, '--labels', at('few.txt'));
      expect(stderr).to.match(/1 names; the weights have \d+ classes/);
      expect(code).to.equal(1);
    });

    for (const mode of modes) {
      it(`feeds arrays in order, as they are, ${mode}`, async () => {
        const n = 4;
        const images = Float32Array.from({ length: n * 71 * 71 * 3 }, (_, i) => uniform(3, i) * 2 - 1);
        await writeNpy(at('x.npy'), { dtype: 'f32', shape: [n, 71, 71, 3], data: images });
        await writeNpy(at('y.npy'), { dtype: 'i32', shape: [n], data: Int32Array.of(0, 1, 2, 1) });
        const ended = await runCommand(
          ...['train', '--arrays', at('x.npy'), at('y.npy'), '--augment', 'none', '--shuffle', 'false'],
          ...[
            '--dropout',
            '0',
            '--log-every',
            '1',
            '--batch',
            '2',
            '--steps',
            '2',
            '--json',
            '--out',
            at(`arrays-${mode}`),
            ...flagsOf(mode),
          ],
        );
        expect(ended.code, ended.stderr).to.equal(0);
        const found = jsonLines(ended);
        expect(found.map(({ step, epoch }) => step ?? `epoch ${epoch}`)).to.deep.equal([1, 2, 'epoch 1']);
        expect((await readWeights(at(`arrays-${mode}`))).classes).to.equal(3);
        const mismatch = await runCommand(
          ...[
            'train',
            '--arrays',
            at('x.npy'),
            at('y.npy'),
            '--size',
            '80',
            '--steps',
            '1',
            '--out',
            at('no'),
          ],
        );
        expect(mismatch.stderr).to.match(/float32 images are taken as they stand, 71 x 71; --size is 80\n$/);
        expect(mismatch.code).to.equal(1);
      });
    }
  });

  describe('eval', () => {
    for (const mode of modes) {
      it(`counts exactly, by the names of the classes, ${mode}`, async () => {
        const ended = await runCommand('eval', data, '--weights', runOf(mode), '--json', ...flagsOf(mode));
        expect(ended.code, ended.stderr).to.equal(0);
        const [found] = jsonLines(ended);
        expect(found).to.include({ images: 4 });
        const classes = found?.per_class as { class: string; images: number }[];
        expect(classes.map((scores) => [scores.class, scores.images])).to.deep.equal([
          ['blue', 2],
          ['red', 2],
        ]);
        const confusion = found?.confusion as number[][];
        expect(confusion.flat().reduce((a, b) => a + b)).to.equal(4);
        expect(found?.top1).to.equal(((confusion[0]?.[0] ?? 0) + (confusion[1]?.[1] ?? 0)) / 4);
      });
    }

    it('refuses a class that the weights do not have', async () => {
      await mkdir(at('other', 'green'), { recursive: true });
      await mkdir(at('other', 'red'), { recursive: true });
      await image(at('other', 'green', '0.jpg'), 0, 1);
      await image(at('other', 'red', '0.jpg'), 100, 2);
      const { code, stderr } = await runCommand('eval', at('other'), '--weights', run);
      expect(stderr).to.match(/'green' is not one of the 2 classes \(blue, red\)\n$/);
      expect(code).to.equal(1);
    });
  });

  describe('predict', () => {
    for (const mode of modes) {
      it(`gives a line per image, best first, and passes over what it cannot read, ${mode}`, async () => {
        await writeFile(at('text.jpg'), 'not an image');
        const good = join(data, 'validation', 'red', '0.jpg');
        const whole = await readFile(good);
        await writeFile(at('cut.jpg'), whole.subarray(0, whole.length / 2));
        const ended = await runCommand(
          'predict',
          at('cut.jpg'),
          good,
          at('text.jpg'),
          '--weights',
          runOf(mode),
          '--json',
          ...flagsOf(mode),
        );
        expect(ended.code).to.equal(1);
        const said = lines(ended.stderr).filter((line) => !line.startsWith('device: '));
        expect(said).to.have.length(2);
        expect(ended.stderr).to.include(at('cut.jpg')).and.include(at('text.jpg'));
        const found = jsonLines(ended);
        expect(found).to.have.length(1);
        expect(found[0]?.file).to.equal(good);
        const predictions = found[0]?.predictions as { index: number; label: string; probability: number }[];
        expect(predictions.map(({ label }) => label)).to.have.members(['blue', 'red']);
        expect(predictions[0]!.probability).to.be.at.least(predictions[1]!.probability);
        expect(predictions[0]!.probability + predictions[1]!.probability).to.be.closeTo(1, 1e-6);
      });
    }

    it('takes names from a file', async () => {
      await writeFile(at('labels.txt'), 'azure\nscarlet\n');
      const good = join(data, 'validation', 'red', '0.jpg');
      const ended = await runCommand('predict', good, '--weights', run, '--labels', at('labels.txt'));
      expect(ended.stdout).to.match(/0\.jpg: (azure|scarlet) 0\.\d+, (azure|scarlet) 0\.\d+\n$/);
      await writeFile(at('labels.txt'), 'azure\u001b[31m\nscarlet\u009b\n');
      const odd = await runCommand('predict', good, '--weights', run, '--labels', at('labels.txt'));
      expect(odd.stdout).to.include('azure\\u001b[31m').and.include('scarlet\\u009b');
      await writeFile(at('labels.txt'), 'azure\n');
      const wrong = await runCommand('predict', good, '--weights', run, '--labels', at('labels.txt'));
      expect(wrong.stderr).to.match(/1 names; the weights have 2 classes\n$/);
      expect(wrong.code).to.equal(1);
    });

    for (const mode of modes) {
      it(`gives the same for an array of uint8, of float32 and for logits, ${mode}`, async () => {
        const n = 3;
        const pixels = Uint8Array.from({ length: n * 71 * 71 * 3 }, (_, i) => uniform(8, i) * 256);
        const floats = Float32Array.from(pixels, (value) => value / 127.5 - 1);
        const shape = [n, 71, 71, 3];
        await writeNpy(at('u8.npy'), { dtype: 'u8', shape, data: pixels });
        await writeNpy(at('f32.npy'), { dtype: 'f32', shape, data: floats });
        const outputs = async (input: string, ...rest: string[]): Promise<Float32Array> => {
          const out = at(`out-${input}-${rest.length}`);
          const { code, stderr, stdout } = await runCommand(
            ...[
              'predict',
              '--input',
              at(input),
              '--output',
              out,
              '--weights',
              runOf(mode),
              ...flagsOf(mode),
              '--batch',
              '2',
              '--json',
              ...rest,
            ],
          );
          expect(code, stderr).to.equal(0);
          expect(stdout).to.equal('');
          const { dtype, shape: found, data: values } = await readNpy(out);
          expect([dtype, found]).to.deep.equal(['f32', [n, 2]]);
          return values as Float32Array;
        };
        const [u8, f32, logits] = [
          await outputs('u8.npy'),
          await outputs('f32.npy'),
          await outputs('f32.npy', '--logits'),
        ];
        for (let i = 0; i < n * 2; i++) expect(u8[i]).to.be.closeTo(f32[i]!, 1e-5);
        for (let i = 0; i < n; i++) {
          const [a, b] = [logits[i * 2]!, logits[i * 2 + 1]!];
          expect(f32[i * 2]).to.be.closeTo(1 / (1 + Math.exp(b - a)), 1e-5);
        }
      });
    }
  });

  describe('convert', () => {
    it('takes the average of a run, or with --raw the weights, and gives the same bytes twice', async () => {
      const to = (name: string, ...rest: string[]) => runCommand('convert', run, at(name), ...rest);
      expect((await to('a.safetensors')).code).to.equal(0);
      expect((await to('b.safetensors')).code).to.equal(0);
      expect((await to('raw.safetensors', '--raw')).code).to.equal(0);
      const [a, b, raw] = await Promise.all(
        ['a', 'b', 'raw'].map((name) => readFile(at(`${name}.safetensors`))),
      );
      expect(a?.equals(b as Buffer)).to.equal(true);
      expect(a?.equals(raw as Buffer)).to.equal(false);
      const checkpoint = join(run, 'checkpoints', 'step-00000002');
      const average = await readWeights(join(checkpoint, 'average.safetensors'));
      expect((await readWeights(at('a.safetensors'))).tensors).to.deep.equal(average.tensors);
    });
  });

  describe('wrong input', () => {
    const fails = async (code: number, says: RegExp, ...args: string[]): Promise<void> => {
      const before = await snapshot(run);
      const ended = await runCommand(...args);
      expect(ended.stderr).to.match(says);
      expect(lines(ended.stderr)).to.have.length(1);
      expect(ended.stdout).to.equal('');
      expect(ended.code).to.equal(code);
      expect(await snapshot(run)).to.deep.equal(before);
    };
    const training = (folder: string): string[] => [
      'train',
      folder,
      '--size',
      '71',
      '--steps',
      '1',
      '--out',
      at('none'),
    ];

    it('a missing folder', () => fails(1, /missing: no such folder/, ...training(at('missing'))));

    it('a folder with one class', async () => {
      await mkdir(at('single', 'train', 'red'), { recursive: true });
      await copyFile(join(data, 'train', 'red', '0.jpg'), at('single', 'train', 'red', '0.jpg'));
      await fails(1, /only one class folder, 'red'; expected at least two/, ...training(at('single')));
    });

    it('a size that the network cannot take', () =>
      fails(2, /--size 10 is too small/, 'train', data, '--size', '10', '--steps', '1', '--out', at('none')));

    it('weights of another network', async () => {
      const weights = await readWeights(run, { raw: true });
      const tensors = new Map(weights.tensors);
      tensors.delete('block5_sepconv1.depthwise.weight');
      await writeWeights(at('foreign.safetensors'), { ...weights, tensors });
      const good = join(data, 'validation', 'red', '0.jpg');
      await fails(
        1,
        /foreign\.safetensors: not weights of xception .*block5_sepconv1\.depthwise\.weight is missing/,
        ...['predict', good, '--weights', at('foreign.safetensors')],
      );
    });

    it('a truncated .safetensors', async () => {
      const whole = await readFile(join(run, 'checkpoints', 'step-00000002', 'model.safetensors'));
      await writeFile(at('cut.safetensors'), whole.subarray(0, 1_000_000));
      await fails(1, /cut\.safetensors: /, 'eval', data, '--weights', at('cut.safetensors'));
    });

    it('weights of another number of classes than --classes, and a file where a folder is expected', async () => {
      const good = join(data, 'validation', 'red', '0.jpg');
      const says = /weights of 2 classes; --classes is 7/;
      await fails(1, says, 'predict', good, '--weights', run, '--classes', '7');
      await fails(1, /0\.jpg: is a file; expected a folder/, 'eval', good, '--weights', run);
    });

    it('float32 images that are no input of the network', async () => {
      const predicting = ['predict', '--input', at('odd.npy'), '--output', at('none.npy'), '--weights', run];
      const odd = new Float32Array(71 * 71 * 3);
      odd[5] = Number.NaN;
      await writeNpy(at('odd.npy'), { dtype: 'f32', shape: [1, 71, 71, 3], data: odd });
      await fails(
        1,
        /odd\.npy: image 0 has NaN at row 0, column 1, channel 2; expected finite/,
        ...predicting,
      );
      await writeNpy(at('odd.npy'), { dtype: 'f32', shape: [1, 40, 40, 3], data: odd.slice(0, 4800) });
      await fails(1, /odd\.npy: .*, 40 x 40 pixels; xception takes at least 71 x 71/, ...predicting);
    });

    it('an ending that is not known, and no file', async () => {
      await writeFile(at('weights.txt'), 'x');
      await fails(1, /not a file of weights that is known/, 'eval', data, '--weights', at('weights.txt'));
      await fails(1, /no such file or folder/, 'eval', data, '--weights', at('missing.h5'));
    });

    it('a corrupt JPEG and a text among good images: left out with their names, and the training goes on', async () => {
      const mixed = at('mixed');
      for (const name of ['blue', 'red']) {
        await mkdir(join(mixed, 'train', name), { recursive: true });
        for (let i = 0; i < 4; i++) {
          await copyFile(join(data, 'train', name, `${i}.jpg`), join(mixed, 'train', name, `${i}.jpg`));
        }
      }
      const bad = join(mixed, 'train', 'red', '4.jpg');
      await writeFile(bad, (await readFile(join(data, 'train', 'red', '0.jpg'))).subarray(0, 600));
      const args = ['train', mixed, '--size', '71', '--epochs', '1', '--polyak', '0'];
      const ended = await runCommand(...args, '--batch', '3', '--out', at('mixed-run'));
      expect(ended.code, ended.stderr).to.equal(0);
      expect(ended.stderr)
        .to.include(`left out: ${bad}: `)
        .and.match(/1 image left out/);
      const strict = await runCommand(...args, '--on-bad-image', 'fail', '--out', at('mixed-strict'));
      expect(strict.stderr).to.include(`${bad}: `).and.not.include('left out');
      expect(strict.code).to.equal(1);
      await writeFile(join(mixed, 'train', 'blue', '4.jpg'), 'text');
      const two = await runCommand(...args, '--batch', '5', '--out', at('mixed-run-2'));
      expect(two.stderr).to.match(/2 of 10 images cannot be read, more than 1 %/);
      expect(two.code).to.equal(1);
    });
  });

  describe('bench', () => {
    it('gives speed and memory of each mode', async () => {
      const ended = await runCommand(
        ...[
          'bench',
          '--mode',
          'train,infer,load',
          '--batch',
          '1',
          '--size',
          '71',
          '--steps',
          '2',
          '--warmup',
          '1',
        ],
        '--json',
      );
      expect(ended.code, ended.stderr).to.equal(0);
      const found = jsonLines(ended);
      expect(found.map(({ mode }) => mode)).to.deep.equal(['train', 'infer', 'load']);
      for (const line of found) {
        expect(line).to.include({ arch: 'xception', batch: 1, size: 71 });
        const { median, min, max } = line.step_ms as Record<string, number>;
        expect(min! <= median! && median! <= max!).to.equal(true);
        expect(line.images_per_second).to.be.greaterThan(0);
        expect(line.peak_bytes).to.be.greaterThan(1e7);
      }
    });
  });
});
