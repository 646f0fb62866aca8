// The order in which shards are read in an epoch: shuffled by shard and by buffer, a function of seed and epoch alone.
import { seedKey } from '../core/philox.ts';
import { below, Purpose, permutation, randomBlock } from './random.ts';

/** How far samples are carried from where they lie. */
export interface ShardShuffle {
  /** Shards read at the same time, one sample of each in turn. */
  readonly shardsAtOnce: number;
  /**
   * Samples among which the next one is drawn; the more, the nearer to a permutation of all, which it is where all samples
   * fit.
   */
  readonly buffer: number;
}

/** Random words for one purpose, one after the other. */
class Words {
  readonly #seed: number;
  readonly #epoch: number;
  readonly #purpose: Purpose;
  #block: Uint32Array = new Uint32Array(0);
  #at = 0;
  #blocks = 0;

  constructor(seed: number, purpose: Purpose, epoch: number) {
    seedKey(seed); // throws where the seed is out of range
    this.#seed = seed;
    this.#epoch = epoch;
    this.#purpose = purpose;
  }

  next(): number {
    if (this.#at === this.#block.length) {
      this.#block = randomBlock(this.#seed, this.#purpose, this.#epoch, this.#blocks++);
      this.#at = 0;
    }
    return this.#block[this.#at++] as number;
  }
}

/** The samples as they come off the shards: those in a random order, `shardsAtOnce` of them at a time. */
function* interleaved(
  starts: Float64Array,
  shards: Uint32Array,
  shardsAtOnce: number,
): Generator<number, void> {
  const reading: { next: number; end: number }[] = [];
  let opened = 0;
  const open = () => {
    const shard = shards[opened++] as number;
    return { next: starts[shard] as number, end: starts[shard + 1] as number };
  };
  while (reading.length < shardsAtOnce && opened < shards.length) reading.push(open());
  for (let turn = 0; reading.length > 0; ) {
    const shard = reading[turn] as { next: number; end: number };
    yield shard.next++;
    if (shard.next < shard.end) turn += 1;
    else if (opened < shards.length) reading[turn++] = open();
    else reading.splice(turn, 1);
    if (turn >= reading.length) turn = 0;
  }
}

/**
 * Place -> sample of an epoch. The order is computed, not read: an epoch continues at any place without reading what went
 * before it.
 *
 * @param starts [shards + 1], the first sample of each shard, and the number of all
 */
export function shardOrder(
  starts: Float64Array,
  { shardsAtOnce, buffer }: ShardShuffle,
  seed: number,
  epoch: number,
): Uint32Array {
  const shardCount = starts.length - 1;
  const total = starts[shardCount] as number;
  const order = new Uint32Array(total);
  const held = new Uint32Array(Math.min(buffer, total));
  const words = new Words(seed, Purpose.shardBuffer, epoch);
  const shards = permutation(shardCount, seed, epoch, Purpose.shards);
  let [filled, place] = [0, 0];
  for (const sample of interleaved(starts, shards, shardsAtOnce)) {
    if (filled < held.length) {
      held[filled++] = sample;
      continue;
    }
    const drawn = below(filled, words.next());
    order[place++] = held[drawn] as number;
    held[drawn] = sample;
  }
  while (filled > 0) {
    const drawn = below(filled, words.next());
    order[place++] = held[drawn] as number;
    held[drawn] = held[--filled] as number;
  }
  return order;
}
