// CUDA that cannot be used, in every way that has a code: on machines of fakes, `auto` is the CPU within 500 ms and says
// why, `--device cuda` ends with 3, the code and what would mend it.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { cudaBuild } from '../../lib/backend/cuda/build.ts';
import { findLibraries } from '../../lib/backend/cuda/libraries.ts';
import { Probe } from '../../lib/backend/cuda/probe.ts';
import { thisMachine } from '../../lib/backend/cuda/system.ts';
import { loadAddon } from '../../lib/backend/load.ts';
import { FakeMachine, noCompiler } from '../fakes/machine.ts';
import { skip } from '../support/skip.ts';

interface Case {
  readonly title: string;
  /** `auto` looks at `cuda:0`. */
  readonly device?: string;
  make(machine: FakeMachine): void;
  readonly code: string;
  readonly reason: RegExp;
  /** The first fix. */
  readonly fix: RegExp;
  /** What this machine must not have itself. */
  readonly unless?: 'driver' | 'cudnn';
}

const site = 'venv/lib/python3.12/site-packages/nvidia';

const cases: readonly Case[] = [
  {
    title: 'no libcuda',
    unless: 'driver',
    make: () => undefined,
    code: 'NO_DRIVER',
    reason: /^no NVIDIA driver: libcuda\.so\.1 not found/,
    fix: /docker run --gpus all|nvidia-driver|no NVIDIA GPU is to be seen|NVIDIA's driver/,
  },
  {
    title: 'a libcuda that is no library',
    make: (machine) => machine.file('driver/libcuda.so.1', 'text'),
    code: 'NO_DRIVER',
    reason: /^no NVIDIA driver/,
    fix: /./,
  },
  {
    title: 'a libcuda without the functions of a driver',
    make: (machine) => machine.libraries('driver', ['libcuda.so.1']),
    code: 'NO_DRIVER',
    reason: /^no NVIDIA driver/,
    fix: /./,
  },
  {
    title: 'a libcuda with no device',
    make: (machine) => machine.driver({ DEVICES: 0 }),
    code: 'NO_DEVICE',
    reason: /^the driver has no GPU/,
    fix: /nvidia-smi|--gpus all/,
  },
  {
    title: 'cuInit 100',
    make: (machine) => machine.driver({ INIT: 100, NAME: '"CUDA_ERROR_NO_DEVICE"' }),
    code: 'NO_DEVICE',
    reason: /cuInit gives CUDA_ERROR_NO_DEVICE \(100\)/,
    fix: /nvidia-smi|--gpus all/,
  },
  {
    title: 'cuInit 100, with CUDA_VISIBLE_DEVICES empty',
    make: (machine) => {
      machine.driver({ INIT: 100, NAME: '"CUDA_ERROR_NO_DEVICE"' });
      machine.env.CUDA_VISIBLE_DEVICES = '';
    },
    code: 'NO_DEVICE',
    reason: /cuInit gives CUDA_ERROR_NO_DEVICE \(100\)/,
    fix: /^unset CUDA_VISIBLE_DEVICES, which is ""/,
  },
  {
    title: 'cuInit 803',
    make: (machine) => machine.driver({ INIT: 803, NAME: '"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"' }),
    code: 'DRIVER_TOO_OLD',
    reason: /does not fit libcuda\.so\.1: cuInit gives CUDA_ERROR_SYSTEM_DRIVER_MISMATCH \(803\)/,
    fix: /^restart the machine/,
  },
  {
    title: 'cuInit 999',
    make: (machine) => machine.driver({ INIT: 999, NAME: '"CUDA_ERROR_UNKNOWN"' }),
    code: 'NO_DRIVER',
    reason: /does not start: cuInit gives CUDA_ERROR_UNKNOWN \(999\)/,
    fix: /nvidia_uvm|--gpus all|wsl/,
  },
  {
    title: 'a driver that aborts in cuInit',
    make: (machine) => machine.driver({ ABORT_IN: 'init' }),
    code: 'NO_DRIVER',
    reason: /does not work: SIGABRT in cuInit/,
    fix: /nvidia_uvm|--gpus all|wsl/,
  },
  {
    title: 'a driver that aborts when it is opened',
    make: (machine) => machine.driver({ ABORT_IN: 'opening' }),
    code: 'NO_DRIVER',
    reason: /does not work: SIGABRT in dlopen libcuda\.so\.1/,
    fix: /nvidia_uvm|--gpus all|wsl/,
  },
  {
    title: 'a driver for CUDA 12',
    make: (machine) => machine.driver({ DRIVER: 12080 }).backend().wheels(),
    code: 'DRIVER_TOO_OLD',
    reason: /is for CUDA 12\.8, 13 is needed: driver 580\.65 or later/,
    fix: /580/,
  },
  {
    title: 'a GPU that is too old',
    make: (machine) => machine.driver({ CAPABILITY: 70 }).backend().wheels(),
    code: 'NO_DEVICE',
    reason: /is of sm_70; sm_75 or later is needed/,
    fix: /another GPU/,
  },
  {
    title: 'a GPU that is too old for the architectures of this build',
    make: (machine) =>
      machine
        .driver({ CAPABILITY: 80 })
        .backend()
        .wheels()
        .built('{"cuda": 13, "cudnn": 90800, "capability": 90, "architectures": [90, 100]}'),
    code: 'NO_DEVICE',
    reason: /is of sm_80; sm_90 or later is needed/,
    fix: /another GPU/,
  },
  {
    title: 'a GPU that is not there',
    device: 'cuda:1',
    make: (machine) => machine.driver().backend().wheels(),
    code: 'NO_DEVICE',
    reason: /^there is no cuda:1; there is cuda:0$/,
    fix: /cuda:0/,
  },
  {
    title: 'no backend',
    make: (machine) => machine.driver().wheels(),
    code: 'BACKEND_MISSING',
    reason: /"cuda" is not installed: there is no .*libdepthwise_cuda\.so/,
    fix: /DEPTHWISE_NATIVE_DIR/,
  },
  {
    title: 'a backend that cannot be loaded',
    make: (machine) => machine.driver().wheels().file('native/libdepthwise_cuda.so', 'text'),
    code: 'BACKEND_MISSING',
    reason: /cannot load the backend .*libdepthwise_cuda\.so/,
    fix: /build it again/,
  },
  {
    title: 'no cuDNN',
    unless: 'cudnn',
    make: (machine) => machine.driver().backend(),
    code: 'CUDNN_NOT_FOUND',
    reason: /^libcudnn\.so\.9 not found$/,
    fix: /^pip install nvidia-cudnn-cu13$/,
  },
  {
    title: 'cuDNN 8 only',
    unless: 'cudnn',
    make: (machine) => {
      machine.driver().backend().libraries('old', ['libcudnn.so.8', 'libcudnn_ops_infer.so.8']);
      machine.env.LD_LIBRARY_PATH += `:${machine.at('old')}`;
    },
    code: 'CUDNN_TOO_OLD',
    reason: /^cuDNN is too old: 8 in .*\/old, 9\.8 or later is needed/,
    fix: /^pip install --upgrade nvidia-cudnn-cu13$/,
  },
  {
    title: 'cuDNN 9.1',
    unless: 'cudnn',
    make: (machine) => machine.driver().backend().wheels({ version: 90100 }),
    code: 'CUDNN_TOO_OLD',
    reason: /^cuDNN is too old: 9\.1 in .*cudnn\/lib, 9\.8 or later is needed/,
    fix: /^pip install --upgrade nvidia-cudnn-cu13$/,
  },
  {
    title: 'an incomplete cuDNN 9',
    unless: 'cudnn',
    make: (machine) =>
      machine
        .driver()
        .backend()
        .wheels({ without: ['graph'] }),
    code: 'CUDNN_INCOMPLETE',
    reason: /cudnn\/lib: missing libcudnn_graph\.so\.9$/,
    fix: /^pip install --force-reinstall nvidia-cudnn-cu13$/,
  },
  {
    title: 'a cuDNN 9 without a part that only its own version has',
    unless: 'cudnn',
    make: (machine) =>
      machine
        .driver()
        .backend()
        .wheels({ without: ['ext'] }),
    code: 'CUDNN_INCOMPLETE',
    reason: /missing libcudnn_ext\.so\.9$/,
    fix: /^pip install --force-reinstall/,
  },
  {
    title: 'two halves of cuDNN 9 in two folders',
    unless: 'cudnn',
    make: (machine) => {
      machine
        .driver()
        .backend()
        .wheels({ without: ['graph', 'ops'] });
      machine.cudnn('other', { without: ['adv', 'cnn'] });
      machine.env.LD_LIBRARY_PATH += `:${machine.at('other')}`;
    },
    code: 'CUDNN_INCOMPLETE',
    reason: /cudnn\/lib: missing libcudnn_graph\.so\.9, libcudnn_ops\.so\.9$/,
    fix: /^pip install --force-reinstall/,
  },
  {
    title: 'a part of cuDNN that is cut off',
    unless: 'cudnn',
    make: (machine) => {
      machine.driver().backend().wheels().file(`${site}/cudnn/lib/libcudnn_cnn.so.9`, 'text');
    },
    code: 'CUDNN_INCOMPLETE',
    reason: /cannot be opened: .*libcudnn_cnn\.so\.9: (file too short|invalid ELF header)/,
    fix: /^pip install --force-reinstall/,
  },
  {
    title: 'a cuDNN that aborts when it is opened',
    unless: 'cudnn',
    make: (machine) => machine.driver().backend().wheels({ aborts: true }),
    code: 'CUDNN_INCOMPLETE',
    reason: /cannot be opened: SIGABRT in dlopen .*libcudnn\.so\.9/,
    fix: /^pip install --force-reinstall/,
  },
  {
    title: 'a newer CUDA major, with all its libraries',
    unless: 'cudnn',
    make: (machine) => machine.driver({ DRIVER: 14000 }).backend().wheels({ cudart: 14000 }, 14),
    code: 'CUDNN_INCOMPLETE',
    reason: /^libcublasLt\.so\.13 not found, which cuDNN in .* needs/,
    fix: /^pip install nvidia-cublas$/,
  },
  {
    title: "a newer CUDA major's cuDNN beside the libraries of ours",
    unless: 'cudnn',
    make: (machine) => machine.driver({ DRIVER: 14000 }).backend().wheels({ cudart: 14000 }),
    code: 'CUDNN_NOT_FOUND',
    reason: /^no cuDNN for CUDA 13: .*: cuDNN 9\.24 for CUDA 14$/,
    fix: /^pip install nvidia-cudnn-cu13$/,
  },
  {
    title: 'DEPTHWISE_CUDA_DIR that points nowhere, beside a good cuDNN',
    make: (machine) => {
      machine.driver().backend().wheels();
      machine.env.DEPTHWISE_CUDA_DIR = machine.at('nowhere');
    },
    code: 'CUDNN_NOT_FOUND',
    reason: /not found: DEPTHWISE_CUDA_DIR=.*nowhere: there is no such folder$/,
    fix: /^unset DEPTHWISE_CUDA_DIR/,
  },
];

