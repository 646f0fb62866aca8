// A process that is measured: started once, kept warm, told how many steps to run, and asked what it takes.

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { parseReply, type Reply, type Request } from './protocol.ts';

/** How to start a process. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A contender that cannot run on this machine: no error, but something to say. */
export class MissingError extends Error {}

/** Bytes of stderr that an error quotes. */
const quoted = 2000;

/** A process that speaks the protocol. Made by {@link startChild}. */
export class Child {
  /** Versions, as the process says them. */
  readonly description: string;
  /** Trainable parameters of its network, where the process tells. */
  readonly parameters: number | undefined;
  readonly #process: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #replies: AsyncIterator<Reply>;
  #heldBytes: number | undefined;
  #usedBytes: number | undefined;

  constructor(
    description: string,
    process: ChildProcessByStdio<Writable, Readable, Readable>,
    replies: AsyncIterator<Reply>,
    parameters?: number,
  ) {
    this.description = description;
    this.parameters = parameters;
    this.#process = process;
    this.#replies = replies;
  }

  /**
   * Runs steps in the process. @returns milliseconds of each @throws Error with the end of its stderr if it
   * ends
   */
  async run(steps: number): Promise<readonly number[]> {
    const request: Request = { run: steps };
    this.#process.stdin.write(`${JSON.stringify(request)}\n`);
    const { value } = await this.#replies.next();
    if (value === undefined || !('milliseconds' in value) || value.milliseconds.length !== steps) {
      throw new Error(`expected the times of ${steps} steps, got ${JSON.stringify(value)}`);
    }
    this.#heldBytes = value.heldBytes;
    this.#usedBytes = value.usedBytes;
    return value.milliseconds;
  }

  /** The most bytes that tensors took of a GPU's memory; undefined on a CPU, or where the process does not tell. */
  get usedBytes(): number | undefined {
    return this.#usedBytes;
  }

  /**
   * The most memory that the process ever held, in bytes: of the GPU, as it said in its last reply, else resident
   * memory (VmHWM).
   */
  peakBytes(): number {
    if (this.#heldBytes !== undefined) return this.#heldBytes;
    const status = readFileSync(`/proc/${this.#process.pid}/status`, 'utf8');
    const match = /^VmHWM:\s+(\d+) kB$/m.exec(status);
    if (match === null) throw new Error(`/proc/${this.#process.pid}/status has no VmHWM`);
    return Number(match[1]) * 1024;
  }

  /** Processor time of all its threads so far, in seconds. */
  processorSeconds(): number {
    const stat = readFileSync(`/proc/${this.#process.pid}/stat`, 'utf8');
    // After the name, which stands in parentheses and may hold anything: user and system time are fields 14
    // and 15.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
  }

  /** Ends the process. Settles when it is gone. */
  async quit(): Promise<void> {
    const { exitCode, signalCode } = this.#process;
    if (exitCode !== null || signalCode !== null) return;
    const gone = new Promise((settle) => this.#process.once('exit', settle));
    this.#process.stdin.end();
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), patience);
    await gone;
    clearTimeout(timer);
  }
}

/** USER_HZ of Linux on every architecture that Node runs on. */
const ticksPerSecond = 100;
/** Milliseconds that a process gets to end by itself. */
const patience = 5000;

/**
 * Starts a process and waits until it is ready: imported, compiled, warm.
 * @throws MissingError if the process says that something it needs is not here, or cannot be started at all
 */
export async function startChild({ file, args, env }: Command): Promise<Child> {
  const process_ = spawn(file, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  // A write to a process that has just ended is found out by its missing reply.
  process_.stdin.on('error', () => undefined);
  let stderr = '';
  process_.stderr.on('data', (chunk: Buffer) => {
    stderr = (stderr + chunk).slice(-quoted);
  });
  const kill = () => process_.kill('SIGKILL');
  process.once('exit', kill);
  const ended = new Promise<string>((settle) => {
    process_.once('error', (error) => settle(error.message));
    process_.once('close', (code, signal) =>
      settle(`ended with ${signal ?? `exit code ${code}`}: ${stderr}`),
    );
  });
  void ended.then(() => process.off('exit', kill));

  async function* readReplies(): AsyncGenerator<Reply> {
    for await (const line of createInterface(process_.stdout)) {
      const reply = parseReply(line);
      if (reply !== undefined) yield reply;
    }
    throw new Error((await ended).trim());
  }

  const replies = readReplies();
  try {
    const { value } = await replies.next();
    if (value !== undefined && 'ready' in value) {
      return new Child(value.ready, process_, replies, value.parameters);
    }
    kill();
    if (value !== undefined && 'missing' in value) throw new MissingError(value.missing);
    throw new Error(`expected to hear that the process is ready, got ${JSON.stringify(value)}`);
  } catch (error) {
    if (process_.pid === undefined) throw new MissingError(`${file} cannot be started: ${await ended}`);
    throw error;
  }
}
