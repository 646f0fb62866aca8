// Checkpoints of a run: folders that are whole or not there, each file with its checksum. Knows no network.
//
//   <run>/checkpoints/step-00000020/{model,average,optimizer}.safetensors, state.json
//   <run>/checkpoints/best -> step-00000020
//
// docs/checkpoints.md says what is in them.
// A checkpoint is written to a hidden sibling folder, every file synced, then renamed; the folder above is synced last.

import { createHash } from 'node:crypto';
import {
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { CheckpointError } from '../core/errors.ts';
import { makeFolder, syncFolder, writeError } from '../interop/atomic.ts';
import type { Best } from './best.ts';

/** Anything that JSON holds. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** Where a run stands; with the weights it is all that is needed to go on. */
export interface RunState {
  /** Steps done. */
  readonly step: number;
  /** Epoch in progress, from 0. */
  readonly epoch: number;
  /** Batches of that epoch that are done, those of whole steps; as many as it has: its evaluation is still to come. */
  readonly batch: number;
  /** Samples seen since the start. */
  readonly samples: number;
  /** Sums over the epoch's steps so far, for its line in the metrics. */
  readonly sums: { readonly loss: number; readonly correct: number; readonly images: number };
  /** Steps that changed nothing because they were not finite, and how many of them came last, one after the other. */
  readonly skipped?: { readonly steps: number; readonly inRow: number };
  /** The best epoch by validation, whose checkpoint is kept. */
  readonly best?: Best;
  /** Length of metrics.jsonl at this point, in bytes. */
  readonly metricsBytes: number;
  /** Everything that decides what the run computes; a run is continued only with the same. */
  readonly config: { readonly [key: string]: Json };
}

interface StoredState extends RunState {
  readonly format: 1;
  /** Of the other files. */
  readonly files: { readonly [name: string]: { readonly bytes: number; readonly sha256: string } };
}

/** A checkpoint that was found whole. */
export interface Checkpoint {
  readonly folder: string;
  readonly state: RunState;
  /** Names of the files beside state.json. */
  readonly files: readonly string[];
}

/** The newest whole checkpoint, and the newer ones that are damaged. */
export interface FoundCheckpoint {
  readonly checkpoint: Checkpoint | undefined;
  readonly damaged: readonly { readonly folder: string; readonly reason: string }[];
}

const folderName = /^step-(\d{8,})$/;
const strayName = /^\.(step-\d+|best)\.\d+\.tmp$/;
const bestName = 'best';
const stateFile = 'state.json';
const hashStep = 4 * 2 ** 20;

const checkpointsOf = (run: string): string => join(run, 'checkpoints');

/** Folder of the checkpoint after `step` steps. */
export const checkpointFolder = (run: string, step: number): string =>
  join(checkpointsOf(run), `step-${String(step).padStart(8, '0')}`);

/** SHA-256 in hexadecimal; gives way to other work every few MB, so that the event loop stays free. */
async function sha256(contents: Uint8Array): Promise<string> {
  const hash = createHash('sha256');
  for (let at = 0; at < contents.byteLength; at += hashStep) {
    hash.update(contents.subarray(at, at + hashStep));
    await nextTurn();
  }
  return hash.digest('hex');
}

/** Writes one file of a checkpoint at the given path. */
export type FileWriter = (file: string) => Promise<void>;

/** Makes what has been written to `file` survive a power failure; gives back its length and checksum. */
async function seal(file: string): Promise<{ bytes: number; sha256: string }> {
  const handle = await open(file, 'r');
  try {
    await handle.sync();
    const contents = await handle.readFile();
    return { bytes: contents.byteLength, sha256: await sha256(contents) };
  } finally {
    await handle.close();
  }
}

const stateDigest = (state: StoredState): string =>
  createHash('sha256').update(JSON.stringify(state)).digest('hex');

/** state.json, to the byte: whatever else says the same is damaged. */
const stateText = (state: StoredState, checksum: string): string =>
  `${JSON.stringify({ ...state, checksum }, undefined, 2)}\n`;

/**
 * Writes a checkpoint of `run`, then removes all but the `keep` newest and the best.
 * @param files a writer for each file, by name
 * @returns the checkpoint's folder
 * @throws CheckpointError `DISK_FULL`, `READ_ONLY`, `NO_FOLDER`, `DISK_ERROR` or `WRITE_FAILED`; earlier ones are intact
 */
export async function writeCheckpoint(
  run: string,
  files: ReadonlyMap<string, FileWriter>,
  state: RunState,
  keep: number,
): Promise<string> {
  const above = checkpointsOf(run);
  const folder = checkpointFolder(run, state.step);
  const temporary = join(above, `.step-${state.step}.${process.pid}.tmp`);
  try {
    await makeFolder(above);
    await rm(temporary, { recursive: true, force: true });
    await mkdir(temporary);
    const sums: Record<string, { bytes: number; sha256: string }> = {};
    for (const [name, write] of files) {
      await write(join(temporary, name));
      sums[name] = await seal(join(temporary, name));
    }
    const stored: StoredState = { format: 1, ...state, files: sums };
    await writeFile(join(temporary, stateFile), stateText(stored, stateDigest(stored)));
    await seal(join(temporary, stateFile));
    await syncFolder(temporary);
    await rm(folder, { recursive: true, force: true }); // only ever one that a resumed run has left behind
    await rename(temporary, folder);
    await syncFolder(above);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined);
    // A writer's own error names the temporary folder, which nobody needs to know.
    throw writeError(folder, error instanceof CheckpointError ? (error.cause ?? error) : error);
  }
  // Whole already: what fails from here on costs room at most.
  if (state.best?.step === state.step) await linkBest(run, state.step).catch(() => undefined);
  const steps = await stepsOf(run);
  const best = steps.find((step) => step === state.best?.step) ?? (await linkedBest(run));
  const older = steps.filter((step) => step < state.step).sort((a, b) => b - a);
  for (const step of older.slice(Math.max(0, keep - 1))) {
    if (step === best) continue;
    await rm(checkpointFolder(run, step), { recursive: true, force: true }).catch(() => undefined);
  }
  return folder;
}

