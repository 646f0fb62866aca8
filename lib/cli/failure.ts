// How a command fails: the exit code of each kind of error, and the line that says what is wrong.

import { CommanderError } from 'commander';
import { DepthwiseError, LoadError, NonFiniteLossError } from '../index.ts';

/** Exit codes of every command. */
export const ExitCode = {
  done: 0,
  failed: 1,
  usage: 2,
  device: 3,
  nonFinite: 4,
  interrupted: 130,
  terminated: 143,
} as const;

/** What can be told to be wrong from the arguments alone. */
export class UsageError extends Error {}

/** The requested device cannot be used. */
export class DeviceUnusableError extends Error {}

/** A signal ended the command; what it left behind has been said. */
export class Interrupted extends Error {
  readonly exitCode: number;

  constructor(signal: 'SIGINT' | 'SIGTERM') {
    super(`stopped by ${signal}`);
    this.exitCode = signal === 'SIGINT' ? ExitCode.interrupted : ExitCode.terminated;
  }
}

/** The command did what it could; the failures have been said one by one. */
export class PartialFailure extends Error {}

/** The exit code of an error. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof Interrupted) return error.exitCode;
  if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.done : ExitCode.usage;
  if (error instanceof UsageError) return ExitCode.usage;
  if (error instanceof DeviceUnusableError || error instanceof LoadError) return ExitCode.device;
  if (error instanceof NonFiniteLossError) return ExitCode.nonFinite;
  return ExitCode.failed;
}

/** What to say of an error; undefined where everything has been said. With `debug`, the stack. */
export function messageOf(error: unknown, debug: boolean): string | undefined {
  if (error instanceof PartialFailure) return undefined;
  if (error instanceof CommanderError) {
    return error.exitCode === 0 ? undefined : oneLine(error.message.replace(/^error: /, ''));
  }
  if (!(error instanceof Error)) return `failed: ${String(error)}`;
  if (debug) return error.stack ?? error.message;
  const expected =
    error instanceof DepthwiseError ||
    error instanceof UsageError ||
    error instanceof DeviceUnusableError ||
    error instanceof Interrupted;
  return expected ? error.message : `failed: ${oneLine(error.message)} (DEPTHWISE_DEBUG=1 shows where)`;
}

const oneLine = (text: string): string => text.trim().replace(/\s*\n\s*/g, ' ');
