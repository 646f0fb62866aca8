// A process of its own, which loads a folder of images and says what it left out, and by how much its memory grew.
// Usage: bombRun.ts FOLDER GOOD, where GOOD has images that are read first, so that code and threads are there.
import { imageFolder } from '../../lib/data/index.ts';

const [bombs, good] = process.argv.slice(2) as [string, string];

async function load(dir: string, augment: 'inception' | 'none'): Promise<[path: string, reason: string][]> {
  const data = imageFolder(dir, { size: 64, maxSkippedFraction: 1 });
  for await (const _ of data.batches({ batchSize: 4, augment, workers: 2 }));
  return [...data.skipped];
}

for (const augment of ['inception', 'none'] as const) await load(good, augment);
const before = process.resourceUsage().maxRSS;
const skipped = [await load(bombs, 'inception'), await load(bombs, 'none')];
console.log(JSON.stringify({ skipped, grownBytes: (process.resourceUsage().maxRSS - before) * 1024 }));
