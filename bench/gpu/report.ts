// What a phase of `npm run bench:gpu` leaves behind: a log, a table for people and JSON, all of them written as it goes, so
// that nothing is lost where the machine is taken away; and the time that it may take.

import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { say } from '../../lib/cli/output.ts';
import { type Circumstances, showCircumstances } from '../support/machine.ts';

/** What a part of a phase found. */
export interface Findings {
  /** One line. */
  readonly summary: string;
  /** A table and what is to be said of it. */
  readonly markdown: string;
  /** The same for programs. */
  readonly data: object;
  /** Whether something is wrong though the part came to its end: a failed test. */
  readonly wrong?: boolean;
}

/** A part as it is kept. */
interface Part extends Omit<Findings, 'data'> {
  readonly name: string;
  readonly seconds: number;
  readonly failed: boolean;
  readonly data: object;
}

/** An error after which the rest of a phase makes no sense: there is no such device. */
export class HopelessError extends Error {}

const oneLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).replace(/\s*\n\s*/g, ' | ');

/** One phase: its parts, one after the other, each of which may fail by itself. */
export class Report {
  readonly folder: string;
  readonly #phase: string;
  readonly #at: Circumstances;
  readonly #end: number;
  readonly #tell: (line: string) => void;
  readonly #parts: Part[] = [];
  #current = 'start';
  #hopeless: string | undefined;

  /** Files go to `folder`, by the name of the phase. @param minutes that it may take in all; `tell` hears every line */
  constructor(
    folder: string,
    phase: string,
    at: Circumstances,
    minutes: number,
    tell: (line: string) => void = say,
  ) {
    this.#tell = tell;
    this.folder = folder;
    this.#phase = phase;
    this.#at = at;
    this.#end = performance.now() + 60_000 * minutes;
    mkdirSync(folder, { recursive: true });
    writeFileSync(this.#path('log'), '');
  }

  readonly #path = (ending: string): string => join(this.folder, `${this.#phase}.${ending}`);

  /** Seconds that are left. */
  get left(): number {
    return (this.#end - performance.now()) / 1000;
  }

  /** A line for whoever watches, and for the log. */
  say(line: string): void {
    this.#tell(line);
    this.log(line);
  }

  /** A line for the log alone. */
  log(line: string): void {
    appendFileSync(this.#path('log'), `${line}\n`);
  }

  /** Runs a part and keeps what it finds, or why it failed. Left out, and said, where less than `seconds` are left. */
  async part(name: string, seconds: number, body: () => Promise<Findings>): Promise<void> {
    if (this.#hopeless !== undefined) return;
    const { left } = this;
    if (left < seconds) {
      this.#keep(name, performance.now(), {
        summary: `left out: it takes about ${seconds} s, ${Math.max(0, left).toFixed(0)} s are left`,
      });
      return;
    }
    this.#current = name;
    this.say(`== ${name} (${left.toFixed(0)} s left)`);
    const started = performance.now();
    try {
      this.#keep(name, started, await body());
    } catch (error) {
      if (error instanceof Error) this.log(error.stack ?? error.message);
      if (error instanceof HopelessError) this.#hopeless = error.message;
      this.#keep(name, started, { summary: `failed: ${oneLine(error)}`, wrong: true });
    }
  }

  #keep(name: string, started: number, found: Partial<Findings> & Pick<Findings, 'summary'>): void {
    const { summary, markdown = '', data = {}, wrong = false } = found;
    const seconds = Math.round((performance.now() - started) / 100) / 10;
    this.#parts.push({ name, seconds, failed: wrong, summary, markdown, data });
    this.say(`${name}: ${summary} (${seconds} s)`);
    this.#write();
  }

  #write(): void {
    const parts = this.#parts.map(({ name, seconds, failed, summary, data }) => ({
      ...{ name, seconds, failed, summary },
      ...data,
    }));
    const json = { ...this.#at, phase: this.#phase, summary: this.summary(), parts };
    writeFileSync(this.#path('json'), `${JSON.stringify(json, null, 1)}\n`);
    const sections = this.#parts.flatMap(({ name, summary, markdown }) => [
      `## ${name}`,
      `${summary}.`,
      ...(markdown === '' ? [] : [markdown]),
    ]);
    const head = [`# ${this.#phase} on a GPU`, `\`${this.#at.command}\``, showCircumstances(this.#at)];
    writeFileSync(this.#path('md'), `${[...head, this.summary(), ...sections].join('\n\n')}\n`);
  }

  /** `train: 4 parts, 1 failed: fp16, batch 256` */
  summary(): string {
    if (this.#hopeless !== undefined) return `${this.#phase}: nothing was run: ${this.#hopeless}`;
    const failed = this.#parts.filter((part) => part.failed).map(({ name }) => name);
    const done = `${this.#phase}: ${this.#parts.length} parts, ${failed.length} failed`;
    return failed.length === 0 ? done : `${done}: ${failed.join('; ')}`;
  }

  /** Says the summary. @returns the exit code: 0, 1 where a part failed, 3 where there is no such device */
  finish(): number {
    this.#write();
    this.say(this.summary());
    if (this.#hopeless !== undefined) return 3;
    return this.#parts.some((part) => part.failed) ? 1 : 0;
  }

  /** Ends the process when the time is up, with all that is known by then. @returns what calls that off */
  watch(): () => void {
    const timer = setTimeout(() => {
      this.#keep(this.#current, performance.now(), { summary: 'stopped: out of time', wrong: true });
      process.exit(this.finish());
    }, this.left * 1000);
    return () => clearTimeout(timer);
  }
}
