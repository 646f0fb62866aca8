// Findings that are kept between processes, in the user's cache folder: a file that is damaged or cannot be written
// costs time and nothing else. Knows no finding.

import { isAbsolute, join } from 'node:path';
import type { CudaSystem } from './system.ts';

const version = 1;

/** So that the file does not grow for ever: environments come and go. */
const most = 32;

/** The user's folder for what can be made again; undefined where there is none. */
export function cacheFolder({ env }: CudaSystem): string | undefined {
  const { XDG_CACHE_HOME, HOME } = env;
  // The XDG specification has relative paths ignored.
  if (XDG_CACHE_HOME !== undefined && isAbsolute(XDG_CACHE_HOME)) return join(XDG_CACHE_HOME, 'depthwise');
  if (HOME !== undefined && isAbsolute(HOME)) return join(HOME, '.cache', 'depthwise');
  return undefined;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Text by key, in one file. */
export class FindingsCache {
  readonly #system: CudaSystem;
  readonly #path: string | undefined;

  constructor(system: CudaSystem) {
    this.#system = system;
    const folder = cacheFolder(system);
    this.#path = folder === undefined ? undefined : join(folder, 'cuda.json');
  }

  /**
   * The finding kept under `facts`, or a new one. `facts` are everything that the finding depends on.
   *
   * @param parse the finding of a text; undefined where the text is not one, or is true no longer
   * @param find makes the text of a new finding; `keep` false where it is good for this time only
   */
  remember<T>(
    facts: readonly (string | undefined)[],
    parse: (text: string) => T | undefined,
    find: () => { readonly text: string; readonly keep: boolean },
  ): T | undefined {
    const key = JSON.stringify(facts);
    const kept = this.#entries().get(key);
    const known = kept === undefined ? undefined : parse(kept);
    if (known !== undefined) return known;
    const { text, keep } = find();
    if (keep) this.#keep(key, text);
    return parse(text);
  }

  #entries(): Map<string, string> {
    const entries = new Map<string, string>();
    const text = this.#path === undefined ? undefined : this.#system.read(this.#path);
    if (text === undefined) return entries;
    let stored: unknown;
    try {
      stored = JSON.parse(text);
    } catch {
      return entries;
    }
    if (!isRecord(stored) || stored.version !== version || !isRecord(stored.findings)) return entries;
    for (const [key, value] of Object.entries(stored.findings)) {
      if (typeof value === 'string') entries.set(key, value);
    }
    return entries;
  }

  #keep(key: string, text: string): void {
    if (this.#path === undefined) return;
    const entries = this.#entries(); // read again: another process may have added to it
    entries.delete(key);
    entries.set(key, text);
    const findings = Object.fromEntries([...entries].slice(-most));
    this.#system.write(this.#path, `${JSON.stringify({ version, findings }, null, 1)}\n`);
  }
}
