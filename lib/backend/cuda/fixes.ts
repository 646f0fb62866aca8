// What would mend a CUDA that cannot be used, computed from what this machine has.

import { join } from 'node:path';
import type { CudaBuild, Miss } from './libraries.ts';
import type { CudaSystem } from './system.ts';

/** The oldest driver that runs programs of a major version of CUDA. */
const oldestDrivers: Readonly<Record<number, string>> = { 12: '525.60', 13: '580.65' };

export const oldestDriver = (cuda: number): string => oldestDrivers[cuda] ?? `one for CUDA ${cuda}`;

const hasProgram = (system: CudaSystem, name: string): boolean =>
  (system.env.PATH ?? '').split(':').some((folder) => system.stamp(join(folder, name)) !== undefined);

/** Where programs run: what has to be mended outside is not mended by a command inside. */
export function surroundings(system: CudaSystem): 'wsl' | 'container' | 'machine' {
  if (/microsoft/i.test(system.read('/proc/sys/kernel/osrelease') ?? '')) return 'wsl';
  const marks = ['/.dockerenv', '/run/.containerenv'];
  return marks.some((path) => system.stamp(path) !== undefined) ? 'container' : 'machine';
}

/** Whether an NVIDIA GPU sits on the PCI bus, with or without a driver. */
export function hasGpuOnBus(system: CudaSystem): boolean {
  const devices = '/sys/bus/pci/devices';
  return system.list(devices).some((name) => {
    const vendor = system.read(join(devices, name, 'vendor'))?.trim();
    return vendor === '0x10de' && system.read(join(devices, name, 'class'))?.startsWith('0x03') === true;
  });
}

/** Commands of the package managers that are here; of all where none is known. */
function packages(system: CudaSystem, names: { readonly apt: string; readonly dnf: string }): string[] {
  const managers = (['apt', 'dnf'] as const).filter((manager) => hasProgram(system, manager));
  return (managers.length > 0 ? managers : (['apt'] as const)).map(
    (manager) => `${manager} install ${names[manager]}`,
  );
}

/** A driver that is new enough, where it has to be. */
function installDriver(system: CudaSystem, cuda: number): string[] {
  const driver = oldestDriver(cuda);
  switch (surroundings(system)) {
    case 'wsl':
      return [`install NVIDIA's driver ${driver} or later in Windows, then: wsl --shutdown`];
    case 'container':
      return [`install NVIDIA's driver ${driver} or later on the host`];
    case 'machine':
      return [
        ...packages(system, { apt: `nvidia-driver-${driver.split('.')[0]}`, dnf: 'nvidia-driver-cuda' }),
        `install NVIDIA's driver ${driver} or later: https://www.nvidia.com/drivers`,
      ];
  }
}

/** A container sees the GPUs that it was started with. */
const startContainer = 'start the container with the GPUs: docker run --gpus all (NVIDIA Container Toolkit)';

const useCpu = 'go on with the CPU: --device cpu';

/** No driver's library. */
export function noDriverFixes(system: CudaSystem, { cuda }: CudaBuild): string[] {
  const inside = surroundings(system);
  const first =
    inside === 'container'
      ? [startContainer]
      : inside === 'machine' && !hasGpuOnBus(system)
        ? [`${useCpu}; no NVIDIA GPU is to be seen here`]
        : [];
  return [...first, ...installDriver(system, cuda)];
}

/** A driver that is there and does not start. */
export function brokenDriverFixes(system: CudaSystem): string[] {
  const restart = {
    wsl: 'restart WSL: wsl --shutdown',
    container: startContainer,
    machine: "load the driver's modules: modprobe nvidia_uvm; or restart the machine",
  } as const;
  const fixes = ['see what nvidia-smi and dmesg say, and install the driver again', useCpu];
  return [restart[surroundings(system)], ...fixes];
}

/** The kernel's part of the driver and libcuda.so.1 are of versions that do not fit. */
export function mismatchFixes(system: CudaSystem, { cuda }: CudaBuild): string[] {
  const compat = /compat/.test(system.env.LD_LIBRARY_PATH ?? '');
  return [
    ...(compat
      ? ['take the folder with "compat" out of LD_LIBRARY_PATH: its libcuda.so.1 is for other drivers']
      : []),
    'restart the machine: the driver in use may be that of before an update',
    ...installDriver(system, cuda),
  ];
}

/** A driver for an older CUDA. */
export const oldDriverFixes = (system: CudaSystem, { cuda }: CudaBuild): string[] => [
  ...installDriver(system, cuda),
  useCpu,
];

/** A driver without a GPU for us. */
export function noDeviceFixes(system: CudaSystem): string[] {
  const { CUDA_VISIBLE_DEVICES } = system.env;
  return [
    ...(CUDA_VISIBLE_DEVICES === undefined
      ? []
      : [`unset CUDA_VISIBLE_DEVICES, which is "${CUDA_VISIBLE_DEVICES}"`]),
    ...(surroundings(system) === 'container' ? [startContainer] : ['see what nvidia-smi -L lists']),
    useCpu,
  ];
}

/** cuDNN, or what it needs, is not there as it should be. `reason` is the miss that the others stand behind. */
export function libraryFixes(
  system: CudaSystem,
  build: CudaBuild,
  reason: Miss,
  only: 'DEPTHWISE_CUDA_DIR' | 'mapped' | undefined,
): string[] {
  const { cuda } = build;
  if (only === 'mapped') {
    return [
      'open the device before whatever else opens cuDNN in this process',
      'start the process with LD_LIBRARY_PATH so that only one cuDNN is found',
    ];
  }
  const folder = only === undefined ? ['DEPTHWISE_CUDA_DIR=/path'] : [];
  const unset =
    only === undefined
      ? []
      : [
          'unset DEPTHWISE_CUDA_DIR, to have the usual places searched',
          'let it name the folder of libcudnn.so.9',
        ];
  if (reason.companion !== undefined) {
    const wheel = cuda >= 13 ? 'nvidia-cublas' : `nvidia-cublas-cu${cuda}`;
    const ofSystem = packages(system, { apt: `libcublas-${cuda}-0`, dnf: `libcublas-${cuda}-0` });
    return [`pip install ${wheel}`, ...ofSystem, `CUDA_HOME=/path of CUDA ${cuda}`];
  }
  const again = { CUDNN_NOT_FOUND: '', CUDNN_INCOMPLETE: '--force-reinstall ', CUDNN_TOO_OLD: '--upgrade ' };
  return [
    ...unset,
    `pip install ${again[reason.code]}nvidia-cudnn-cu${cuda}`,
    ...packages(system, { apt: `libcudnn9-cuda-${cuda}`, dnf: `libcudnn9-cuda-${cuda}` }),
    ...folder,
  ];
}
