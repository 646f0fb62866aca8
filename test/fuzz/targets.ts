// Fuzz targets: each parser of foreign files, with small files that it reads, from which others are made by mutation.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import sharp from 'sharp';
import { ZipFile } from 'yazl';
import { CheckpointError } from '../../lib/core/errors.ts';
import { decodeImage, imageInfo, unreadable } from '../../lib/data/decode.ts';
import { ImagePool, imageSupport } from '../../lib/data/pool.ts';
import { indexText, parseClasses, parseIndex } from '../../lib/data/shardIndex.ts';
import { scanShard } from '../../lib/data/shardScan.ts';
import { buildH5, readH5 } from '../../lib/interop/h5File.ts';
import { unpackKerasArchive } from '../../lib/interop/kerasArchive.ts';
import { settingsIn } from '../../lib/interop/kerasConfig.ts';
import { parseNpy, serializeNpy } from '../../lib/interop/npy.ts';
import { parseSafetensors, serializeSafetensors } from '../../lib/interop/safetensors.ts';
import { readNotes } from '../../lib/interop/torchNotes.ts';
import { readRun } from '../../lib/report/runs.ts';
import {
  checkpointFolder,
  openCheckpoint,
  type RunState,
  writeCheckpoint,
} from '../../lib/train/checkpoint.ts';
import { inMemory, tarOf } from '../data/makeShards.ts';

/** A parser under test. */
export interface Target {
  /** Files that it reads. */
  seeds(): Promise<readonly Uint8Array[]>;
  /** Gives a value, or throws an error of this package. */
  parse(bytes: Uint8Array): unknown;
}

/** For the native decoder; its thread ends with the process. */
let fuzzPool: ImagePool | undefined;

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const f32 = (...values: number[]) =>
  ({ dtype: 'f32', shape: [values.length], data: Float32Array.from(values) }) as const;

const smallH5 = (): Promise<Uint8Array> =>
  buildH5((h5) => {
    h5.group('/layers/dense');
    h5.strings('/layers', 'names', ['dense']);
    h5.dataset('/layers/dense/kernel', [2, 2], Float32Array.of(1, 2, 3, 4));
  });

const shard = () =>
  tarOf([
    ['a.jpg', 'x'],
    ['a.cls', '1'],
    ['dir/b.png', 'yy'],
    ['dir/b.json', '{"label":2}'],
  ]);

const kerasModel = JSON.stringify({
  class_name: 'Functional',
  config: {
    layers: [
      { class_name: 'InputLayer', config: { batch_shape: [null, 71, 71, 3] } },
      { class_name: 'BatchNormalization', config: { epsilon: 0.001, momentum: 0.99 } },
      { class_name: 'Dense', config: { activation: 'softmax' } },
    ],
  },
});

/** A checkpoint's state, as it stands in the middle of an epoch. */
const state: RunState = {
  step: 7,
  epoch: 1,
  batch: 2,
  samples: 56,
  sums: { loss: 1.5, correct: 3, images: 16 },
  best: { step: 5, epoch: 1, monitor: 'top1', value: 0.5, loss: 1.25, since: 0 },
  metricsBytes: 100,
  config: { batchSize: 8, optimizer: { name: 'sgd' } },
};

