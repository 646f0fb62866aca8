// HDF5 files through the HDF5 library as WebAssembly. Knows no model and no Keras.
//
// The library sees a file system in memory that holds the one file, so nothing in a file (external links,
// external storage) can reach another file of the machine.

import { CheckpointError, LoadError } from '../core/errors.ts';
import { printableLine } from '../core/printable.ts';
import type { StoredTensor } from './storedTensor.ts';

type Hdf5 = typeof import('h5wasm');
type Hdf5File = InstanceType<Hdf5['File']>;

/** Codes of the errors of this format; stable. */
export type H5Code = 'H5_FORMAT' | 'H5_DAMAGED' | 'H5_DTYPE' | 'H5_SIZE';

/** A dataset without its elements. */
export interface H5Dataset {
  readonly path: string;
  readonly shape: readonly number[];
}

const signature = new Uint8Array([0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a]);
/** WebAssembly addresses 2 GiB of a file in memory. */
const maximumFileBytes = 2 ** 31 - 1;
/** Attributes are lists of names; HDF5 itself holds at most 64 KiB in the usual place. */
const maximumAttributeBytes = 2 ** 24;

const dataPath = '/data.h5';
const messagesPath = '/messages.txt';
const stderrPath = '/dev/stderr';
const stderrDescriptor = 2;

/** What is used of Emscripten's file system. */
interface FileSystem {
  writeFile(path: string, data: Uint8Array, options: { canOwn: boolean }): void;
  readFile(path: string): Uint8Array;
  unlink(path: string): void;
  stat(path: string): { size: number };
  open(path: string, flags: string): object;
  close(stream: object): void;
  getStream(descriptor: number): object;
}

const isFileSystem = (value: unknown): value is FileSystem =>
  typeof value === 'object' && value !== null && 'getStream' in value && 'writeFile' in value;

/** The library with its file system. It is loaded when the first file needs it. */
async function load(): Promise<{ hdf5: Hdf5; fs: FileSystem }> {
  const hdf5 = await import('h5wasm');
  const fs: unknown = (await hdf5.ready).FS;
  if (!isFileSystem(fs)) throw new LoadError('h5wasm: this version has no file system in memory');
  return { hdf5, fs };
}

/**
 * Gathers what the library prints to stderr. That is the only place where it tells of failures that its
 * JavaScript layer does not return, for example of a dataset that could not be read.
 */
class Messages {
  private readonly fs: FileSystem;

  constructor(fs: FileSystem) {
    this.fs = fs;
    this.redirect(messagesPath, 'w');
  }

  private redirect(path: string, flags: string): void {
    // The lowest free descriptor is taken, which is the one just closed.
    this.fs.close(this.fs.getStream(stderrDescriptor));
    this.fs.open(path, flags);
  }

  get any(): boolean {
    return this.fs.stat(messagesPath).size > 0;
  }

  /** The innermost reason of the library's error stack. */
  reason(): string {
    const text = new TextDecoder().decode(this.fs.readFile(messagesPath));
    const first = text.split('HDF5-DIAG').find((part) => part.includes('#000')) ?? text;
    const lines = first.split('\n').filter((line) => /^\s+#\d+:/.test(line));
    return (lines.at(-1) ?? first)
      .replace(/^.*?\(\): /, '')
      .trim()
      .slice(0, 160);
  }

  end(): void {
    this.redirect(stderrPath, 'w');
    this.fs.unlink(messagesPath);
  }
}

/**
 * An open HDF5 file. Every method throws CheckpointError `H5_DAMAGED` when the library cannot read what it
 * asks.
 */
export class H5Reader {
  readonly file: string;
  private readonly hdf5: Hdf5;
  private readonly handle: Hdf5File;
  private readonly messages: Messages;

  /** Use {@link readH5}. */
  constructor(file: string, hdf5: Hdf5, handle: Hdf5File, messages: Messages) {
    this.file = file;
    this.hdf5 = hdf5;
    this.handle = handle;
    this.messages = messages;
  }

  private fail(code: H5Code, message: string): never {
    throw new CheckpointError(`${this.file}: ${printableLine(message)}`, { file: this.file, code });
  }

  private checked<T>(what: string, action: () => T): T {
    let result: T;
    try {
      result = action();
    } catch (error) {
      const reason = this.messages.any ? this.messages.reason() : String(error);
      this.fail('H5_DAMAGED', `damaged: ${what} cannot be read: ${reason}`);
    }
    if (this.messages.any)
      this.fail('H5_DAMAGED', `damaged: ${what} cannot be read: ${this.messages.reason()}`);
    return result;
  }

  private group(path: string): InstanceType<Hdf5['Group']> | undefined {
    const entity = this.checked(path, () => this.handle.get(path));
    return entity instanceof this.hdf5.Group ? entity : undefined;
  }

  /** Names in a group, in the order of the file; empty when there is no such group. */
  children(path: string): readonly string[] {
    const group = this.group(path);
    return group === undefined ? [] : this.checked(path, () => group.keys());
  }

  /**
   * The strings of an attribute of a group (one string counts as a list of one); undefined when there is
   * none.
   */
  strings(path: string, name: string): readonly string[] | undefined {
    const what = `attribute ${name} of ${path}`;
    const attribute = this.checked(what, () => this.group(path)?.attrs[name]);
    if (attribute === undefined) return undefined;
    const { shape, size, total_size: count } = attribute.metadata;
    if (shape === null || count === 0) return [];
    if (count * size > maximumAttributeBytes)
      this.fail('H5_DAMAGED', `damaged: ${what} has ${count} elements`);
    const value: unknown = this.checked(what, () => attribute.value);
    const list: readonly unknown[] = Array.isArray(value) ? value : [value];
    if (!list.every((text) => typeof text === 'string'))
      this.fail('H5_DAMAGED', `${what} is not a list of strings`);
    return list as readonly string[];
  }

