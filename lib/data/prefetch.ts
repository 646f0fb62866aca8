// Prefetching: items made ahead by a bounded number of tasks, given in order. Knows nothing of images.

/** Lets at most `permits` tasks run at a time; the others wait in the order in which they came. */
export class Gate {
  #permits: number;
  #running = 0;
  #onIdle: (() => void) | undefined;
  readonly #waiting: (() => void)[] = [];
  #closed = false;

  constructor(permits: number) {
    this.#permits = permits;
  }

  /**
   * Runs `task` when it is its turn. Rejects with `GateClosed`, without running it, once the gate is closed.
   */
  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#permits > 0) this.#permits--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve)); // with the permit of who resolves it
    this.#running++;
    try {
      if (this.#closed) throw new GateClosed();
      return await task();
    } finally {
      this.#running--;
      const next = this.#waiting.shift();
      if (next) next();
      else this.#permits++;
      if (this.#running === 0) this.#onIdle?.();
    }
  }

  /** From now on no task starts. */
  close(): void {
    this.#closed = true;
  }

  /** Closes, and settles when no task runs any more. */
  async drain(): Promise<void> {
    this.close();
    if (this.#running > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
  }
}

/** The consumer has left: nobody sees it. */
export class GateClosed extends Error {}

/** Bounds of a prefetch; none changes what is given. */
export interface PrefetchOptions {
  /** Tasks that run at the same time, over all items. */
  readonly workers: number;
  /** Items prepared beyond the one that the consumer waits for. */
  readonly depth: number;
  readonly signal: AbortSignal | undefined;
  /** Called when no more items are wanted, before running tasks are waited for; perhaps more than once. */
  readonly onEnd?: () => void;
}

/**
 * Gives `make(first)`, `make(first + 1)` … up to, not including, `make(end)`, in order, while later ones are
 * made. Each `make` runs its work through the gate it is given. At most `depth` + 1 items are unfinished or
 * waiting.
 *
 * Leaving the loop, an error and an abort all end the same way: no further task starts, and the iteration
 * settles when the running ones have, so that nothing goes on in the background. An abort throws the signal's
 * reason.
 */
export async function* prefetch<T>(
  first: number,
  end: number,
  make: (at: number, gate: Gate) => Promise<T>,
  { workers, depth, signal, onEnd }: PrefetchOptions,
): AsyncGenerator<T, void, undefined> {
  signal?.throwIfAborted();
  const gate = new Gate(workers);
  const close = () => {
    gate.close();
    onEnd?.();
  };
  signal?.addEventListener('abort', close, { once: true });
  const queue: Promise<T>[] = [];
  let next = first;
  const fill = () => {
    for (; next < end && queue.length <= depth; next++) {
      const item = make(next, gate);
      item.catch(() => {}); // it is reported when its turn comes, or never, if the consumer has left
      queue.push(item);
    }
  };
  try {
    fill();
    while (queue.length > 0) {
      let item: T;
      try {
        item = await queue[0]!;
      } finally {
        signal?.throwIfAborted(); // rather than the GateClosed that follows from it
      }
      queue.shift();
      fill();
      yield item;
      signal?.throwIfAborted();
    }
  } finally {
    signal?.removeEventListener('abort', close);
    close();
    await gate.drain();
  }
}
