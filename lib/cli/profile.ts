// What `train --profile` says at its end: where the time of a step goes, and whether the data or the device is the brake.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { brakeSentence, defaultBackend, type History, type StepProfile, traceEvents } from '../index.ts';
import { percent, say, table } from './output.ts';

/** Where the time of a step goes, on stderr. */
function sayOps({ transfer, ops }: StepProfile): void {
  const total = ops.reduce((sum, { milliseconds }) => sum + milliseconds, transfer);
  const rate = (amount: number, milliseconds: number) =>
    amount === 0 ? '' : (amount / milliseconds / 1e6).toFixed(1);
  say(`profile of a step: ${total.toFixed(1)} ms`);
  say(
    table([
      ['op', 'calls', 'ms', 'share', 'GB/s', 'GFLOP/s'],
      ['transfer', '', transfer.toFixed(2), percent(transfer / total), '', ''],
      ...ops.map(({ op, calls, milliseconds, bytes, multiplyAdds }) => [
        op,
        String(calls),
        milliseconds.toFixed(2),
        percent(milliseconds / total),
        rate(bytes, milliseconds),
        rate(2 * multiplyAdds, milliseconds),
      ]),
    ]),
  );
}

/** Says what was measured of a training, on stderr, and leaves every instruction in the run's profile.json. */
export async function sayProfile(profile: StepProfile, { epochs }: History, out: string): Promise<void> {
  sayOps(profile);
  const trace = join(out, 'profile.json');
  await writeFile(trace, traceEvents(profile));
  say(`every instruction is in ${trace}, for chrome://tracing or Perfetto`);
  const last = epochs.at(-1);
  if (last === undefined) return;
  const { data_wait: dataWait, images_per_second: imagesPerSecond } = last;
  say(brakeSentence({ dataWait, imagesPerSecond, device: defaultBackend().name }));
}