/** What this machine itself has, which fakes cannot hide. */
function present(): ReadonlySet<string> {
  const system = { ...thisMachine(), env: {} };
  const probe = new Probe(system, join(loadAddon().folder, 'depthwise_probe'));
  const search = findLibraries(system, probe, cudaBuild());
  const some = 'found' in search || search.misses.some(({ something }) => something);
  return new Set([...(probe.driver().state === 'missing' ? [] : ['driver']), ...(some ? ['cudnn'] : [])]);
}

/** What fakes/openAuto.ts says in a process of its own. */
interface OpenedAuto {
  readonly device: string;
  readonly details: Readonly<Record<string, unknown>>;
  readonly notices: readonly string[];
  readonly milliseconds: number;
}

async function openAuto(machine: FakeMachine): Promise<OpenedAuto> {
  const { stdout, stderr, code } = await machine.run(join(import.meta.dirname, '../fakes/openAuto.ts'));
  expect(code, stderr).to.equal(0);
  return JSON.parse(stdout) as OpenedAuto;
}

describe('CUDA that cannot be used', () => {
  let here: ReadonlySet<string>;
  let machine: FakeMachine;

  before(function () {
    const missing = noCompiler();
    if (missing !== undefined) skip(this, missing);
    here = present();
  });
  beforeEach(() => {
    machine = new FakeMachine();
  });
  afterEach(() => machine.dispose());

  for (const { title, device = 'cuda', make, code, reason, fix, unless } of cases) {
    it(`${code}: ${title}`, async function () {
      if (unless !== undefined && here.has(unless)) skip(this, `this machine has a ${unless} of its own`);
      make(machine);
      const command = await machine.command('predict', 'a.jpg', '--weights', 'w.h5', '--device', device);
      let found = await openAuto(machine);
      // A machine that is busy otherwise may take its time once.
      if (found.milliseconds >= 500) found = await openAuto(machine);
      const { device: opened, notices, milliseconds } = found;
      if (device === 'cuda') {
        expect(opened).to.equal('cpu');
        expect(milliseconds).to.be.below(500);
        expect(notices).to.have.length(1);
        expect(notices[0]).to.match(/^device: cpu; cuda: not used: .*; mend it with( one of)?: /);
        expect(notices[0]).to.include(`(${code})`);
      } else {
        expect(opened).to.equal('cuda:0');
      }

      const lines = command.stderr.trimEnd().split('\n');
      const [, said] = new RegExp(`^depthwise: --device ${device} cannot be used: (.*) \\(${code}\\)$`).exec(
        lines[0] as string,
      ) ?? [undefined, `another reason: ${command.stderr}`];
      expect(said).to.match(reason);
      const fixes = lines.flatMap((line) => /^ {2}\d+\. (.*)$/.exec(line)?.[1] ?? []);
      expect(fixes[0]).to.match(fix);
      expect(lines).to.include(fixes.length === 1 ? 'To mend it:' : 'To mend it, one of:');
      expect(command.stdout).to.equal('');
      expect(command.code).to.equal(3);
    });
  }

  it('is told by doctor in the words of the documentation', async function () {
    if (here.has('cudnn')) skip(this, 'this machine has a cuDNN of its own');
    machine
      .driver()
      .backend()
      .wheels({ without: ['graph'] });
    const [people, json] = await Promise.all([
      machine.command('doctor'),
      machine.command('doctor', '--json'),
    ]);
    const lines = people.stdout.trimEnd().split('\n');
    expect(lines[0]).to.match(/^device: cpu \(oneDNN [\d.]+, \w+, \d+ threads?\)$/);
    expect(lines[1]).to.match(
      /^cuda: not used: cuDNN is incomplete: .*missing libcudnn_graph\.so\.9 \(CUDNN_INCOMPLETE\)$/,
    );
    expect(lines[2]).to.match(
      /^ {2}driver .* ok, 1 GPU \(NVIDIA H200, sm_90\); built for CUDA 13, cuDNN 9\.8 or later$/,
    );
    expect(lines[3]).to.match(
      /^ {2}searched: .*cudnn\/lib \(missing libcudnn_graph\.so\.9\), .*loader \(no libcudnn\.so\.9\)/,
    );
    expect(lines[4]).to.match(
      /^ {2}mend it with one of: pip install .*nvidia-cudnn-cu13 · apt install libcudnn9-cuda-13 · DEPTHWISE_CUDA_DIR=\/path$/,
    );
    expect(lines[5]).to.match(/^images: /);
    expect(people.code).to.equal(0);
    const found = JSON.parse(json.stdout);
    expect(found.device).to.equal('cpu');
    const cuda = found.backends.find((backend: { name: string }) => backend.name === 'cuda');
    expect(cuda).to.deep.include({ usable: false, code: 'CUDNN_INCOMPLETE' });
    expect(cuda.details.fixes[1]).to.equal('apt install libcudnn9-cuda-13');
    expect(cuda.details.found).to.deep.equal(lines.slice(2, 4).map((line) => line.trim()));
  });

  it('is a warning where nobody listens and there is a GPU, and none where there is none', async function () {
    if (here.has('cudnn')) skip(this, 'this machine has a cuDNN of its own');
    const warning = async () => {
      const { code, stderr } = await machine.run(
        join(import.meta.dirname, '../fakes/openAuto.ts'),
        'unheard',
      );
      expect(code).to.equal(0);
      return stderr;
    };
    machine.driver({ DEVICES: 0 }).backend();
    expect(await warning()).to.equal('');
    machine.driver();
    expect(await warning()).to.match(
      /\[DEPTHWISE_CPU\] DepthwiseWarning: device: cpu; cuda: not used: .*\(CUDNN_NOT_FOUND\)/,
    );
  });

  it('with --device cuda is not the device of doctor either', async () => {
    machine.driver({ INIT: 999 });
    const { code, stdout } = await machine.command('doctor', '--device', 'cuda');
    expect(stdout).to.match(/^device: none\n/);
    expect(code).to.equal(3);
  });
});

