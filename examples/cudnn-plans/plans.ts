// The plans of one depthwise layer, compared: what cuDNN has for Xception's middle flow (19 x 19, 728 channels) in three
// directions and two types. On a machine with a GPU they are timed; elsewhere planned for a described one.
//
//   pip install nvidia-cudnn-cu13 nvidia-cublas
//   node --import tsx examples/cudnn-plans/plans.ts [h200 | t4 | …]

import { type DescribedDevice, describedDevices, gpus, type Plan, plans } from 'depthwise/cudnn';

const asked = process.argv[2];
const names = Object.keys(describedDevices) as DescribedDevice[];
const name = names.find((known) => known === asked);
if (asked !== undefined && name === undefined)
  throw new Error(`a device of ${names.join(', ')}, not ${asked}`);
const device = name === undefined && gpus().length > 0 ? { device: 0 } : { description: name ?? 'h200' };

const batch = 256;
const layer = { x: [batch, 19, 19, 728], w: [728, 3, 3, 1], padding: 'same' } as const;
const elements = batch * 19 * 19 * 728;

const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** One line: engine, workspace, time with the memory traffic that it amounts to (one tensor read, one written). */
function line(plan: Plan, bytesPerElement: number): string {
  const { engine, knobs, notes, workspace = 0, milliseconds, buildSeconds, compiled } = plan;
  const time =
    milliseconds === undefined
      ? 'not timed'
      : `${milliseconds.toFixed(3)} ms, ${((2 * elements * bytesPerElement) / milliseconds / 1e6).toFixed(0)} GB/s`;
  const built = compiled ? `compiled in ${buildSeconds.toFixed(1)} s` : 'precompiled';
  const words = [`engine ${engine}`, knobs, ...notes].filter((word) => word !== '').join(', ');
  return `    ${time.padEnd(24)} ${mebibytes(workspace).padStart(10)}  ${built}  ${words}`;
}

for (const dtype of ['bf16', 'f32'] as const) {
  for (const direction of ['forward', 'inputGrad', 'weightGrad'] as const) {
    const report = await plans(
      { kind: 'convolution', direction, dtype, ...layer },
      { ...device, build: 4, seconds: 20 },
    );
    const usable = report.plans.filter(({ refused }) => refused === undefined).length;
    console.log(
      `${dtype} ${direction}: ${report.plans.length} engines, ${usable} may be used on ${report.device}`,
    );
    const built = report.plans.filter((plan) => plan.built && plan.refused === undefined);
    for (const plan of built)
      console.log(`${line(plan, dtype === 'f32' ? 4 : 2)}${plan === report.best ? '  <' : ''}`);
  }
}
