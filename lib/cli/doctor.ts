// `doctor`: which backends there are, which one is used, and why not the others.

import { Command } from 'commander';
import { DepthwiseError, openDevice } from '../index.ts';
import { DeviceUnusableError } from './failure.ts';
import { type CommonFlags, withCommonFlags } from './flags.ts';
import { count, print } from './output.ts';

/** What was found of one backend. */
interface BackendReport {
  readonly name: string;
  readonly usable: boolean;
  /** Stable; null where usable. */
  readonly code: string | null;
  readonly reason: string | null;
  readonly details: Readonly<Record<string, string | number | boolean>>;
}

function examine(name: 'cpu' | 'cuda', flags: CommonFlags): BackendReport {
  try {
    const { threads, deterministic } = flags;
    const { details } = openDevice(name, { deterministic, ...(threads === undefined ? {} : { threads }) });
    return { name, usable: true, code: null, reason: null, details };
  } catch (error) {
    if (!(error instanceof DepthwiseError)) throw error;
    return { name, usable: false, code: error.code, reason: error.message, details: {} };
  }
}

/** `oneDNN 2.6.3, avx512, 2 threads`: the facts that people ask for, else all of them. */
function describe({ details }: BackendReport): string {
  const { onednn, isa, threads } = details;
  if (onednn !== undefined) return `oneDNN ${onednn}, ${isa}, ${count(Number(threads), 'thread')}`;
  return Object.entries(details)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
}

export function doctorCommand(): Command {
  return withCommonFlags(new Command('doctor'))
    .description('what was found: CPU, GPU, libraries; what is used, why not the rest, and how to mend it')
    .action((flags: CommonFlags) => {
      const backends = [examine('cpu', flags), examine('cuda', flags)];
      const wanted = flags.device === 'auto' ? undefined : flags.device.split(':')[0];
      const used =
        wanted === undefined
          ? (backends.findLast(({ usable }) => usable)?.name ?? null)
          : (backends.find(({ name, usable }) => usable && name === wanted)?.name ?? null);
      if (flags.json) print({ device: used, backends });
      else sayFindings(used, backends);
      if (used !== null) return;
      throw new DeviceUnusableError(`no device: --device ${flags.device} cannot be used`);
    });
}

/** The findings for people: the device in use, then why not the others. */
function sayFindings(used: string | null, backends: readonly BackendReport[]): void {
  const chosen = backends.find(({ name }) => name === used);
  print(chosen === undefined ? 'device: none' : `device: ${chosen.name} (${describe(chosen)})`);
  for (const backend of backends) {
    if (backend.name === used) continue;
    print(
      backend.usable
        ? `${backend.name}: usable (${describe(backend)})`
        : `${backend.name}: not used (${backend.code}): ${backend.reason}`,
    );
  }
}
