// The command line with networks beside plain Xception: Inception V3, variants, and images with many labels.

import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import sharp from 'sharp';
import { createClassifier, imagenetLabels, inceptionV3, openDevice, readWeights } from '../../lib/index.ts';
import { readNpy, writeNpy } from '../../lib/interop/npy.ts';
import { generate } from '../support/generator.ts';
import { jsonLines, runCommand, startCommand } from './runCommand.ts';

/** Options of torchvision's network beside the classifier at the side. */
const torchvision = { scale: true, countPadding: true, unbiasedVariance: true } as const;

describe('networks on the command line', function () {
  this.timeout(300_000);
  const [images, classes] = [4, 5];
  let folder: string;
  const at = (...names: string[]): string => join(folder, ...names);

  /** Runs a command that must succeed. */
  const done = async (...args: string[]) => {
    const ended = await runCommand(...args, '--device', 'cpu');
    expect(ended.code, ended.stderr).to.equal(0);
    return ended;
  };

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'depthwise-networks-'));
    for (const size of [71, 75]) {
      const shape = [images, size, size, 3];
      await writeNpy(at(`x${size}.npy`), { dtype: 'f32', shape, data: generate('images', shape, 1) });
    }
    await writeNpy(at('one.npy'), { dtype: 'i32', shape: [images], data: Int32Array.of(0, 1, 2, 4) });
    const many = Uint8Array.from({ length: images * classes }, (_, i) => Number(i % 3 === 0));
    await writeNpy(at('many.npy'), { dtype: 'u8', shape: [images, classes], data: many });
  });
  after(() => rm(folder, { recursive: true, force: true }));

  it('gives the figures of Inception V3, and of networks with options', async () => {
    const [info] = jsonLines(await done('info', '--arch', 'inception_v3', '--json'));
    expect(info).to.include({ arch: 'inception_v3', classes: 1000, size: 299 });
    expect(info?.parameters).to.deep.equal({ trainable: 23_817_352, total: 23_851_784 });
    expect((info?.multiply_adds as number) / 1e9).to.be.closeTo(5.71, 0.005);
    const options = ['scale=true', 'auxiliary=true'].flatMap((option) => ['--arch-option', option]);
    const { stdout } = await done('info', '--arch', 'inception_v3', ...options);
    expect(stdout).to.include('27,161,264 trainable');
  });

  for (const [args, says] of [
    ['--arch-option residual=no', /xception: residual expects true or false, got "no"/],
    ['--arch-option auxiliary=true', /xception: no option auxiliary; expected style, residual/],
    ['--arch-option residual', /expected name=value, for example style=xception or vgg, got "residual"/],
    ['--arch inception_v3 --size 74', /--size 74 is too small for inception_v3; expected at least 75/],
    ['--arch inception_v3 --size 298 --arch-option auxiliary=true', /expected at least 299/],
  ] as const) {
    it(`refuses ${args}`, async () => {
      const { code, stderr } = await runCommand('info', ...args.split(' '));
      expect([code, stderr.trim().split('\n').length]).to.deep.equal([2, 1]);
      expect(stderr).to.match(says);
    });
  }

  it('trains, resumes and predicts with Inception V3, compiled and eager', async () => {
    const run = at('inception');
    const data = ['--arrays', at('x75.npy'), at('one.npy'), '--batch', '4', '--shuffle', 'false'];
    const options = ['--arch', 'inception_v3', '--arch-option', 'scale=true', '--dropout', '0'];
    await done('train', ...data, ...options, '--out', run, '--steps', '1');
    await done('train', '--resume', '--out', run, '--steps', '2');
    const config = JSON.parse(await readFile(join(run, 'config.json'), 'utf8')) as Record<string, unknown>;
    expect(config).to.deep.include({ arch: 'inception_v3', classes, size: 75 });
    expect(config.options).to.deep.equal({ dropout: 0, batchNormMomentum: 0.99, scale: true });
    const outputs = async (...flags: string[]) => {
      await done('predict', '--input', at('x75.npy'), '--output', at('y.npy'), '--weights', run, ...flags);
      return (await readNpy(at('y.npy'))).data as Float32Array;
    };
    const eager = await outputs('--eager');
    (await outputs()).forEach((value, i) => {
      expect(value).to.be.closeTo(eager[i] as number, 1e-5);
    });
    const { code, stderr } = await runCommand('convert', run, at('keras.weights.h5'));
    expect(code).to.equal(1);
    expect(stderr).to.include('Keras has no inception_v3 with scale: true');
  });

  it('trains on many labels, and evaluates their mean average precision', async () => {
    const run = at('many');
    const data = ['--arrays', at('x71.npy'), at('many.npy')];
    await done(
      ...['train', ...data, '--loss', 'sigmoid', '--arch-option', 'style=vgg'],
      ...['--batch', '4', '--steps', '1', '--out', run],
    );
    const evaluated = async (...flags: string[]) => {
      const [found] = jsonLines(await done('eval', ...data, '--weights', run, '--json', ...flags));
      expect(found?.images).to.equal(images);
      return found?.map as { k: number; value: number; weighted: number };
    };
    const map = await evaluated();
    expect(map.k).to.equal(classes);
    expect(map.value).to.be.within(0.2, 1);
    // With all classes alike, weights change nothing.
    await writeFile(at('alike.txt'), '2\n'.repeat(classes));
    const alike = await evaluated('--class-importance', at('alike.txt'));
    expect(alike.weighted).to.be.closeTo(map.value, 1e-12);
    await writeFile(at('bad.txt'), '1\n-1\n1\n1\n1\n');
    const bad = await runCommand('eval', ...data, '--weights', run, '--class-importance', at('bad.txt'));
    expect(bad.code).to.equal(1);
    expect(bad.stderr).to.include('line 2 is not a number of at least 0');
    expect((await runCommand('eval', '--weights', run)).code).to.equal(2);
  });

  it('starts from weights with a classifier at the side, and leaves it out where images are too small for it', async () => {
    const weights = at('side.torchvision.safetensors');
    using model = inceptionV3({ classes, ...torchvision, auxiliary: true });
    model.to(openDevice('cpu'));
    await model.save(weights);
    const data = ['--arrays', at('x75.npy'), at('one.npy'), '--batch', '4', '--polyak', '0'];
    const { stderr } = await done('train', ...data, '--init', weights, '--steps', '1', '--out', at('small'));
    expect(stderr).to.include('(auxiliary) is left out, images of 75 pixels are too small for it\n');
    const { options } = await readWeights(at('small'));
    expect(options).to.include(torchvision).and.not.have.property('auxiliary');
    await done('train', '--resume', '--out', at('small'), '--steps', '2');

    const without = at('without.torchvision.safetensors');
    const asked = await done('convert', weights, without, '--arch-option', 'auxiliary=false');
    expect(asked.stderr).to.include('(auxiliary) is left out, as asked');
    expect((await readWeights(without)).options).to.not.have.property('auxiliary');
    const shrunk = await done('convert', weights, at('shrunk.safetensors'), '--size', '150');
    expect(shrunk.stderr).to.include('images of 150 pixels are too small for it');
    await done(...['predict', '--input', at('x75.npy'), '--output', at('y.npy'), '--weights', weights]);
  });

  it('resumes from another folder than it was started in', async () => {
    const data = ['--arrays', 'x71.npy', 'one.npy', '--batch', '4', '--polyak', '0', '--device', 'cpu'];
    const start = ['train', ...data, '--arch-option', 'style=vgg', '--steps', '1', '--out', 'away'];
    const first = await startCommand(start, folder).ended;
    expect(first.code, first.stderr).to.equal(0);
    const { command } = JSON.parse(await readFile(at('away', 'config.json'), 'utf8')) as {
      command: Record<string, unknown>;
    };
    expect(command.arrays).to.deep.equal([at('x71.npy'), at('one.npy')]);
    await mkdir(at('elsewhere'));
    const resume = ['train', '--resume', '--out', '../away', '--steps', '2', '--device', 'cpu'];
    const second = await startCommand(resume, at('elsewhere')).ended;
    expect(second.code, second.stderr).to.equal(0);
    // A run of an earlier version has paths as they were given.
    const earlier = { ...command, arrays: ['x71.npy', 'one.npy'] };
    const config = JSON.parse(await readFile(at('away', 'config.json'), 'utf8')) as object;
    await writeFile(at('away', 'config.json'), JSON.stringify({ ...config, command: earlier }));
    const again = ['train', '--resume', '--out', 'away', '--steps', '3', '--device', 'cpu'];
    const third = await startCommand(again, folder).ended;
    expect(third.code, third.stderr).to.equal(0);
  });

  it('evaluates on a part of the folders of ImageNet, whichever it is', async () => {
    const weights = at('imagenet.safetensors');
    using model = createClassifier('xception', {
      classes: imagenetLabels,
      size: 71,
      variant: { style: 'vgg' },
    });
    model.to(openDevice('cpu'));
    await model.save(weights);
    const pixels = { create: { width: 71, height: 71, channels: 3, background: '#804020' } } as const;
    for (const synset of ['n01443537', 'n02391049']) {
      await mkdir(at('validation', synset), { recursive: true });
      await sharp(pixels)
        .jpeg()
        .toFile(at('validation', synset, '0.jpg'));
    }
    const [found] = jsonLines(await done('eval', at('validation'), '--weights', weights, '--json'));
    expect(found?.images).to.equal(2);
    await mkdir(at('validation', 'zebra'));
    await sharp(pixels)
      .jpeg()
      .toFile(at('validation', 'zebra', '0.jpg'));
    const { code, stderr } = await runCommand('eval', at('validation'), '--weights', weights);
    expect([code, stderr]).to.deep.include(1);
    expect(stderr).to.match(/'n01443537' is not one of the 1000 classes/);
  });

  it('benchmarks Inception V3', async () => {
    const found = jsonLines(
      await done(
        ...['bench', '--arch', 'inception_v3', '--mode', 'train,infer', '--batch', '1', '--size', '75'],
        ...['--steps', '1', '--warmup', '1', '--json'],
      ),
    );
    expect(found.map(({ mode }) => mode)).to.deep.equal(['train', 'infer']);
    for (const line of found) {
      expect(line).to.include({ arch: 'inception_v3', batch: 1, size: 75 });
      expect(line.images_per_second).to.be.greaterThan(0);
    }
  });
});
