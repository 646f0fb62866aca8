// Shards on the command line: `pack`, and training and evaluation on what it makes.

import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { putClasses, temporaryFolder } from '../data/makeImages.ts';
import { jsonLines, runCommand, startCommand } from './runCommand.ts';

const slow = 600_000; // milliseconds; a machine that is busy otherwise

const folder = temporaryFolder();
after(() => folder.remove());
const at = (...parts: string[]): string => join(folder.path, ...parts);
const data = at('data');
const packed = at('packed');

/** Arguments of a training of four steps, in order. */
const training = (out: string, ...paths: string[]) => [
  ...[
    'train',
    ...paths,
    '--size',
    '71',
    '--batch',
    '2',
    '--lr',
    '0.01',
    '--steps',
    '4',
    '--log-every',
    '1',
    '--json',
  ],
  ...['--shuffle', 'false', '--augment', 'none', '--polyak', '0', '--no-report', '--out', at(out)],
];

/** What of a step does not depend on the clock. */
const steps = (lines: readonly Record<string, unknown>[]) =>
  lines
    .filter((line) => 'step' in line && !('epoch' in line))
    .map(({ step, loss, lr }) => ({ step, loss, lr }));

describe('shards on the command line', function () {
  this.timeout(slow);
  let fromFolder: Record<string, unknown>[];

  before(async () => {
    await putClasses(join(data, 'train'), { apple: 3, banana: 3, cherry: 3 });
    await putClasses(join(data, 'validation'), { apple: 2, banana: 1, cherry: 2 });
    const { code, stderr, stdout } = await runCommand(
      'pack',
      data,
      '--out',
      packed,
      '--per-shard',
      '4',
      '--json',
    );
    expect(code, stderr).to.equal(0);
    const [train, validation] = jsonLines({ code, stderr, stdout });
    expect(train).to.include({ out: join(packed, 'train'), samples: 9, classes: 3 });
    expect(validation).to.include({ out: join(packed, 'validation'), samples: 5, classes: 3 });
    expect(readdirSync(join(packed, 'train'))).to.include.members([
      'train-000002.tar',
      'classes.json',
      'pack.json',
    ]);
    const ended = await runCommand(...training('folder', data));
    expect(ended.code, ended.stderr).to.equal(0);
    fromFolder = jsonLines(ended);
    expect(steps(fromFolder)).to.have.length(4);
  });

  it('are trained on with the losses of the folder: a folder of shards with its validation', async () => {
    const ended = await runCommand(...training('shards', packed));
    expect(ended.code, ended.stderr).to.equal(0);
    expect(steps(jsonLines(ended))).to.deep.equal(steps(fromFolder));
    const validation = (lines: readonly Record<string, unknown>[]) =>
      lines.filter((line) => 'validation' in line).map((line) => line.validation);
    expect(validation(jsonLines(ended))).to.deep.equal(validation(fromFolder));
  });

  it('are trained on as a pattern and as a list, and a run goes on with them', async () => {
    const pattern = join(packed, 'train', 'train-{000000..000002}.tar');
    const ended = await runCommand(...training('pattern', pattern));
    expect(ended.code, ended.stderr).to.equal(0);
    expect(steps(jsonLines(ended))).to.deep.equal(steps(fromFolder));
    const files = [0, 1, 2].map((n) => join(packed, 'train', `train-00000${n}.tar`));
    const [two] = [training('list', ...files).map((word) => (word === '4' ? '2' : word))];
    expect((await runCommand(...two)).code).to.equal(0);
    const rest = await runCommand('train', '--out', at('list'), '--resume', '--steps', '4', '--json');
    expect(rest.code, rest.stderr).to.equal(0);
    expect(steps(jsonLines(rest))).to.deep.equal(steps(fromFolder).slice(2));
  });

  it('are evaluated on, matched by the names of the classes', async () => {
    const evaluated = async (...paths: string[]) => {
      const ended = await runCommand('eval', ...paths, '--weights', at('folder'), '--json');
      expect(ended.code, ended.stderr).to.equal(0);
      return jsonLines(ended)[0];
    };
    expect(await evaluated(packed)).to.deep.equal(await evaluated(data));
  });

  it('are packed once: the same command again has nothing to do, another is refused', async () => {
    const again = await runCommand('pack', data, '--out', packed, '--per-shard', '4');
    expect(again.code).to.equal(0);
    expect(again.stdout).to.match(/9 images in 3 shards, 3 of them kept/);
    const other = await runCommand('pack', data, '--out', packed, '--size', '20');
    expect(other.code).to.equal(1);
    expect(other.stderr).to.match(/made otherwise: resize was "none", is "size"/);
  });

  it('say what is wrong with their use', async () => {
    for (const [says, ...args] of [
      [/several paths are tar shards/, 'train', data, packed],
      [
        /--size and --shorter exclude each other/,
        'pack',
        data,
        '--out',
        at('x'),
        '--size',
        '9',
        '--shorter',
        '9',
      ],
      [/Expected a number of bytes, as 256MB/, 'pack', data, '--out', at('x'), '--shard-size', 'much'],
      [/required option '--out <dir>' not specified/, 'pack', data],
    ] as const) {
      const { code, stderr } = await runCommand(...args);
      expect(code, stderr).to.equal(2);
      expect(stderr).to.match(says);
    }
    const { code, stderr } = await runCommand('train', at('none.tar'), '--out', at('none'));
    expect(code).to.equal(1);
    expect(stderr).to.match(/none\.tar: no such file\n/);
  });

  it('are packed until SIGINT, exit code 130, and then to the end', async () => {
    const many = at('many');
    await putClasses(many, { a: 250, b: 250 });
    const args = ['pack', many, '--out', at('stopped'), '--per-shard', '5', '--size', '150'];
    const running = startCommand(args);
    const shardCount = () => {
      try {
        return readdirSync(at('stopped')).filter((name) => name.endsWith('.tar')).length;
      } catch {
        return 0;
      }
    };
    while (shardCount() < 3 && running.child.exitCode === null)
      await new Promise((next) => setTimeout(next, 5));
    running.child.kill('SIGINT');
    const { code, stderr } = await running.ended;
    expect(code, stderr).to.equal(130);
    expect(stderr).to.match(/SIGINT: stopping; what is finished is kept/);
    const rest = await runCommand(...args);
    expect(rest.code, rest.stderr).to.equal(0);
    expect(rest.stderr).to.match(/\d+ finished shards are kept/);
    expect(JSON.parse(await readFile(at('stopped', 'pack.json'), 'utf8'))).to.include({ complete: true });
  });
});
