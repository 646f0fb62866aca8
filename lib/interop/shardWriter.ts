// Writing one shard and its index: beside its name, synced, renamed; the index, which makes it finished, last.

import { createHash } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { threadId } from 'node:worker_threads';
import { PackedNames } from '../data/packedNames.ts';
import { ArchiveFile, indexFile, indexText, sampleArchive } from '../data/shardIndex.ts';
import { paddedLength, tarBlock, tarEnd, tarHeader } from '../data/tar.ts';
import { syncFolder, writeError, writeFileAtomic } from './atomic.ts';
import type { PackedImage } from './packImage.ts';

/** A shard that is whole and synced. */
export interface FinishedShard {
  readonly samples: number;
  readonly bytes: number;
  readonly sha256: string;
}

/** Written to the disk at a time. */
const writtenAtOnce = 2 ** 20;

/** A shard being written. */
export class ShardWriter {
  readonly #file: string;
  readonly #temporary: string;
  readonly #handle: FileHandle;
  readonly #classes: readonly string[];
  readonly #hash = createHash('sha256');
  readonly #keys = new PackedNames();
  readonly #sources = new PackedNames();
  readonly #offsets: number[] = [];
  readonly #lengths: number[] = [];
  readonly #labels: number[] = [];
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #bytes = 0;

  private constructor(file: string, temporary: string, handle: FileHandle, classes: readonly string[]) {
    this.#file = file;
    this.#temporary = temporary;
    this.#handle = handle;
    this.#classes = classes;
  }

  /** @throws CheckpointError as `writeFileAtomic` */
  static async open(file: string, classes: readonly string[]): Promise<ShardWriter> {
    // A name that removeTemporaryFiles knows.
    const temporary = join(dirname(file), `.${basename(file)}.${process.pid}-${threadId}-0.tmp`);
    try {
      return new ShardWriter(file, temporary, await open(temporary, 'w'), classes);
    } catch (error) {
      throw writeError(file, error);
    }
  }

  get samples(): number {
    return this.#labels.length;
  }

  /** Of the archive so far, without its end. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Of the archive with one more sample, and its end. */
  bytesWith({ bytes, label }: PackedImage): number {
    const sample = 2 * tarBlock + paddedLength(bytes.length) + paddedLength(String(label).length);
    return this.#bytes + sample + tarEnd.length;
  }

  /** Adds a sample: its image, and its class as a number. */
  async add(key: string, { bytes, kind, label, source }: PackedImage): Promise<void> {
    this.#keys.push(key);
    this.#sources.push(source);
    this.#labels.push(label);
    this.#offsets.push(this.#bytes + tarBlock);
    this.#lengths.push(bytes.length);
    this.#append(`${key}.${kind}`, bytes);
    this.#append(`${key}.cls`, new TextEncoder().encode(String(label)));
    if (this.#pendingBytes >= writtenAtOnce) await this.#write();
  }

  #append(name: string, bytes: Uint8Array): void {
    const padding = paddedLength(bytes.length) - bytes.length;
    this.#push(tarHeader(name, bytes.length), bytes, tarEnd.subarray(0, padding));
  }

  #push(...pieces: readonly Uint8Array[]): void {
    for (const piece of pieces) {
      this.#hash.update(piece);
      this.#pending.push(piece);
      this.#pendingBytes += piece.length;
      this.#bytes += piece.length;
    }
  }

  async #write(): Promise<void> {
    const bytes = Buffer.concat(this.#pending);
    this.#pending = [];
    this.#pendingBytes = 0;
    await this.#handle.writeFile(bytes).catch((error: unknown) => {
      throw writeError(this.#file, error);
    });
  }

  /**
   * Ends the shard and writes its index.
   * @param packed kept in the index, for who goes on from there
   * @throws CheckpointError as `writeFileAtomic`
   */
  async finish(packed: object): Promise<FinishedShard> {
    this.#push(tarEnd);
    await this.#write();
    try {
      await this.#handle.sync();
      await this.#handle.close();
      await rename(this.#temporary, this.#file);
      await syncFolder(dirname(this.#file));
    } catch (error) {
      throw writeError(this.#file, error);
    }
    const archive = await ArchiveFile.open(this.#file);
    const sample = await sampleArchive(archive).finally(() => archive.close());
    const [bytes, sha256] = [this.#bytes, this.#hash.digest('hex')];
    const text = indexText(
      {
        archive: { bytes, sample, sha256 },
        classes: this.#classes,
        keys: this.#keys,
        sources: this.#sources,
        offsets: Float64Array.from(this.#offsets),
        lengths: Float64Array.from(this.#lengths),
        labels: Int32Array.from(this.#labels),
      },
      { packed },
    );
    await writeFileAtomic(indexFile(this.#file), [new TextEncoder().encode(text)]);
    return { samples: this.#labels.length, bytes, sha256 };
  }

  /** Gives up the shard; what was there under its name stays. Does nothing once it is finished. */
  async abandon(): Promise<void> {
    await this.#handle.close().catch(() => undefined); // it may be closed already
    await rm(this.#temporary, { force: true }).catch(() => undefined);
  }
}
