// Run on a machine of fakes: opens `auto` three times and says what it is, why, and how long it took at best.

import { closeDevices, openDevice } from '../../lib/backend/devices.ts';

const times: number[] = [];
let notices: string[] = [];
let device = '';
let details = {};
for (let i = 0; i < 3; i += 1) {
  notices = [];
  const start = performance.now();
  const backend = openDevice('auto', { onNotice: (line) => notices.push(line) });
  times.push(performance.now() - start);
  device = backend.name;
  details = backend.details;
  closeDevices();
}
process.stdout.write(JSON.stringify({ device, notices, milliseconds: Math.min(...times), details }));
