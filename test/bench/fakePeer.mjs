// A contender that computes nothing: takes the milliseconds that it is told, and keeps a diary of its turns.

import { appendFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const [name, diary, milliseconds, ...flags] = process.argv.slice(2);
const say = (reply) => process.stdout.write(`${JSON.stringify(reply)}\n`);

if (name === 'absent') {
  say({ missing: 'its library is not installed' });
  process.exit();
}
console.log('a library prints a banner');
say({ ready: `${name} 1.0, ${flags.join(' ')}`, ...(name === 'slow' ? { parameters: 1234 } : {}) });
let turns = 0;
for await (const line of createInterface(process.stdin)) {
  const { run } = JSON.parse(line);
  turns += 1;
  if (name === 'mortal' && turns === 2) {
    console.error('out of memory');
    process.exit(9);
  }
  appendFileSync(diary, `${name} ${run}\n`);
  // The first step of a turn is slow: it must not be counted.
  const ofDevice = name === 'held' ? { heldBytes: 3e9, usedBytes: 2e9 } : {};
  say({
    milliseconds: Array.from({ length: run }, (_, i) => (i === 0 ? 1e6 : Number(milliseconds))),
    ...ofDevice,
  });
}
