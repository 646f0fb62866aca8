// The times of a training: how fast it is, and how long the device had nothing to do because a batch was missing.

/** What was measured over some steps. */
export interface Pace {
  /** Of training alone; evaluation and checkpoints do not count. */
  readonly imagesPerSecond: number;
  /** Fraction of the training time in which the device had nothing to do because it waited for a batch. */
  readonly dataWait: number;
  /** Seconds per step; NaN before the first. */
  readonly batchSeconds: number;
}

/** What is summed up. Times in milliseconds. */
interface Sums {
  readonly time: number;
  readonly waited: number;
  readonly images: number;
  readonly steps: number;
}

const none: Sums = { time: 0, waited: 0, images: 0, steps: 0 };

/** The times at some moment. */
export type Moment = Pick<Sums, 'time' | 'waited'>;

const paceOf = (now: Sums, then: Sums): Pace => {
  const [time, images, steps] = [now.time - then.time, now.images - then.images, now.steps - then.steps];
  return {
    imagesPerSecond: time > 0 ? (images / time) * 1000 : 0,
    dataWait: time > 0 ? Math.min(1, (now.waited - then.waited) / time) : 0,
    batchSeconds: steps > 0 ? time / steps / 1000 : Number.NaN,
  };
};

/** A clock that runs while a training trains, and counts what it did. */
export class Meter {
  readonly #now: () => number;
  #moment: Moment = none;
  /** Of the steps that are done, with the times at which the last of them was. */
  #sums = none;
  /** As they were when {@link takeRecent} was last called. */
  #taken = none;
  /** When the training that is not yet in the sums began; undefined while something else is going on. */
  #since: number | undefined;

  /** @param now milliseconds; another clock is for tests */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Forgets everything: an epoch begins. */
  reset(): void {
    this.#moment = this.#sums = this.#taken = none;
    this.#since = undefined;
  }

  start(): void {
    this.#since = this.#now();
  }

  stop(): void {
    this.#moment = this.moment;
    this.#since = undefined;
  }

  /**
   * A batch that was asked for has come.
   * @param asked when it was asked for
   * @param idle when the device had done everything that it was given; undefined: it has not yet
   */
  waited(asked: number, idle: number | undefined): void {
    if (idle === undefined) return;
    const waited = this.#moment.waited + Math.max(0, this.#now() - Math.max(asked, idle));
    this.#moment = { ...this.#moment, waited };
  }

  /** The times of now. */
  get moment(): Moment {
    const running = this.#since === undefined ? 0 : this.#now() - this.#since;
    return { ...this.#moment, time: this.#moment.time + running };
  }

  /**
   * A step is done.
   * @param moment when the device had done it, which is before it is booked: what was waited for since is of the next one
   */
  stepped(images: number, moment: Moment = this.moment): void {
    const { images: before, steps } = this.#sums;
    this.#sums = { ...moment, images: before + images, steps: steps + 1 };
  }

  /** From the last reset to the last step. */
  get pace(): Pace {
    return paceOf(this.#sums, none);
  }

  /** From the step before the last call of this, or the reset, to the last step. */
  takeRecent(): Pace {
    const pace = paceOf(this.#sums, this.#taken);
    this.#taken = this.#sums;
    return pace;
  }
}
