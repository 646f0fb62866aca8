// Seeded fuzzing: mutations of real files, in bytes and in what files of their kind are made of.

import { DepthwiseError } from '../../lib/core/errors.ts';
import { seeded } from '../interop/corruption.ts';
import { type Target, targets } from './targets.ts';

/** Longest time for one input of a few kilobytes, with other work on the machine. */
const longest = 5_000; // milliseconds

/** Counts of one run. */
export interface Outcome {
  readonly target: string;
  readonly inputs: number;
  readonly values: number;
  /** Errors by code. */
  readonly codes: ReadonlyMap<string, number>;
  readonly slowest: number;
  /** By how much the most memory that the process ever had has grown, in MB. */
  readonly grown: number;
}

const words = [
  '0',
  '-1',
  '1e99',
  '9007199254740993',
  'null',
  '[]',
  '{}',
  '""',
  '"\\u0000"',
  '"__proto__"',
  'true',
  '[[[[',
];
const magicNumbers = [0, 1, 0x7f, 0x80, 0xff];

/** Replaces a number, a string or a word of JSON, as the text has it, by another value. */
function otherValue(bytes: Uint8Array, below: (limit: number) => number): Uint8Array {
  const text = Buffer.from(bytes).toString('latin1');
  const found = [...text.matchAll(/-?\d+(?:\.\d+)?|"[^"]{0,40}"|null|true|false/g)];
  const match = found[below(Math.max(1, found.length))];
  if (match === undefined) return bytes;
  const word = words[below(words.length)] as string;
  return Buffer.from(text.slice(0, match.index) + word + text.slice(match.index + match[0].length), 'latin1');
}

/** Rewrites the checksum of a tar header, so that what was changed in it is looked at. */
function mendedSum(bytes: Uint8Array, below: (limit: number) => number): Uint8Array {
  const copy = Buffer.from(bytes);
  const at = 512 * below(Math.max(1, copy.length >> 9));
  if (at + 512 > copy.length) return copy;
  copy[at + [0, 100, 124, 130, 156, 257, 345][below(7)]!] = below(256);
  copy.fill(0x20, at + 148, at + 156);
  let sum = 0;
  for (let i = at; i < at + 512; i++) sum += copy[i] as number;
  copy.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1');
  return copy;
}

/** The length before a safetensors header, made right for a header that has changed. */
function mendedLength(bytes: Uint8Array): Uint8Array {
  const end = Buffer.from(bytes).lastIndexOf('}');
  if (end < 8) return bytes;
  const copy = bytes.slice();
  new DataView(copy.buffer).setBigUint64(0, BigInt(end + 1 - 8), true);
  return copy;
}

/** One step of a mutation. */
function mutated(bytes: Uint8Array, other: Uint8Array, below: (limit: number) => number): Uint8Array {
  const at = below(Math.max(1, bytes.length));
  const length = 1 + below(16);
  const copy = Buffer.from(bytes);
  if (copy.length === 0) return copy;
  switch (below(9)) {
    case 0:
      copy[at] = (copy[at] as number) ^ (1 << below(8));
      return copy;
    case 1:
      copy[at] = magicNumbers[below(magicNumbers.length)] as number;
      return copy;
    case 2:
      return copy.subarray(0, at);
    case 3:
      return Buffer.concat([copy.subarray(0, at), copy.subarray(at + length)]);
    case 4:
      return Buffer.concat([copy.subarray(0, at), copy.subarray(at, at + length), copy.subarray(at)]);
    case 5:
      return Buffer.concat([copy.subarray(0, at), other.subarray(below(other.length))]);
    case 6:
      return otherValue(copy, below);
    case 7:
      return mendedSum(copy, below);
    default:
      return mendedLength(otherValue(copy, below));
  }
}

/**
 * Runs a target for some time.
 * @throws Error naming seed and case for an input that gives an error of another kind, one without code, or takes too long
 */
export async function fuzz(name: string, milliseconds: number, seed: number): Promise<Outcome> {
  const target = targets[name] as Target;
  const seeds = await target.seeds();
  // A seed that is refused tests nothing behind the first check of the parser.
  for (const bytes of seeds) await target.parse(bytes);
  const below = seeded(seed);
  const peak = () => process.resourceUsage().maxRSS / 1024;
  const before = peak();
  const codes = new Map<string, number>();
  let [inputs, values, slowest] = [0, 0, 0];
  for (const begin = performance.now(); performance.now() - begin < milliseconds; inputs++) {
    let bytes = seeds[below(seeds.length)] as Uint8Array;
    for (let steps = 1 + below(4); steps > 0; steps--)
      bytes = mutated(bytes, seeds[below(seeds.length)] as Uint8Array, below);
    const from = performance.now();
    try {
      await target.parse(bytes);
      values += 1;
    } catch (error) {
      if (!(error instanceof DepthwiseError) || error.code === 'DEPTHWISE') {
        const input = Buffer.from(bytes).toString('base64');
        throw new Error(`${name}, seed ${seed}, case ${inputs}: ${String(error)}; input ${input}`, {
          cause: error,
        });
      }
      codes.set(error.code, (codes.get(error.code) ?? 0) + 1);
    }
    const took = performance.now() - from;
    slowest = Math.max(slowest, took);
    if (took > longest) throw new Error(`${name}, seed ${seed}, case ${inputs}: took ${took.toFixed(0)} ms`);
  }
  return { target: name, inputs, values, codes, slowest, grown: peak() - before };
}
