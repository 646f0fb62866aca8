// Run on a machine of fakes: opens `auto` and says what it is, why, and how many milliseconds that took. With the word
// `unheard` nobody listens to the notice.

import { openDevice } from '../../lib/backend/devices.ts';

const notices: string[] = [];
const heard = { onNotice: (line: string) => notices.push(line) };
const start = performance.now();
const { name: device, details } = openDevice('auto', process.argv.includes('unheard') ? {} : heard);
const milliseconds = performance.now() - start;
process.stdout.write(JSON.stringify({ device, details, notices, milliseconds }));
