// `npm run fuzz -- TARGET… --seconds N --seed N`: runs targets (default: all) and prints what came of their inputs.

import { parseArgs } from 'node:util';
import { fuzz } from './fuzz.ts';
import { targets } from './targets.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string', default: '1' } },
});
const names = positionals.length > 0 ? positionals : Object.keys(targets);
for (const name of names) {
  if (targets[name] === undefined)
    throw new Error(`${name}: no target; expected ${Object.keys(targets).join(', ')}`);
  const {
    inputs,
    values: read,
    codes,
    slowest,
    grown,
  } = await fuzz(name, Number(values.seconds) * 1000, Number(values.seed));
  const errors = [...codes].sort().map(([code, count]) => `${code} ${count}`);
  console.log(
    `${name}: ${inputs} inputs, ${read} read, slowest ${slowest.toFixed(0)} ms, peak of memory +${grown.toFixed(0)} MB; ${errors.join(', ')}`,
  );
}
