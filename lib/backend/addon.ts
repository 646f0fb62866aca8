// The native module's exports, as native/addon/module.cc defines them. Handles are plain numbers here.

/** What `openDevice` takes beside the plug-in's path. */
export interface NativeDeviceOptions {
  /** Which device of its kind, from 0. */
  readonly ordinal?: number;
  /** CPU threads; 0 or absent: the backend's choice. */
  readonly threads?: number;
  /** Only algorithms that give the same bits every time. Default false. */
  readonly deterministic?: boolean;
  /** CUDA: TF32 in place of fp32 products. Default false. */
  readonly allowTf32?: boolean;
  /** Where the libraries behind the plug-in were found. */
  readonly libraryFolder?: string;
  /** Bytes that the device may hold in all; 0 or absent: no limit but the machine's. */
  readonly memoryLimit?: number;
  /** Gives every buffer memory of its own, so that AddressSanitizer sees overruns. Slow. Default false. */
  readonly uncached?: boolean;
}

export interface NativeMemory {
  readonly buffers: number;
  readonly live: number;
  readonly cached: number;
  readonly arena: number;
  readonly peak: number;
}

/** A source that was not made into an image. */
export interface NativeImageFailure {
  /** Which of the sources. */
  readonly at: number;
  /** Of depthwise_images.h. */
  readonly status: number;
  readonly reason: string;
}

/** Handles; a Float64Array is much faster to read for native code than a long array. */
export type NativeHandles = readonly number[] | Float64Array;

/**
 * Every function throws an Error with a `code` (`ARGUMENT`, `UNSUPPORTED`, `OUT_OF_MEMORY`, `DEVICE`,
 * `DISPOSED`, `LOAD`, `INTERNAL`) on a wrong argument, a stale handle or a failure; none ends the process.
 */
export interface NativeAddon {
  /** Op names with their codes, of native/include/depthwise_ops.h. */
  opTable(): Record<string, number>;
  /** The same of native/include/depthwise_cudnn_ops.h. */
  cudnnOpTable(): Record<string, number>;
  /**
   * Opens libraries in this order for all that comes later, cuDNN's dispatcher last; gives what `cudnnGetVersion` says.
   */
  openCudnn(paths: readonly string[]): number;
  /**
   * Plans of cuDNN's for a problem, as JSON; both are written down in native/include/depthwise_cudnn.h. `settings`:
   * ordinal, plans, seconds, workspace limit in bytes. `texts`: folders, description, driver; '' where there is none.
   */
  cudnnPlans(
    library: string,
    problem: Float64Array,
    settings: Float64Array,
    texts: readonly string[],
  ): Promise<string>;
  openDevice(path: string, options: NativeDeviceOptions): number;
  /** Waits for queued work, then frees everything. */
  closeDevice(device: number): void;
  /** Facts as one JSON object. */
  describe(device: number): string;
  /** null, or why not. */
  supports(device: number, payload: Float64Array): string | null;
  /** Of a program of one instruction: bytes that its filters take when packed; 0: nothing to pack. */
  packedBytes(device: number, payload: Float64Array): number;
  allocate(device: number, bytes: number): number;
  /** A buffer of its own that is a range of another's bytes; `offset` is a multiple of 64. */
  part(device: number, buffer: number, offset: number, bytes: number): number;
  retain(device: number, buffer: number): void;
  release(device: number, buffer: number): void;
  write(device: number, buffer: number, bytes: Uint8Array): void;
  read(device: number, buffer: number, bytes: number): Promise<Uint8Array>;
  readSync(device: number, buffer: number, bytes: number): Uint8Array;
  prepare(device: number, payload: Float64Array): number;
  run(device: number, program: number, inputs: NativeHandles, outputs: NativeHandles): void;
  /** As run; the bytes of two float64 per instruction, its start and its end in nanoseconds. */
  profile(
    device: number,
    program: number,
    inputs: NativeHandles,
    outputs: NativeHandles,
  ): Promise<Uint8Array>;
  forget(device: number, program: number): void;
  sync(device: number): Promise<void>;
  syncBlocking(device: number): void;
  memory(device: number): NativeMemory;
  /** What is behind the library that makes images, at this path. */
  aboutImages(path: string): string;
  /** Threads that make images, by the library at this path. Numbers of the functions below: lib/data/pool.ts */
  openImages(path: string, workers: number): number;
  /** Cancels, and waits for images in work. */
  closeImages(pool: number): void;
  /** What is queued is not made any more. */
  cancelImages(pool: number): void;
  /** Those that were not made. Sources are paths, encoded images or pixels; they and `out` must not change meanwhile. */
  makeImages(
    pool: number,
    rules: Float64Array,
    sources: readonly (string | Uint8Array)[],
    table: Float64Array,
    out: Uint8Array,
  ): Promise<readonly NativeImageFailure[]>;
  mixImages(pool: number, images: Uint8Array, mix: Float64Array): Promise<void>;
  /** For tests: the random numbers of samples, each of which has three numbers: sample, height and width. */
  drawImages(pool: number, rules: Float64Array, samples: Float64Array): Float64Array;
  /** For tests: one op of RandAugment, in place. `size`: height and width. */
  changeImage(pool: number, op: number, magnitude: Float64Array, rgb: Uint8Array, size: Float64Array): void;
}
