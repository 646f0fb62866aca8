// Who is measured: this project and its peers, each as the command that starts its process.

import { resolve } from 'node:path';
import type { Command } from './child.ts';
import { type Arch, type BenchPrecision, type Setting, settingFlags, type Work } from './protocol.ts';

/** Someone who can run a setting. */
export interface Contender {
  readonly name: string;
  readonly modes: readonly Work[];
  /** Networks, kinds of device and precisions that it is measured with; default: all. */
  readonly archs?: readonly Arch[];
  readonly devices?: readonly string[];
  readonly precisions?: readonly BenchPrecision[];
  command(setting: Setting): Command;
}

/** Whether a contender can be asked for a setting. */
export const takes = (
  { modes, archs, devices, precisions }: Contender,
  { mode, arch, device, precision }: Pick<Setting, 'mode' | 'arch' | 'device' | 'precision'>,
): boolean =>
  modes.includes(mode) &&
  (archs?.includes(arch) ?? true) &&
  (devices?.includes(device.split(':')[0] as string) ?? true) &&
  (precisions?.includes(precision) ?? true);

const root = resolve(import.meta.dirname, '../..');

// In a bundle (docs/cuda.md) the benchmarks are compiled, and there is no loader of TypeScript.
const isSource = import.meta.filename.endsWith('.ts');

/** This project, as this file is: from its sources, or compiled. */
export const ours: Contender = {
  name: 'depthwise',
  modes: ['train', 'infer', 'load'],
  command: (setting) => ({
    file: process.execPath,
    args: [
      ...(isSource ? ['--import', import.meta.resolve('tsx')] : []),
      resolve(import.meta.dirname, isSource ? 'ours.ts' : 'ours.js'),
      ...settingFlags(setting),
    ],
  }),
};

const python = process.env.DEPTHWISE_PYTHON ?? 'python3';

const pythonPeer = (name: string, modes: readonly Work[], script: string, ...flags: string[]): Contender => ({
  name,
  modes,
  command: (setting) => ({
    file: python,
    args: [resolve(root, 'scripts/peers', script), ...settingFlags(setting), ...flags],
    // Before the libraries are loaded, which read it only then.
    env: { OMP_NUM_THREADS: String(setting.threads) },
  }),
});

/** What the scripts of some peers know. */
const plain = { devices: ['cpu'], precisions: ['fp32'] } as const;

/** Everyone else. The interpreter of DEPTHWISE_PYTHON runs them (default: python3). */
export const peers: readonly Contender[] = [
  pythonPeer('torch-eager', ['train', 'infer'], 'bench_torch.py'),
  pythonPeer('torch-compiled', ['train', 'infer'], 'bench_torch.py', '--compile'),
  { ...pythonPeer('keras', ['train', 'infer'], 'bench_keras.py'), ...plain },
  { ...pythonPeer('onnxruntime', ['infer'], 'bench_onnxruntime.py'), ...plain, archs: ['xception'] },
  { ...pythonPeer('torchvision', ['load'], 'bench_torchvision.py'), ...plain },
];