describe('CUDA that can be used', () => {
  let machine: FakeMachine;
  before(function () {
    const missing = noCompiler();
    if (missing !== undefined) skip(this, missing);
  });
  beforeEach(() => {
    machine = new FakeMachine();
  });
  afterEach(() => machine.dispose());

  const auto = () => openAuto(machine);

  it('is opened: all of cuDNN from one folder, its dispatcher last, then the backend', async () => {
    machine.driver().backend().wheels();
    const { device, notices, details } = await auto();
    expect([device, notices]).to.deep.equal(['cuda:0', []]);
    expect(details).to.include({
      gpu: 'NVIDIA H200',
      capability: 'sm_90',
      cudnn: '9.24',
      folder: machine.at(site, 'cudnn/lib'),
    });
    const names = machine.opened().map((path) => path.slice(machine.at(site).length + 1));
    const once = [
      ...['cudart', 'nvrtc', 'cublasLt'].map((name) => `cu13/lib/lib${name}.so.13`),
      ...[
        'graph',
        'ops',
        'adv',
        'cnn',
        'engines_precompiled',
        'engines_runtime_compiled',
        'ext',
        'heuristic',
      ].map((part) => `cudnn/lib/libcudnn_${part}.so.9`),
      'cudnn/lib/libcudnn.so.9',
    ];
    // By the probe, and then in the process itself.
    expect(names).to.deep.equal([...once, ...once]);
  });

  it('is remembered, until something changes or the record is damaged', async () => {
    machine.driver().backend().wheels();
    const openings = async () => {
      machine.file('log', '');
      await auto();
      return machine.opened().filter((path) => path.endsWith('/libcudnn.so.9')).length;
    };
    const record = '.cache/depthwise/cuda.json';
    expect(await openings()).to.equal(2);
    expect(await openings(), 'by itself, without the probe').to.equal(1);
    const text = readFileSync(machine.at('home', record), 'utf8');
    for (const damage of ['', '{', 'null', '[]', '{"version":1,"findings":{"a":3}}', text.slice(0, -40)]) {
      machine.file(join('home', record), damage);
      expect(await openings(), damage).to.equal(2);
    }
    machine.cudnn(`${site}/cudnn/lib`, { version: 92500 });
    expect(await openings(), 'another cuDNN').to.equal(2);
    expect((await auto()).details.cudnn).to.equal('9.25');
  });

  it('works with a driver of a newer CUDA', async () => {
    machine.driver({ DRIVER: 14000 }).backend().wheels();
    expect(await auto()).to.include({ device: 'cuda:0' });
  });

  it('is passed over for the CPU where the device itself fails, and that is said', async () => {
    machine.driver().lostBackend().wheels();
    const { device, notices } = await auto();
    expect(device).to.equal('cpu');
    expect(notices[0]).to.match(
      /^device: cpu; cuda: not used: .*cuCtxCreate: CUDA_ERROR_DEVICE_UNAVAILABLE \(46\).* \(DEVICE\)$/,
    );
  });
});