/** Has `checkpoints/best` lead to a checkpoint. */
export async function linkBest(run: string, step: number): Promise<void> {
  const above = checkpointsOf(run);
  const temporary = join(above, `.${bestName}.${process.pid}.tmp`);
  await rm(temporary, { force: true });
  await symlink(basename(checkpointFolder(run, step)), temporary);
  await rename(temporary, join(above, bestName));
  await syncFolder(above);
}

/** The step that `checkpoints/best` leads to. */
async function linkedBest(run: string): Promise<number | undefined> {
  const target = await readlink(join(checkpointsOf(run), bestName)).catch(() => undefined);
  const match = target === undefined ? null : folderName.exec(target);
  return match === null ? undefined : Number(match[1]);
}

/** Steps of the checkpoints that are there, whole or not. */
async function stepsOf(run: string): Promise<number[]> {
  let names: string[];
  try {
    names = await readdir(checkpointsOf(run));
  } catch {
    return [];
  }
  return names.flatMap((name) => {
    const match = folderName.exec(name);
    return match === null ? [] : [Number(match[1])];
  });
}

/** Whether a run has any checkpoint, whole or not. */
export const hasCheckpoints = async (run: string): Promise<boolean> => (await stepsOf(run)).length > 0;

/**
 * Checks one checkpoint: state.json and the checksum of every file.
 * @throws CheckpointError `CHECKPOINT_DAMAGED` or `CHECKPOINT_VERSION`
 */
export async function openCheckpoint(folder: string): Promise<Checkpoint> {
  const damaged = (what: string, cause?: unknown) =>
    new CheckpointError(`${folder}: ${what}`, { file: folder, code: 'CHECKPOINT_DAMAGED', cause });
  let text: string;
  let parsed: Record<string, unknown>;
  try {
    text = await readFile(join(folder, stateFile), 'utf8');
    parsed = JSON.parse(text) as Record<string, unknown>;
  } catch (cause) {
    throw damaged(`${stateFile} is missing or not JSON`, cause);
  }
  if (parsed === null || typeof parsed !== 'object') throw damaged(`${stateFile} is not an object`);
  const { checksum, ...rest } = parsed;
  const stored = rest as object as StoredState;
  if (checksum !== stateDigest(stored)) throw damaged(`${stateFile} does not have the checksum it should`);
  if (stored.format !== 1) {
    throw new CheckpointError(`${folder}: format ${String(stored.format)}, this version reads format 1`, {
      file: folder,
      code: 'CHECKPOINT_VERSION',
    });
  }
  // White space is not under the checksum.
  if (text !== stateText(stored, checksum)) throw damaged(`${stateFile} is not as it was written`);
  const { files, format: _, ...state } = stored;
  for (const [name, { bytes, sha256: expected }] of Object.entries(files)) {
    const file = join(folder, name);
    const there = await stat(file).then(
      (found) => found.size,
      () => undefined,
    );
    if (there === undefined) throw damaged(`${name} is missing`);
    if (there !== bytes) throw damaged(`${name} has ${there} bytes, expected ${bytes}`);
    if ((await sha256(await readFile(file))) !== expected)
      throw damaged(`${name} does not have its checksum`);
  }
  return { folder, state, files: Object.keys(files) };
}

/** The newest whole checkpoint of a run, going back past damaged ones. Changes nothing. */
export async function newestCheckpoint(run: string): Promise<FoundCheckpoint> {
  const damaged: { folder: string; reason: string }[] = [];
  for (const step of (await stepsOf(run)).sort((a, b) => b - a)) {
    const folder = checkpointFolder(run, step);
    try {
      return { checkpoint: await openCheckpoint(folder), damaged };
    } catch (error) {
      if (!(error instanceof CheckpointError) || error.code !== 'CHECKPOINT_DAMAGED') throw error;
      damaged.push({ folder, reason: error.message });
    }
  }
  return { checkpoint: undefined, damaged };
}

/**
 * Makes the checkpoints of a run ready to be continued: removes what a killed process left half written, and puts
 * damaged ones aside (`step-….damaged`), so that nothing reads them as the newest.
 */
export async function tidyCheckpoints(run: string, damaged: FoundCheckpoint['damaged']): Promise<void> {
  const above = checkpointsOf(run);
  const names = await readdir(above).catch(() => []);
  for (const name of names) {
    if (strayName.test(name)) await rm(join(above, name), { recursive: true, force: true });
  }
  for (const { folder } of damaged) {
    await rm(`${folder}.damaged`, { recursive: true, force: true });
    await rename(folder, `${folder}.damaged`);
  }
  const best = await linkedBest(run);
  if (best !== undefined && !(await stepsOf(run)).includes(best))
    await rm(join(above, bestName), { force: true });
}
