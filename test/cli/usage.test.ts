// The command line where no network runs: figures, help, and arguments that are wrong.

import { expect } from 'chai';
import { jsonLines, runCommand } from './runCommand.ts';

describe('depthwise info', () => {
  it('gives the figures of the paper', async () => {
    const [info] = jsonLines(await runCommand('info', '--arch', 'xception', '--json'));
    expect(info).to.include({ arch: 'xception', classes: 1000, size: 299 });
    expect(info?.parameters).to.deep.equal({ trainable: 22_855_952, total: 22_910_480 });
    expect((info?.multiply_adds as number) / 1e9).to.be.closeTo(8.36, 0.005);
    const layers = info?.layers as {
      name: string;
      output: number[];
      parameters: number;
      multiply_adds: number;
    }[];
    const sum = (key: 'parameters' | 'multiply_adds') =>
      layers.reduce((total, layer) => total + layer[key], 0);
    expect(sum('parameters')).to.equal(22_910_480);
    expect(sum('multiply_adds')).to.equal(info?.multiply_adds);
    const at = (name: string) => layers.find((layer) => layer.name === name);
    expect(at('block4_sepconv1.depthwise')).to.deep.include({
      type: 'depthwiseConv2d',
      output: [37, 37, 256],
    });
    expect(at('block14_sepconv2.pointwise')).to.deep.include({
      output: [10, 10, 2048],
      parameters: 1536 * 2048,
    });
    expect(at('predictions')).to.deep.include({ output: [1000], parameters: 2_049_000 });
  });

  it('follows --classes and --size', async () => {
    const { stdout, code } = await runCommand('info', '--classes', '10', '--size', '71');
    expect(code).to.equal(0);
    expect(stdout).to.match(/predictions +linear +10 +20,490 +20,480\n/);
    expect(stdout).to.include('20,827,442'); // 22,855,952 - 2,049,000 + 20,490
  });
});

describe('depthwise doctor', () => {
  it('says what is used and why the rest is not', async () => {
    const ended = await runCommand('doctor', '--json');
    expect(ended.code).to.equal(0);
    const [found] = jsonLines(ended);
    const backends = found?.backends as {
      name: string;
      usable: boolean;
      code: string | null;
      reason: string | null;
    }[];
    expect(backends.map(({ name }) => name)).to.deep.equal(['cpu', 'cuda']);
    expect(found?.images).to.have.property('native');
    for (const { usable, code, reason } of backends) {
      if (usable) expect([code, reason]).to.deep.equal([null, null]);
      else expect([typeof code, typeof reason]).to.deep.equal(['string', 'string']);
    }
  });
});

describe('wrong arguments', () => {
  const cases: readonly (readonly [args: string, says: RegExp])[] = [
    ['', /no command; expected a command: info, doctor, train, eval, predict, convert, pack, bench, report/],
    ['trian data', /unknown command 'trian'; expected a command: info/],
    ['info --colour', /unknown option '--colour'; info accepts --arch, --classes, --size/],
    ['info --size 10', /--size 10 is too small for xception; expected at least 71/],
    ['train data --size 70', /--size 70 is too small for xception; expected at least 71/],
    ['info --size ten', /'ten' is invalid\. Expected a whole number of at least 1/],
    ['info --arch resnet50', /'resnet50' is invalid\. Allowed choices are xception/],
    ['info --device tpu', /'tpu' is invalid\. Expected auto, cpu, cuda or cuda:<n>/],
    ['train', /expected a data folder, or --arrays X\.npy Y\.npy/],
    ['train data --arrays x.npy y.npy', /exclude each other/],
    ['train --arrays x.npy', /--arrays takes two files/],
    ['train data --steps 1 --epochs 1', /--epochs and --steps exclude each other/],
    ['train data --epochs 0', /at least 1/],
    ['train data --lr 0', /Expected a number above 0/],
    ['train data --on-bad-image ignore', /Allowed choices are skip, fail/],
    ['train data --mixup -1', /at least 0/],
    ['train data --erasing 2', /at least 0/],
    ['train data --augment autoaugment', /Allowed choices are inception, light, randaugment, none/],
    ['train data --polyak 1', /at least 0 and below 1/],
    ['train data --optimizer lion', /Allowed choices are sgd, rmsprop, adam/],
    [
      'train data --optimizer adam --momentum 0.9',
      /--momentum is not a flag of --optimizer adam; it takes --epsilon/,
    ],
    ['train data --shuffle maybe', /Expected true or false/],
    ['train data --resume', /--resume needs --out/],
    ['eval data', /required option '--weights <file>' not specified/],
    ['predict --weights w.h5', /expected image files, or --input X\.npy --output Y\.npy/],
    ['predict --weights w.h5 --input x.npy', /--input and --output belong together/],
    ['predict a.jpg --weights w.h5 --top 0', /at least 1/],
    ['convert a.h5', /missing required argument 'to'/],
    ['convert a.h5 b.txt', /cannot write b\.txt; expected a name that ends with \.safetensors/],
    [
      'convert a.h5 b.safetensors --logits',
      /--logits is not kept in a file \.safetensors; expected \.onnx, or no/,
    ],
    [
      'convert a.h5 b.weights.h5 --labels l.txt',
      /--labels is not kept in a file \.weights\.h5; expected \.safe/,
    ],
    ['convert a.h5 b.timm.safetensors --size 96', /--size is not kept in a file \.timm\.safetensors/],
    ['convert a.h5 b.onnx --activation relu', /Allowed choices are softmax, sigmoid/],
    ['bench --mode dance', /Expected names among train, infer, load/],
    ['info extra', /too many arguments for 'info'/],
  ];
  for (const [args, says] of cases) {
    it(`depthwise ${args}`, async () => {
      const { code, stdout, stderr } = await runCommand(...args.split(' ').filter((word) => word !== ''));
      expect(stderr).to.match(says);
      expect(stderr.trimEnd().split('\n')).to.have.length(1);
      expect(stdout).to.equal('');
      expect(code).to.equal(2);
    });
  }

  it('prints help on stdout and succeeds', async () => {
    for (const args of [['--help'], ['train', '--help']]) {
      const { code, stdout, stderr } = await runCommand(...args);
      expect(stdout).to.match(/^Usage: depthwise/);
      expect(stderr).to.equal('');
      expect(code).to.equal(0);
    }
  });

  it('exits with 3 for a device that is not there', async () => {
    const { code, stderr } = await runCommand('predict', 'a.jpg', '--weights', 'w.h5', '--device', 'cuda:99');
    expect(stderr).to.match(/--device cuda:99 cannot be used: /);
    expect(code).to.equal(3);
    const found = await runCommand('doctor', '--device', 'cuda:99', '--json');
    expect(jsonLines(found)[0]).to.include({ device: null });
    expect(found.code).to.equal(3);
  });

  it('shows the stack with DEPTHWISE_DEBUG=1', async () => {
    process.env.DEPTHWISE_DEBUG = '1';
    try {
      expect((await runCommand('convert', 'missing.h5', 'b.h5')).stderr).to.match(/DataError: .*\n +at /);
    } finally {
      delete process.env.DEPTHWISE_DEBUG;
    }
  });
});
