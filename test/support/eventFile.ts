// A strict reader of TensorBoard's event files, for tests: every length and checksum must hold, up to the last byte.

import { expect } from 'chai';
import { decodeEvent } from '../../lib/interop/tensorboard/events.ts';
import { maskedCrc32c } from '../../lib/interop/tensorboard/records.ts';

/** An event as a plain object. */
export interface ReadEvent {
  readonly wallTime: number;
  readonly step?: number;
  readonly fileVersion?: string;
  readonly sessionLog?: { readonly status: number };
  readonly summary?: { readonly value: readonly ReadValue[] };
}

/** A value with its name. */
export interface ReadValue {
  readonly tag: string;
  readonly simpleValue?: number;
  readonly tensor?: { readonly stringVal: readonly Uint8Array[] };
  readonly histo?: { readonly num: number; readonly bucketLimit: number[]; readonly bucket: number[] };
  readonly image?: {
    readonly height: number;
    readonly width: number;
    readonly encodedImageString: Uint8Array;
  };
}

/** The contents of all records of a file. */
export function readRecords(bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const records: Uint8Array[] = [];
  let at = 0;
  while (at < bytes.byteLength) {
    const length = Number(view.getBigUint64(at, true));
    expect(view.getUint32(at + 8, true)).to.equal(maskedCrc32c(bytes.subarray(at, at + 8)));
    const contents = bytes.subarray(at + 12, at + 12 + length);
    expect(contents.byteLength).to.equal(length);
    expect(view.getUint32(at + 12 + length, true)).to.equal(maskedCrc32c(contents));
    records.push(contents);
    at += 16 + length;
  }
  return records;
}

/** The events of a file, the first of which must say the version. */
export function readEvents(bytes: Uint8Array): ReadEvent[] {
  const [first, ...rest] = readRecords(bytes).map((record) => decodeEvent(record) as unknown as ReadEvent);
  expect(first?.fileVersion).to.equal('brain.Event:2');
  return rest;
}

/** Scalars by name as [step, value], of several files in order: a start at a step forgets what was from it on, as TensorBoard does. */
export function scalarsOf(files: readonly Uint8Array[]): Map<string, [step: number, value: number][]> {
  const found = new Map<string, [number, number][]>();
  for (const { step = 0, sessionLog, summary } of files.flatMap(readEvents)) {
    if (sessionLog !== undefined) {
      expect(sessionLog.status).to.equal(1);
      for (const [tag, points] of found)
        found.set(
          tag,
          points.filter(([at]) => at < step),
        );
    }
    for (const { tag, simpleValue } of summary?.value ?? []) {
      if (simpleValue === undefined) continue;
      const points = found.get(tag) ?? [];
      points.push([step, simpleValue]);
      found.set(tag, points);
    }
  }
  return found;
}
