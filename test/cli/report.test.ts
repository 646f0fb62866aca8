// Presets, reports and explanations on the command line: Xception at 71 pixels on a handful of images.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import sharp from 'sharp';
import { pictureNames } from '../../lib/cli/predict.ts';
import { jsonLines, runCommand } from './runCommand.ts';

describe('depthwise train --preset, report, predict --explain', function () {
  this.timeout(900_000); // milliseconds; a machine that is busy otherwise

  let folder: string;
  const at = (...parts: string[]): string => join(folder, ...parts);

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'depthwise-cli-report-'));
    for (const [part, count] of [
      ['train', 3],
      ['validation', 2],
    ] as const) {
      for (const [name, background] of [
        ['blue', '#2030c0'],
        ['red', '#c03020'],
      ] as const) {
        mkdirSync(at('data', part, name), { recursive: true });
        for (let i = 0; i < count; i += 1) {
          await sharp({ create: { width: 60, height: 90, channels: 3, background } })
            .png()
            .toFile(at('data', part, name, `${i}.png`));
        }
      }
    }
    const { code, stderr } = await runCommand(
      ...['train', at('data'), '--preset', 'small', '--size', '71', '--steps', '2', '--batch', '3'],
      ...['--lr', '0.002', '--log-every', '1', '--device', 'cpu', '--json', '--out', at('run')],
    );
    expect(code, stderr).to.equal(0);
    expect(stderr).not.to.include('not written');
  });
  after(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  it('trains by the preset, with the flags beside it', () => {
    const config = JSON.parse(readFileSync(at('run/config.json'), 'utf8')) as Record<string, unknown>;
    expect(config).to.deep.include({
      ...{ batchSize: 3, polyak: 0.99, labelSmoothing: 0.1, augment: 'light', steps: 2, epochs: null },
      options: { dropout: 0.5, batchNormMomentum: 0.97 },
    });
    expect(config.command).to.include({ preset: 'small', lr: 0.002, schedule: 'cosine', warmup: 100 });
    expect(config.optimizer).to.include({ name: 'adam' });
  });

  it('goes on by the preset that the run had, and refuses another one', async () => {
    const resume = ['train', '--out', at('run'), '--resume', '--steps', '2', '--device', 'cpu'];
    expect(await runCommand(...resume)).to.include({ code: 0 });
    expect(await runCommand(...resume, '--preset', 'small')).to.include({ code: 0 });
    const other = await runCommand(...resume, '--preset', 'finetune', '--batch', '3');
    expect(other.code).to.equal(1);
    expect(other.stderr).to.match(/cannot be resumed with other settings/);
  });

  it('leaves report.html at the end, with the worst mistakes', () => {
    const page = readFileSync(at('run/report.html'), 'utf8');
    expect(page).to.include('Confusion matrix');
    expect(page).to.match(/<dd>\d+\.\d %/);
  });

  it('reports several runs on one page', async () => {
    const file = at('page.html');
    const ended = await runCommand(
      ...['report', at('run'), at('run'), '--no-evaluation', '--out', file, '--json'],
    );
    expect(ended.code, ended.stderr).to.equal(0);
    const [said] = jsonLines(ended);
    expect(said).to.include({ report: file, bytes: statSync(file).size });
    expect(readFileSync(file, 'utf8')).not.to.include('Confusion matrix');
  });

  it('says what is wrong with its arguments', async () => {
    expect((await runCommand('report')).code).to.equal(2);
    const missing = await runCommand('report', at('nothing'));
    expect(missing.code).to.equal(1);
    expect(missing.stderr).to.match(/nothing: no run in it/);
    const array = await runCommand(
      ...['predict', '--explain', '--input', 'x.npy', '--output', 'y.npy', '--weights', at('run')],
    );
    expect(array.code).to.equal(2);
    expect((await runCommand('train', at('data'), '--preset', 'large')).code).to.equal(2);
    const decay = await runCommand('train', at('data'), '--decay-rate', '0.5');
    expect(decay.code).to.equal(2);
    expect(decay.stderr).to.include('--schedule exponential');
  });

  it('draws where the best class was seen', async () => {
    const image = at('data/validation/red/0.png');
    const ended = await runCommand(
      ...['predict', image, image, '--weights', at('run'), '--device', 'cpu', '--json'],
      ...['--explain-out', at('seen')],
    );
    expect(ended.code, ended.stderr).to.equal(0);
    const pictures = jsonLines(ended).map(({ explanation }) => explanation);
    expect(pictures).to.deep.equal([at('seen/0.gradcam.png'), at('seen/0-2.gradcam.png')]);
    const { format, width, height } = await sharp(at('seen/0.gradcam.png')).metadata();
    expect([format, width, height]).to.deep.equal(['png', 60, 90]);
  });

  it('puts the picture beside the image, or tells images of one name apart', () => {
    const beside = pictureNames(undefined);
    expect([beside('a/x.jpg'), beside('b/x.jpg')]).to.deep.equal(['a/x.gradcam.png', 'b/x.gradcam.png']);
    const within = pictureNames('out');
    expect([within('a/x.jpg'), within('b/x.png')]).to.deep.equal([
      'out/x.gradcam.png',
      'out/x-2.gradcam.png',
    ]);
  });
});
