// Programs as graphs: recorded when addresses come again, replayed from then on, with the bits of single launches.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { openCuda } from '../../lib/backend/cuda/open.ts';
import { openDevice } from '../../lib/backend/devices.ts';
import { pluginPath } from '../../lib/backend/load.ts';
import { openNative } from '../../lib/backend/native.ts';
import { compile } from '../../lib/core/compile.ts';
import { LoadError } from '../../lib/core/errors.ts';
import { scope } from '../../lib/core/scope.ts';
import { smallInception, training } from '../passes/networks.ts';
import { isChosen } from '../support/chosen.ts';
import { isRequired } from '../support/devices.ts';
import { skip } from '../support/skip.ts';
import { addon, download, payload, upload } from './support.ts';

/** Runs `body` with the variable that decides, when a device is opened, whether programs become graphs. */
function withGraphs<T>(on: boolean, body: () => T): T {
  const before = process.env.DEPTHWISE_CUDA_GRAPHS;
  process.env.DEPTHWISE_CUDA_GRAPHS = on ? 'on' : 'off';
  try {
    return body();
  } finally {
    if (before === undefined) delete process.env.DEPTHWISE_CUDA_GRAPHS;
    else process.env.DEPTHWISE_CUDA_GRAPHS = before;
  }
}

for (const kind of ['cudasim', 'cuda'] as const) {
  if (!isChosen(kind)) continue;
  describe(`graphs on ${kind}`, () => {
    // Of two openings of a GPU the second takes the plans that the first has chosen: others would give other bits.
    const cache = process.env.DEPTHWISE_PLAN_CACHE;
    let folder: string;
    before(function () {
      folder = mkdtempSync(join(tmpdir(), 'depthwise-plans-'));
      process.env.DEPTHWISE_PLAN_CACHE = folder;
      try {
        // Of a GPU this opens NVIDIA's libraries too, for all devices that come after it.
        openDevice(kind);
      } catch (error) {
        if (!(error instanceof LoadError) || isRequired(kind)) throw error;
        skip(this, error.message.split('\n')[0] as string);
      }
    });
    after(() => {
      if (cache === undefined) delete process.env.DEPTHWISE_PLAN_CACHE;
      else process.env.DEPTHWISE_PLAN_CACHE = cache;
      rmSync(folder, { recursive: true });
    });

    /** x → 2x + x, in two instructions. */
    const triple = () =>
      payload({
        values: [{ shape: [4] }, { shape: [4], offset: 0 }, { shape: [4] }],
        inputs: [0],
        outputs: [2],
        instructions: [
          { op: 'scale', inputs: [0], outputs: [1], attributes: [2] },
          { op: 'add', inputs: [1, 0], outputs: [2] },
        ],
        arenaBytes: 64,
      });

    /** The results of runs with these pairs of buffers, and how many were one launch. */
    function runs(on: boolean, pairs: readonly (readonly [number, number])[]) {
      const device = withGraphs(on, () => addon.openDevice(pluginPath(kind), {}));
      try {
        const program = addon.prepare(device, triple());
        const inputs = [1, 10, 100].map((x) => upload(device, [x, x + 1, x + 2, x + 3]));
        const outputs = [0, 1, 2].map(() => addon.allocate(device, 16));
        const results = pairs.map(([from, to]) => {
          addon.run(device, program, [inputs[from]!], [outputs[to]!]);
          return download(device, outputs[to]!, 4)[0];
        });
        addon.forget(device, program);
        addon.syncBlocking(device);
        return { results, launches: JSON.parse(addon.describe(device)).graphLaunches as number };
      } finally {
        addon.closeDevice(device);
      }
    }

    it('are made of the second run with the same buffers, for each set of them', () => {
      const pairs = [...Array(4).fill([0, 0]), [1, 0], [1, 1], [1, 0], [1, 0], [0, 0]] as [number, number][];
      const results = [3, 3, 3, 3, 30, 30, 30, 30, 3];
      expect(runs(true, pairs)).to.deep.equal({ results, launches: 3 + 2 + 1 });
      expect(runs(false, pairs)).to.deep.equal({ results, launches: 0 });
    });

    it('are left out where a program cannot be recorded: it is launched kernel by kernel', function () {
      if (kind !== 'cudasim') skip(this, 'only the simulation can be asked to refuse');
      process.env.DEPTHWISE_CUDASIM_UNCAPTURABLE = '1';
      try {
        const pairs = Array(4).fill([0, 0]) as [number, number][];
        expect(runs(true, pairs)).to.deep.equal({ results: [3, 3, 3, 3], launches: 0 });
      } finally {
        delete process.env.DEPTHWISE_CUDASIM_UNCAPTURABLE;
      }
    });

    it('read what buffers hold when they run', () => {
      const device = withGraphs(true, () => addon.openDevice(pluginPath(kind), {}));
      const program = addon.prepare(device, triple());
      const [x, y] = [upload(device, [0, 0, 0, 0]), addon.allocate(device, 16)];
      for (let i = 0; i < 5; i += 1) {
        addon.write(device, x, new Uint8Array(new Float32Array([i, 1, 2, 3]).buffer));
        addon.run(device, program, [x], [y]);
        expect(download(device, y, 4)).to.deep.equal([3 * i, 3, 6, 9]);
      }
      addon.closeDevice(device);
    });

    it('give the bits of single launches over ten training steps', () => {
      const losses = [true, false].map((on) => {
        const backend = withGraphs(on, () =>
          kind === 'cuda' ? openCuda({ deterministic: true }) : openNative(kind),
        );
        try {
          return ['a', 'b', 'c', 'inception'].map((seed) => {
            const network = seed === 'inception' ? smallInception() : undefined;
            using trained = training(backend, seed, 0.05, network, [2, network ? 21 : 9]);
            using step = compile(trained.step);
            const losses = Array.from({ length: 10 }, (_, i) =>
              scope(() => step(...trained.inputs(i + 1)).dataSync()[0]),
            );
            const state = [...trained.state].map(([name, variable]) => [name, [...variable.dataSync()]]);
            return { losses, state };
          });
        } finally {
          backend.dispose();
        }
      });
      expect(losses[0]).to.deep.equal(losses[1]);
    });
  });
}
