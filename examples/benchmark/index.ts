// How fast this machine trains and predicts, by batch: images per second, the median step, and the memory that it took.
//
//   npx tsx examples/benchmark/index.ts [device] [size] [batches, separated by commas] [steps]

import { type BenchmarkMode, benchmark, closeDevices, openDevice } from 'depthwise';

const [device = 'auto', size = '299', batches = '1,8', steps = '5'] = process.argv.slice(2);
const backend = openDevice(device);
console.log(
  `${backend.name}: ${Object.entries(backend.details)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ')}`,
);

for (const mode of ['train', 'infer'] satisfies BenchmarkMode[]) {
  for (const batch of batches.split(',').map(Number)) {
    const { imagesPerSecond, stepMs, peakBytes } = await benchmark(backend, {
      arch: 'xception',
      mode,
      batch,
      size: Number(size),
      steps: Number(steps),
      warmup: 2, // the first step compiles
      augment: 'none',
      resident: true, // the network alone, without the way of images to the device
      seed: 0,
    });
    console.log(
      `${mode}, batch ${batch}, ${size} pixels: ${imagesPerSecond.toFixed(1)} images/s, ` +
        `${stepMs.median.toFixed(0)} ms a step (${stepMs.min.toFixed(0)} to ${stepMs.max.toFixed(0)}), ` +
        `peak ${(peakBytes / 1e6).toFixed(0)} MB`,
    );
  }
}
closeDevices();
