// Tests of lib/data/prefetch.ts: order, bounds, and that nothing goes on after the end.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { type Gate, prefetch } from '../../lib/data/prefetch.ts';
import { failureOf } from './collect.ts';

/** A task of three gated parts that counts how many run at once. */
function counting() {
  const seen = { running: 0, most: 0, started: [] as number[], finished: 0 };
  const make = async (at: number, gate: Gate): Promise<number> => {
    seen.started.push(at);
    await Promise.all(
      [0, 1, 2].map((part) =>
        gate.run(async () => {
          seen.running++;
          seen.most = Math.max(seen.most, seen.running);
          await sleep((at * 7 + part * 5) % 4);
          seen.running--;
        }),
      ),
    );
    seen.finished++;
    return at;
  };
  return { seen, make };
}

describe('prefetch', () => {
  it('gives the items in order, with at most `workers` tasks at once', async () => {
    for (const workers of [1, 2, 5]) {
      for (const depth of [0, 1, 4]) {
        const { seen, make } = counting();
        const items: number[] = [];
        for await (const item of prefetch(3, 12, make, { workers, depth, signal: undefined })) {
          items.push(item);
          expect(seen.started.length - items.length, 'items ahead').to.be.at.most(depth + 1);
        }
        expect(items).to.deep.equal([3, 4, 5, 6, 7, 8, 9, 10, 11]);
        expect(seen.most).to.be.at.most(workers);
        if (depth > 0) expect(seen.most).to.equal(workers);
      }
    }
  });

  it('stops starting tasks when the loop is left, and waits for those that run', async () => {
    const { seen, make } = counting();
    for await (const item of prefetch(0, 100, make, { workers: 2, depth: 3, signal: undefined })) {
      if (item === 1) break;
    }
    const { running, finished } = seen;
    expect(running).to.equal(0);
    await sleep(30);
    expect(seen).to.include({ running: 0, finished });
    expect(seen.started.length).to.be.at.most(6);
  });

  it('throws an error in its place, after the items before it', async () => {
    const items: number[] = [];
    const make = async (at: number, gate: Gate) =>
      gate.run(async () => {
        if (at === 3) throw new Error('item 3');
        await sleep(at === 2 ? 20 : 0);
        return at;
      });
    const error = await failureOf(async () => {
      for await (const item of prefetch(0, 9, make, { workers: 4, depth: 4, signal: undefined }))
        items.push(item);
    });
    expect(error).to.be.instanceOf(Error).with.property('message', 'item 3');
    expect(items).to.deep.equal([0, 1, 2]);
  });

  it('throws the reason of an abort: before it, while it waits and between items', async () => {
    const reason = new Error('stop');
    const { make } = counting();
    const bounds = { workers: 2, depth: 2 };
    const drain = async (signal: AbortSignal, each: (item: number) => void) => {
      for await (const item of prefetch(0, 50, make, { ...bounds, signal })) each(item);
    };
    expect(await failureOf(() => drain(AbortSignal.abort(reason), () => {}))).to.equal(reason);
    const between = new AbortController();
    expect(
      await failureOf(() => drain(between.signal, (item) => item === 4 && between.abort(reason))),
    ).to.equal(reason);
    const waiting = new AbortController();
    const run = failureOf(() => drain(waiting.signal, () => {}));
    await sleep(15);
    waiting.abort(reason);
    expect(await run).to.equal(reason);
  });
});
