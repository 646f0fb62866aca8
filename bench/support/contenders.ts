// Who is measured: this project and its peers, each as the command that starts its process.

import { resolve } from 'node:path';
import type { Command } from './child.ts';
import { type Mode, type Setting, settingFlags } from './protocol.ts';

/** Someone who can run a setting. */
export interface Contender {
  readonly name: string;
  readonly modes: readonly Mode[];
  command(setting: Setting): Command;
}

const root = resolve(import.meta.dirname, '../..');

/** This project, from its sources. */
export const ours: Contender = {
  name: 'depthwise',
  modes: ['train', 'infer'],
  command: (setting) => ({
    file: process.execPath,
    args: [
      '--import',
      import.meta.resolve('tsx'),
      resolve(import.meta.dirname, 'ours.ts'),
      ...settingFlags(setting),
    ],
  }),
};

const python = process.env.DEPTHWISE_PYTHON ?? 'python3';

const pythonPeer = (name: string, modes: readonly Mode[], script: string, ...flags: string[]): Contender => ({
  name,
  modes,
  command: (setting) => ({
    file: python,
    args: [resolve(root, 'scripts/peers', script), ...settingFlags(setting), ...flags],
    // Before the libraries are loaded, which read it only then.
    env: { OMP_NUM_THREADS: String(setting.threads) },
  }),
});

/** Everyone else. The interpreter of DEPTHWISE_PYTHON runs them (default: python3). */
export const peers: readonly Contender[] = [
  pythonPeer('torch-eager', ['train', 'infer'], 'bench_torch.py'),
  pythonPeer('torch-compiled', ['train', 'infer'], 'bench_torch.py', '--compile'),
  pythonPeer('keras', ['train', 'infer'], 'bench_keras.py'),
  pythonPeer('onnxruntime', ['infer'], 'bench_onnxruntime.py'),
];
