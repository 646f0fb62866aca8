// The thread that writes checkpoints; started by checkpointWriter.ts. Hashing and checking do not touch the thread that
// trains.

import { parentPort } from 'node:worker_threads';
import { CheckpointError, NonFiniteLossError } from '../core/errors.ts';
import type { WriteAnswer, WriteJob } from './checkpointWriter.ts';
import { writeSnapshot } from './snapshot.ts';

function failureOf(error: unknown): WriteAnswer {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof NonFiniteLossError) return { failure: { message, step: error.step } };
  const { code, file } = error instanceof CheckpointError ? error : { code: 'WRITE_FAILED', file: undefined };
  return { failure: { message, code, ...(file === undefined ? {} : { file }) } };
}

parentPort?.on('message', ({ run, snapshot, state, keep }: WriteJob) => {
  writeSnapshot(run, snapshot, state, keep).then(
    () => parentPort?.postMessage({}),
    (error: unknown) => parentPort?.postMessage(failureOf(error)),
  );
});