  /** The dataset at `path`; undefined when there is none. */
  dataset(path: string): H5Dataset | undefined {
    const entity = this.checked(path, () => this.handle.get(path));
    if (!(entity instanceof this.hdf5.Dataset)) return undefined;
    return { path, shape: this.checked(path, () => entity.shape) ?? [] };
  }

  /**
   * The elements of a dataset of float32 or float64. Check its shape first: memory is taken for all of it.
   */
  read({ path, shape }: H5Dataset): StoredTensor {
    const entity = this.checked(path, () => this.handle.get(path));
    const value: unknown = this.checked(path, () => {
      if (!(entity instanceof this.hdf5.Dataset)) return undefined;
      // The library cannot tell 16-bit floats from raw bytes; its own error would speak of an accessor.
      const { type, size } = entity.metadata;
      const float = this.hdf5.Module.H5T_class_t.H5T_FLOAT.value;
      return type === float && (size === 4 || size === 8) ? entity.value : `${size * 8} bits, class ${type}`;
    });
    // A scalar comes as a number.
    if (typeof value === 'number') return { dtype: 'f32', shape, data: Float32Array.of(value) };
    if (value instanceof Float32Array) return { dtype: 'f32', shape, data: value };
    if (value instanceof Float64Array) return { dtype: 'f64', shape, data: value };
    return this.fail('H5_DTYPE', `${path} has elements of ${value}, expected float32 or float64`);
  }
}

/**
 * Runs `action` while what the library prints is gathered. Synchronous, so that no other use of the library
 * mixes in.
 */
function withLibrary<T>(fs: FileSystem, action: (messages: Messages) => T): T {
  const messages = new Messages(fs);
  try {
    return action(messages);
  } finally {
    messages.end();
  }
}

/**
 * Calls `use` with the HDF5 file whose contents are `bytes`, and closes it. `bytes` belong to this function
 * from then on. `file` is the name for errors. The JavaScript thread is kept while `use` runs: about 0.3 s
 * for 90 MB.
 * @throws CheckpointError with an {@link H5Code}.
 */
export async function readH5<T>(bytes: Uint8Array, file: string, use: (h5: H5Reader) => T): Promise<T> {
  const refuse = (code: H5Code, message: string): never => {
    throw new CheckpointError(`${file}: ${printableLine(message)}`, { file, code });
  };
  if (!signature.every((byte, i) => bytes[i] === byte)) refuse('H5_FORMAT', 'not an HDF5 file');
  if (bytes.byteLength > maximumFileBytes) {
    refuse('H5_SIZE', `${bytes.byteLength} bytes, expected at most ${maximumFileBytes}`);
  }
  const { hdf5, fs } = await load();
  return withLibrary(fs, (messages) => {
    fs.writeFile(dataPath, bytes, { canOwn: true });
    let handle: Hdf5File | undefined;
    try {
      handle = new hdf5.File(dataPath, 'r');
      // A failed open returns a handle that opens nothing.
      if (messages.any) refuse('H5_DAMAGED', `damaged: ${messages.reason()}`);
      return use(new H5Reader(file, hdf5, handle, messages));
    } finally {
      handle?.close();
      fs.unlink(dataPath);
    }
  });
}

/** An HDF5 file being made. Groups are made before what they hold. */
export class H5Writer {
  private readonly handle: Hdf5File;

  /** Use {@link buildH5}. */
  constructor(handle: Hdf5File) {
    this.handle = handle;
  }

  /** Makes the group at `path`, and those above it that are missing. */
  group(path: string): void {
    let parent = '';
    for (const name of path.split('/').filter((part) => part !== '')) {
      const above = parent === '' ? this.handle : this.handle.get(parent);
      parent = `${parent}/${name}`;
      if (this.handle.get(parent) === null && above !== null && 'create_group' in above)
        above.create_group(name);
    }
  }

  /** Sets an attribute of the group at `path` to a list of strings, or to one string. */
  strings(path: string, name: string, value: readonly string[] | string): void {
    const list = typeof value === 'string' ? [value] : [...value];
    const longest = Math.max(1, ...list.map((text) => new TextEncoder().encode(text).length));
    const shape = typeof value === 'string' ? [] : [list.length];
    const group = this.handle.get(path);
    if (group !== null && 'create_attribute' in group)
      group.create_attribute(name, list, shape, `S${longest}`);
  }

  /** Makes a dataset of float32 at `path`, whose group exists. */
  dataset(path: string, shape: readonly number[], data: Float32Array): void {
    this.handle.create_dataset({ name: path.replace(/^\//, ''), data, shape: [...shape] });
  }
}

/** HDF5 notes the time in every dataset; the same weights must give the same bytes. */
function atFixedTime<T>(action: () => T): T {
  const now = Date.now;
  Date.now = () => 0;
  try {
    return action();
  } finally {
    Date.now = now;
  }
}

/**
 * The bytes of the HDF5 file that `build` makes: the same calls give the same bytes, without any time in
 * them.
 * @throws CheckpointError `H5_DAMAGED` when the library fails.
 */
export async function buildH5(build: (h5: H5Writer) => void): Promise<Uint8Array> {
  const { hdf5, fs } = await load();
  return withLibrary(fs, (messages) =>
    atFixedTime(() => {
      const handle = new hdf5.File(dataPath, 'w');
      try {
        build(new H5Writer(handle));
      } finally {
        handle.close();
      }
      const bytes = fs.readFile(dataPath);
      fs.unlink(dataPath);
      if (messages.any) throw new CheckpointError(`HDF5: ${messages.reason()}`, { code: 'H5_DAMAGED' });
      return bytes;
    }),
  );
}
