// Descriptions of GPUs: what cuDNN wants to know of a device in order to plan for it, where there is none.
// Figures are from NVIDIA's product pages, architecture papers and the CUDA C++ programming guide's table of compute
// capabilities. They choose engines; nothing runs on them.

/** A device as cuDNN describes it (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION), key by key. */
export interface DeviceDescription {
  readonly deviceName: string;
  /** Compute capability times 100: 900 for 9.0. */
  readonly deviceVer: number;
  readonly multiProcessorCount: number;
  readonly [key: string]: number | string | readonly number[];
}

/** What differs from one GPU to another. */
interface Figures {
  readonly name: string;
  readonly capability: number;
  readonly multiprocessors: number;
  /** KiB of shared memory that one block may ask for. */
  readonly sharedKiB: number;
  readonly blocks: number;
  readonly threads: number;
  /** MHz, of multiprocessors at boost and of memory. */
  readonly clocks: readonly [multiprocessors: number, memory: number];
  /** MiB of level-2 cache. */
  readonly cacheMiB: number;
  /** Of memory, in bytes. */
  readonly memory: number;
  readonly pciDevice: number;
}

const describe = (f: Figures): DeviceDescription => ({
  deviceName: f.name,
  deviceVer: f.capability * 10,
  multiProcessorCount: f.multiprocessors,
  cudaDeviceId: 0,
  driverVer: 13000,
  maxGridSize: [2 ** 31 - 1, 65535, 65535],
  maxBlockSize: [1024, 1024, 64],
  regsPerBlock: 65536,
  smCountOrigin: 0,
  warpSize: 32,
  maxSharedMemoryPerBlock: 48 * 1024,
  maxSharedMemoryPerBlockOptin: f.sharedKiB * 1024,
  // From compute capability 8.0 on the system keeps 1 KiB of each block.
  reservedSharedMemoryPerBlock: f.capability >= 80 ? 1024 : 0,
  maxRegistersPerSM: 65536,
  maxCtasPerSM: f.blocks,
  maxThreadsPerBlock: 1024,
  maxThreadsPerSM: f.threads,
  pciDeviceId: f.pciDevice,
  isTccDriver: 0,
  supportCoopLaunch: 1,
  smClockRateKHz: f.clocks[0] * 1000,
  memClockRateKHz: f.clocks[1] * 1000,
  l2CacheSize: f.cacheMiB * 2 ** 20,
  totalGlobalMem: f.memory,
});

/** Described GPUs by short name, oldest first. */
export const describedDevices = {
  t4: describe({
    name: 'Tesla T4',
    capability: 75,
    multiprocessors: 40,
    sharedKiB: 64,
    blocks: 16,
    threads: 1024,
    clocks: [1590, 5001],
    cacheMiB: 4,
    memory: 15.6e9,
    pciDevice: 0x1eb8,
  }),
  a100: describe({
    name: 'NVIDIA A100-SXM4-80GB',
    capability: 80,
    multiprocessors: 108,
    sharedKiB: 163,
    blocks: 32,
    threads: 2048,
    clocks: [1410, 1593],
    cacheMiB: 40,
    memory: 85e9,
    pciDevice: 0x20b2,
  }),
  rtx4090: describe({
    name: 'NVIDIA GeForce RTX 4090',
    capability: 89,
    multiprocessors: 128,
    sharedKiB: 99,
    blocks: 24,
    threads: 1536,
    clocks: [2520, 10501],
    cacheMiB: 72,
    memory: 25.3e9,
    pciDevice: 0x2684,
  }),
  h100: describe({
    name: 'NVIDIA H100 80GB HBM3',
    capability: 90,
    multiprocessors: 132,
    sharedKiB: 227,
    blocks: 32,
    threads: 2048,
    clocks: [1980, 2619],
    cacheMiB: 50,
    memory: 85e9,
    pciDevice: 0x2330,
  }),
  h200: describe({
    name: 'NVIDIA H200',
    capability: 90,
    multiprocessors: 132,
    sharedKiB: 227,
    blocks: 32,
    threads: 2048,
    clocks: [1980, 3201],
    cacheMiB: 60,
    memory: 150.7e9,
    pciDevice: 0x2335,
  }),
  b200: describe({
    name: 'NVIDIA B200',
    capability: 100,
    multiprocessors: 148,
    sharedKiB: 227,
    blocks: 32,
    threads: 2048,
    clocks: [1965, 3996],
    cacheMiB: 126,
    memory: 191.5e9,
    pciDevice: 0x2901,
  }),
  rtx5090: describe({
    name: 'NVIDIA GeForce RTX 5090',
    capability: 120,
    multiprocessors: 170,
    sharedKiB: 99,
    blocks: 24,
    threads: 1536,
    clocks: [2407, 14001],
    cacheMiB: 96,
    memory: 33.6e9,
    pciDevice: 0x2b85,
  }),
} as const satisfies Readonly<Record<string, DeviceDescription>>;

/** A key of {@link describedDevices}. */
export type DescribedDevice = keyof typeof describedDevices;
