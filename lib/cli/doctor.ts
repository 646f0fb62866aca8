// `doctor`: which backends there are, which one is used, and why not the others.

import { Command } from 'commander';
import { DepthwiseError, type ImageSupport, imageSupport, LoadError, openDevice } from '../index.ts';
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
  /** Facts of a usable backend; of any other what was found, and what would mend it. */
  readonly details: Readonly<Record<string, string | number | boolean | readonly string[]>>;
}

/** `device` is the one to open: `cpu`, `cuda` or `cuda:<n>`. */
function examine(name: 'cpu' | 'cuda', device: string, flags: CommonFlags): BackendReport {
  try {
    const { threads, deterministic } = flags;
    const { details } = openDevice(device, { deterministic, ...(threads === undefined ? {} : { threads }) });
    return { name, usable: true, code: null, reason: null, details };
  } catch (error) {
    if (!(error instanceof DepthwiseError)) throw error;
    const { code } = error;
    if (!(error instanceof LoadError)) {
      return { name, usable: false, code, reason: error.message, details: {} };
    }
    const { reason, details, fixes } = error;
    return { name, usable: false, code, reason, details: { found: details, fixes } };
  }
}

/**
 * `oneDNN 2.6.3, avx512, 2 threads` or `NVIDIA H200, sm_90, driver 580.142, cuDNN 9.24 in /usr/lib`: the facts that people
 * ask for, else all of them.
 */
function describe({ details }: BackendReport): string {
  const { onednn, isa, threads, gpu, capability, driver, cudnn, folder } = details;
  if (onednn !== undefined) return `oneDNN ${onednn}, ${isa}, ${count(Number(threads), 'thread')}`;
  if (gpu !== undefined) return `${gpu}, ${capability}, driver ${driver}, cuDNN ${cudnn} in ${folder}`;
  return Object.entries(details)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');
}

export function doctorCommand(): Command {
  return withCommonFlags(new Command('doctor'))
    .description('what was found: CPU, GPU, libraries; what is used, why not the rest, and how to mend it')
    .action((flags: CommonFlags) => {
      const cuda = flags.device.startsWith('cuda') ? flags.device : 'cuda';
      const backends = [examine('cpu', 'cpu', flags), examine('cuda', cuda, flags)];
      const wanted = flags.device === 'auto' ? undefined : flags.device.split(':')[0];
      const used =
        wanted === undefined
          ? (backends.findLast(({ usable }) => usable)?.name ?? null)
          : (backends.find(({ name, usable }) => usable && name === wanted)?.name ?? null);
      const images = imageSupport();
      if (flags.json) {
        print({ device: used, backends, images });
      } else {
        sayFindings(used, backends);
        sayImages(images);
      }
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
    if (backend.usable) print(`${backend.name}: usable (${describe(backend)})`);
    else sayRefusal(backend);
  }
}

/** Who decodes the JPEGs that are trained on. */
function sayImages(images: ImageSupport): void {
  if (images.native) {
    print(`images: ${images.about}`);
    return;
  }
  print(`images: sharp alone, which loads training images about a quarter as fast: ${images.reason}`);
  for (const fix of images.fixes) print(`  mend it with: ${fix}`);
}

/** One reason, what was found, and what would mend it. */
function sayRefusal({ name, code, reason, details: { found, fixes } }: BackendReport): void {
  print(`${name}: not used: ${reason} (${code})`);
  if (Array.isArray(found)) for (const line of found) print(`  ${line}`);
  if (!Array.isArray(fixes) || fixes.length === 0) return;
  print(`  mend it with${fixes.length === 1 ? '' : ' one of'}: ${fixes.join(' · ')}`);
}
