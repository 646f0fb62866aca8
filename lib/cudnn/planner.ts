// Planning for described devices in processes of their own, one for each device. In one process, what cuDNN 9.24 finds for
// one device depends on those before it: after a T4's fused graphs in f32, an H200 has engines for 15 of 30 in place of 22.
// Besides, what takes the place of a missing driver, and whatever a library may do in its worst hour, stay out of the
// user's process.

import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { toTypedError } from '../backend/native.ts';
import { DeviceError } from '../core/errors.ts';

/** What `cudnnPlans` of the native module takes. */
export interface PlanRequest {
  readonly library: string;
  readonly numbers: Float64Array;
  readonly settings: Float64Array;
  readonly texts: readonly string[];
}

export type PlanQuestion = PlanRequest & { readonly id: number };

export type PlanAnswer =
  | { readonly id: number; readonly text: string }
  | { readonly id: number; readonly failure: { readonly code: string; readonly message: string } };

interface Waiting {
  readonly resolve: (text: string) => void;
  readonly reject: (error: unknown) => void;
}

/** This file's neighbour, as sources or as built; sources need the loader that this process was started with. */
function start(): ChildProcess {
  const source = import.meta.url.endsWith('.ts');
  const path = fileURLToPath(new URL(`./planProcess.${source ? 'ts' : 'js'}`, import.meta.url));
  const execArgv = source ? process.execArgv.filter((flag) => !flag.startsWith('--input-type')) : [];
  return fork(path, [], {
    execArgv,
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
}

/** A process with what it has been asked and has not answered. It does not keep this one alive unless it owes an answer. */
class PlanProcess {
  readonly #child = start();
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;
  ended = false;

  constructor() {
    this.#child.on('message', (answer: PlanAnswer) => this.#settle(answer));
    this.#child.on('error', (error) => this.#fail(error.message));
    this.#child.on('exit', (code, signal) => this.#fail(`exit ${signal ?? code}`));
    this.#idle();
  }

  get busy(): boolean {
    return this.#waiting.size > 0;
  }

  ask(request: PlanRequest): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#next += 1;
      this.#waiting.set(this.#next, { resolve, reject });
      this.#child.ref();
      this.#child.channel?.ref();
      this.#child.send({ id: this.#next, ...request } satisfies PlanQuestion);
    });
  }

  end(): void {
    this.ended = true;
    this.#child.disconnect();
  }

  #idle(): void {
    this.#child.unref();
    this.#child.channel?.unref();
  }

  #settle(answer: PlanAnswer): void {
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if (!this.busy) this.#idle();
    if (waiting === undefined) return;
    if ('text' in answer) waiting.resolve(answer.text);
    else waiting.reject(toTypedError(Object.assign(new Error(answer.failure.message), answer.failure)));
  }

  #fail(how: string): void {
    this.ended = true;
    const error = new DeviceError(`plans: the process that plans has ended: ${how}`);
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

/** Each holds some hundred MB once it has planned. */
const most = 2;
const processes = new Map<string, PlanProcess>();

/** Asks the process of the device `key`; starts one if there is none, and ends the one used longest ago if there are many. */
export function planElsewhere(key: string, request: PlanRequest): Promise<string> {
  let found = processes.get(key);
  processes.delete(key);
  if (found === undefined || found.ended) {
    for (const [other, candidate] of processes) {
      if (processes.size < most) break;
      if (candidate.busy) continue;
      candidate.end();
      processes.delete(other);
    }
    found = new PlanProcess();
  }
  processes.set(key, found); // the last in the map is the last used
  return found.ask(request);
}