async function readAsRun(
  file: string,
  other: readonly [string, string],
  bytes: Uint8Array,
): Promise<unknown> {
  const folder = mkdtempSync(join(tmpdir(), 'depthwise-fuzz-'));
  try {
    writeFileSync(join(folder, other[0]), other[1]);
    writeFileSync(join(folder, file), bytes);
    return await readRun(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The native decoder: whole images and crops of them, shrunk while decoding and not. */
const jpeg: Target = {
  seeds: async () => {
    const noise = Buffer.from(
      Uint8Array.from({ length: 40 * 56 * 3 }, (_, i) => (i * 37 + (i >> 5) * 11) % 256),
    );
    const picture = sharp(noise, { raw: { width: 40, height: 56, channels: 3 } });
    const kinds = [
      picture.clone().jpeg({ quality: 40 }),
      picture.clone().jpeg({ chromaSubsampling: '4:4:4', progressive: true }),
      picture.clone().withMetadata({ orientation: 6 }).jpeg(),
      picture.clone().greyscale().jpeg(),
      picture.clone().toColourspace('cmyk').jpeg(),
    ];
    return Promise.all(kinds.map((kind) => kind.toBuffer()));
  },
  parse: async (bytes) => {
    fuzzPool ??= new ImagePool(1);
    const jobs = Array.from({ length: 4 }, (_, sample) => ({ input: bytes, sample }));
    for (const rules of [
      { height: 6, width: 5 },
      { height: 60, width: 50, augment: 'inception' },
    ] as const) {
      const out = new Uint8Array(rules.height * rules.width * 3);
      const [failure] = await fuzzPool.make(rules, jobs, out);
      if (failure !== undefined) throw unreadable(bytes, failure.reason);
    }
  },
};

export const targets: Readonly<Record<string, Target>> = {
  safetensors: {
    seeds: async () => [
      Buffer.concat(
        serializeSafetensors(
          new Map([
            ['w', f32(1, 2)],
            ['b', f32(3)],
          ]),
          new Map([['format', 'pt']]),
        ),
      ),
      Buffer.concat(serializeSafetensors(new Map([['w', f32(1, 2)]]), new Map(), { checksum: false })),
    ],
    parse: (bytes) => parseSafetensors(bytes),
  },
  npy: {
    seeds: async () => [
      Buffer.concat(serializeNpy({ dtype: 'f32', shape: [2, 1], data: Float32Array.of(1, 2) })),
    ],
    parse: (bytes) => parseNpy(bytes),
  },
  h5: {
    seeds: async () => [await smallH5()],
    // The parser takes its bytes over.
    parse: (bytes) =>
      readH5(bytes.slice(), 'x.h5', (h5) => {
        h5.strings('/layers', 'names');
        for (const name of h5.children('/layers')) {
          for (const child of h5.children(`/layers/${name}`)) {
            const dataset = h5.dataset(`/layers/${name}/${child}`);
            if (dataset?.shape.join() === '2,2') h5.read(dataset);
          }
        }
      }),
  },
  keras: {
    seeds: async () => {
      const zip = new ZipFile();
      zip.addBuffer(Buffer.from(await smallH5()), 'model.weights.h5', { mtime: new Date(0) });
      zip.addBuffer(Buffer.from(kerasModel), 'config.json', { mtime: new Date(0) });
      zip.end();
      return [new Uint8Array(await buffer(zip.outputStream))];
    },
    // The weights inside, h5, are a target of their own: those of a whole network are too large for a seed.
    parse: (bytes) => unpackKerasArchive(bytes.slice()),
  },
  'keras-config': {
    seeds: async () => [utf8(kerasModel)],
    parse: (bytes) =>
      settingsIn('xception', textOf(bytes), true, (message) => {
        throw new CheckpointError(message, { code: 'KERAS_CONFIG' });
      }),
  },
  tar: { seeds: async () => [shard()], parse: (bytes) => scanShard(inMemory(bytes), 'x.tar') },
  'shard-index': {
    seeds: async () => [utf8(indexText(await scanShard(inMemory(shard()), 'x.tar')))],
    parse: (bytes) => parseIndex(textOf(bytes), 'x.index.json'),
  },
  classes: {
    seeds: async () => [utf8('["a","b"]'), utf8('a\nb\n')],
    parse: (bytes) => parseClasses(textOf(bytes), bytes.length % 2 === 0 ? 'classes.txt' : 'classes.json'),
  },
  config: {
    seeds: async () => [utf8('{"images":20,"batchSize":2,"command":{"data":"x"}}')],
    parse: (bytes) => readAsRun('config.json', ['metrics.jsonl', '{"step":1,"loss":1}\n'], bytes),
  },
  metrics: {
    seeds: async () => [utf8('{"step":1,"loss":2,"lr":0.1}\n{"epoch":1,"train":{"loss":2,"top1":0.5}}\n')],
    parse: (bytes) => readAsRun('metrics.jsonl', ['config.json', '{"images":20,"batchSize":2}'], bytes),
  },
  'torch-notes': {
    seeds: async () =>
      [{ transform_input: 'True' }, { format: 'pt', preprocessing: 'timm' }].map((notes) =>
        Buffer.concat(
          serializeSafetensors(new Map([['w', f32(1)]]), new Map(Object.entries(notes)), { checksum: false }),
        ),
      ),
    parse: (bytes) =>
      readNotes('inception_v3', parseSafetensors(bytes).metadata, (message) => {
        throw new CheckpointError(message, { code: 'TORCH_NOTES' });
      }),
  },
  'checkpoint-state': {
    seeds: async () => {
      const run = mkdtempSync(join(tmpdir(), 'depthwise-fuzz-'));
      try {
        await writeCheckpoint(run, new Map([['model', (file) => writeFile(file, 'weights')]]), state, 1);
        return [readFileSync(join(checkpointFolder(run, state.step), 'state.json'))];
      } finally {
        rmSync(run, { recursive: true });
      }
    },
    parse: (bytes) => {
      const run = mkdtempSync(join(tmpdir(), 'depthwise-fuzz-'));
      writeFileSync(join(run, 'model'), 'weights');
      writeFileSync(join(run, 'state.json'), bytes);
      return openCheckpoint(run).finally(() => rmSync(run, { recursive: true }));
    },
  },
  ...(imageSupport().native ? { jpeg } : {}),
  image: {
    seeds: async () => {
      const picture = sharp({ create: { width: 16, height: 16, channels: 3, background: '#345' } });
      return Promise.all(
        [picture.clone().jpeg(), picture.clone().png(), picture.clone().webp()].map((x) => x.toBuffer()),
      );
    },
    parse: async (bytes) => {
      await imageInfo(bytes);
      // Headers may claim what takes long to fill, within the limit of pixels: the header is what is tested here.
      const { width, height } = await imageInfo(bytes);
      if (width * height < 1e6) await decodeImage(bytes, { width: 8, height: 8 });
    },
  },
};
