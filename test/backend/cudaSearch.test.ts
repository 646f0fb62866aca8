// The search for CUDA on machines that are tables: the order of places, what a complete cuDNN is, how answers of the
// probe are read, and the fixes for each kind of machine.

import { expect } from 'chai';
import { readBuild } from '../../lib/backend/cuda/build.ts';
import { findCuda } from '../../lib/backend/cuda/find.ts';
import {
  type CudaBuild,
  findLibraries,
  type LibraryQuestions,
  type LibrarySearch,
  showCudnnVersion,
} from '../../lib/backend/cuda/libraries.ts';
import { Probe } from '../../lib/backend/cuda/probe.ts';
import { LoadError } from '../../lib/core/errors.ts';
import { TableSystem } from '../fakes/table.ts';

const build: CudaBuild = { cuda: 13, cudnn: 90800, capability: 75 };

const parts = [
  ...['graph', 'ops', 'adv', 'cnn', 'engines_precompiled', 'engines_runtime_compiled', 'heuristic'],
].map((part) => `libcudnn_${part}.so.9`);

/** cuDNN 9 complete, and cuBLASLt beside it. */
const complete = (folder: string): string[] =>
  [...parts, 'libcudnn.so.9', 'libcublasLt.so.13'].map((name) => `${folder}/${name}`);

const wheel = (prefix: string): string => `${prefix}/lib/python3.12/site-packages/nvidia/cudnn/lib`;

/** Every place with the variable or the answer that leads to it, in the order of search. */
const everyPlace: readonly (readonly [name: string, folder: string])[] = [
  ['DEPTHWISE_CUDA_DIR', '/given'],
  ['mapped', '/mapped'],
  ['VIRTUAL_ENV', wheel('/venv')],
  ['CONDA_PREFIX, its wheels', wheel('/conda')],
  ['CONDA_PREFIX, its libraries', '/conda/lib'],
  ['python3', '/packages/nvidia/cudnn/lib'],
  ['CUDA_HOME', '/home/cuda/lib64'],
  ['CUDA_PATH', '/path/cuda/lib64'],
  ['loader', '/usr/lib/x86_64-linux-gnu'],
  ['/usr/local/cuda*, the newest', '/usr/local/cuda-13.10/lib64'],
  ['/usr/local/cuda*, an older one', '/usr/local/cuda-13.9/lib64'],
];

/** A machine with all of these places. */
function machineWith(folders: readonly string[]): TableSystem {
  const system = new TableSystem();
  for (const folder of folders) system.add(...complete(folder));
  if (folders.includes('/given')) system.env.DEPTHWISE_CUDA_DIR = '/given';
  if (folders.includes('/mapped')) {
    system.files.set('/proc/self/maps', '7f-80 r--p 00 08:01 5    /mapped/libcudnn_graph.so.9.24.0\n');
  }
  Object.assign(system.env, { VIRTUAL_ENV: '/venv', CONDA_PREFIX: '/conda', PATH: '/nothing:/usr/bin' });
  Object.assign(system.env, { CUDA_HOME: '/home/cuda', CUDA_PATH: '/path/cuda' });
  system.add('/usr/bin/python3');
  system.answers.set('/usr/bin/python3 -c', { stdout: '/usr/lib/python3\n/packages\n' });
  return system;
}

/** Answers as cuDNN 9.24 for CUDA 13, and as a loader that finds what is in Debian's folder. */
const questionsOf = (system: TableSystem, answers: Partial<LibraryQuestions> = {}): LibraryQuestions => ({
  cudnn: () => ({ version: 92400, cudart: 13000 }),
  locate: (names) =>
    new Map(
      names
        .map((name) => [name, `/usr/lib/x86_64-linux-gnu/${name}`] as const)
        .filter(([, path]) => system.files.has(path)),
    ),
  ...answers,
});

const search = (system: TableSystem, answers: Partial<LibraryQuestions> = {}): LibrarySearch =>
  findLibraries(system, questionsOf(system, answers), build);

const folderOf = (result: LibrarySearch): string | undefined =>
  'found' in result ? result.found.folder : undefined;

const missesOf = (result: LibrarySearch): string[] =>
  'found' in result ? [] : result.misses.map(({ where, problem }) => `${where}: ${problem}`);

describe('the search for cuDNN', () => {
  for (const [i, [name, folder]] of everyPlace.entries()) {
    it(`takes ${name} before what comes after it`, () => {
      expect(folderOf(search(machineWith(everyPlace.slice(i).map(([, later]) => later))))).to.equal(folder);
    });
  }

  it('runs Python only where no earlier place has cuDNN', () => {
    const early = machineWith([wheel('/venv')]);
    search(early);
    expect(early.ran).to.deep.equal([]);
    const late = machineWith([]);
    search(late);
    expect(late.ran).to.have.length(1);
  });

  it('goes on where Python does not answer', () => {
    const system = machineWith(['/home/cuda/lib64']);
    system.answers.set('/usr/bin/python3 -c', { failure: 'late', signal: 'SIGKILL', status: null });
    expect(folderOf(search(system))).to.equal('/home/cuda/lib64');
  });

  it('opens parts in the order of their needs, CUDA first and the dispatcher last', () => {
    const system = machineWith(['/home/cuda/lib64']);
    system.add('/home/cuda/lib64/libnvrtc.so.13', '/home/cuda/lib64/libcudnn_new.so.9');
    system.add('/home/cuda/lib64/libcudnn.so.8', '/home/cuda/lib64/libcudnn_static_v9.a');
    const result = search(system);
    const names = 'found' in result ? result.found.paths.map((path) => path.split('/').at(-1)) : [];
    expect(names).to.deep.equal([
      'libnvrtc.so.13',
      'libcublasLt.so.13',
      ...parts,
      'libcudnn_new.so.9',
      'libcudnn.so.9',
    ]);
  });

  for (const part of [...parts, 'libcudnn.so.9']) {
    it(`misses ${part}`, () => {
      const system = machineWith(['/home/cuda/lib64']);
      system.files.delete(`/home/cuda/lib64/${part}`);
      const result = search(system);
      expect(missesOf(result)).to.include(`/home/cuda/lib64: missing ${part}`);
    });
  }

  it('needs the parts that the dispatcher names', () => {
    const system = machineWith(['/given']);
    system.files.set('/given/libcudnn.so.9', '\0libcudnn_graph.so\0libcudnn_ext.so\0');
    expect(missesOf(search(system))).to.deep.equal(['/given: missing libcudnn_ext.so.9']);
  });

  it('never takes parts from two folders', () => {
    const system = machineWith([wheel('/venv'), '/conda/lib']);
    system.files.delete(`${wheel('/venv')}/libcudnn_ops.so.9`);
    system.files.delete('/conda/lib/libcudnn_adv.so.9');
    const misses = missesOf(search(system));
    expect(misses).to.include(`${wheel('/venv')}: missing libcudnn_ops.so.9`);
    expect(misses).to.include('/conda/lib: missing libcudnn_adv.so.9');
  });

  it('looks nowhere else than in DEPTHWISE_CUDA_DIR where that is set', () => {
    for (const given of ['/nowhere', '/usr/bin']) {
      const system = machineWith(everyPlace.slice(1).map(([, folder]) => folder));
      system.env.DEPTHWISE_CUDA_DIR = given;
      const problem = given === '/nowhere' ? 'there is no such folder' : 'no libcudnn.so.9';
      expect(missesOf(search(system))).to.deep.equal([`DEPTHWISE_CUDA_DIR=${given}: ${problem}`]);
    }
  });

  it('takes DEPTHWISE_CUDA_DIR as a folder of libraries, of CUDA, or of Python packages', () => {
    for (const below of ['', '/lib64', '/lib', '/nvidia/cudnn/lib']) {
      const system = machineWith([]);
      system.env.DEPTHWISE_CUDA_DIR = '/given';
      system.add(...complete(`/given${below}`));
      expect(folderOf(search(system))).to.equal(`/given${below}`);
    }
  });

  it('refuses a process that has parts of two folders open', () => {
    const system = machineWith(['/mapped', '/other', '/home/cuda/lib64']);
    const maps = ['/mapped/libcudnn.so.9', '/other/libcudnn_ops.so.9.24.0'];
    system.files.set('/proc/self/maps', maps.map((path) => `7f-80 r--p 00 08:01 5  ${path}\n`).join(''));
    expect(missesOf(search(system))).to.deep.equal([
      '/mapped and /other: parts of cuDNN from both are open in this process',
    ]);
  });

  it('passes over a cuDNN 8 that another library has open in this process', () => {
    const system = machineWith(['/home/cuda/lib64']);
    system.files.set('/proc/self/maps', '7f-80 r--p 00 08:01 5  /mapped/libcudnn.so.8\n');
    expect(folderOf(search(system))).to.equal('/home/cuda/lib64');
  });

  it('goes on after a cuDNN that is too old, or for another CUDA', () => {
    const system = machineWith([wheel('/venv'), '/conda/lib', '/home/cuda/lib64']);
    const answers: Partial<LibraryQuestions> = {
      cudnn: (paths) => {
        if (paths.some((path) => path.startsWith('/venv'))) return { version: 90701, cudart: 13000 };
        if (paths.some((path) => path.startsWith('/conda'))) return { version: 92400, cudart: 12090 };
        return { version: 90800, cudart: 13000 };
      },
    };
    expect(folderOf(search(system, answers))).to.equal('/home/cuda/lib64');
    for (const path of complete('/home/cuda/lib64')) system.files.delete(path);
    expect(missesOf(search(system, answers))).to.include.members([
      `${wheel('/venv')}: cuDNN 9.7.1`,
      '/conda/lib: cuDNN 9.24 for CUDA 12',
    ]);
  });

  it('finds cuBLASLt beside the wheels, in CUDA_HOME, with the loader and in /usr/local', () => {
    const homes = [
      '/venv/lib/python3.12/site-packages/nvidia/cu13/lib',
      '/venv/lib/python3.12/site-packages/nvidia/cublas/lib',
      '/home/cuda/lib64',
      '/usr/lib/x86_64-linux-gnu',
      '/usr/local/cuda-13.1/lib64',
    ];
    for (const home of homes) {
      const system = machineWith([wheel('/venv')]);
      system.files.delete(`${wheel('/venv')}/libcublasLt.so.13`);
      expect(missesOf(search(system)).join(), 'without it').to.include('there is no libcublasLt.so.13');
      system.add(`${home}/libcublasLt.so.13`);
      const result = search(system);
      expect('found' in result && result.found.paths[0], home).to.equal(`${home}/libcublasLt.so.13`);
    }
  });

  it('shows versions as people write them', () => {
    const shown = [8907, 90000, 90701, 90800, 92400].map(showCudnnVersion);
    expect(shown).to.deep.equal(['8.9', '9.0', '9.7.1', '9.8', '9.24']);
  });
});

/** The output of the probe for a driver that works. */
const good = [
  '{"trying":"dlopen libcuda.so.1"}',
  '{"library":"/usr/lib/libcuda.so.1","file":"/usr/lib/libcuda.so.580.159.03"}',
  '{"cuda":13000}',
  '{"init":0,"initName":"CUDA_SUCCESS"}',
  '{"device":{"ordinal":0,"name":"NVIDIA \\"H200\\"","capability":90,"bytes":150000000000}}',
  '{"done":true}',
].join('\n');

function withDriver(ending: Parameters<TableSystem['answers']['set']>[1]): TableSystem {
  const system = new TableSystem().add('/usr/lib/libcuda.so.1');
  system.env.HOME = '/home/someone';
  system.answers.set('/probe driver', ending);
  return system;
}

const driverOf = (system: TableSystem) => new Probe(system, '/probe').driver();

describe('the probe of the driver', () => {
  it('gives the driver and its GPUs', () => {
    expect(driverOf(withDriver({ stdout: good }))).to.deep.equal({
      state: 'working',
      library: '/usr/lib/libcuda.so.1',
      file: '/usr/lib/libcuda.so.580.159.03',
      cuda: 13000,
      gpus: [{ ordinal: 0, name: 'NVIDIA "H200"', capability: 90, bytes: 150000000000 }],
    });
  });

  it('says in which call it was stopped', () => {
    const cut = '{"trying":"dlopen libcuda.so.1"}\n{"library":"/x"}\n{"trying":"cuInit"}\n{"in';
    const words = (ending: Parameters<TableSystem['answers']['set']>[1]) => driverOf(withDriver(ending));
    expect(words({ stdout: cut, status: null, signal: 'SIGSEGV' })).to.deep.equal({
      state: 'dead',
      words: 'SIGSEGV in cuInit',
    });
    expect(words({ stdout: cut, status: null, signal: 'SIGKILL', failure: 'late' })).to.deep.equal({
      state: 'dead',
      words: 'no answer within 20 s in cuInit',
    });
    expect(words({ stdout: '', status: 127 })).to.deep.equal({
      state: 'dead',
      words: 'exit code 127 in its start',
    });
  });

  it('is asked once, until the driver, its file, the GPUs, the boot or the environment change', () => {
    const system = withDriver({ stdout: good });
    const asked = () => {
      const before = system.ran.length;
      expect(driverOf(system)).to.deep.include({ state: 'working' });
      return system.ran.length - before;
    };
    expect([asked(), asked(), asked()]).to.deep.equal([1, 0, 0]);
    for (const [path, text] of [
      ['/proc/driver/nvidia/version', 'NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.142'],
      ['/proc/sys/kernel/random/boot_id', 'another'],
      ['/dev/nvidia1', ''],
      ['/usr/lib/libcuda.so.1', 'another file'],
    ] as const) {
      system.files.set(path, text);
      expect([asked(), asked()], path).to.deep.equal([1, 0]);
    }
    system.env.CUDA_VISIBLE_DEVICES = '0';
    expect([asked(), asked()]).to.deep.equal([1, 0]);
  });

  it('is asked again each time while it fails', () => {
    const system = withDriver({ stdout: '{"init":999,"initName":"CUDA_ERROR_UNKNOWN"}\n' });
    expect(driverOf(system)).to.deep.include({ state: 'failed', error: 999 });
    system.answers.set('/probe driver', { stdout: good });
    expect(driverOf(system)).to.deep.include({ state: 'working' });
  });

  it('works without a folder for its record', () => {
    const system = withDriver({ stdout: good });
    delete system.env.HOME;
    expect(driverOf(system)).to.deep.include({ state: 'working' });
    expect([...system.files.keys()]).to.deep.equal(['/usr/lib/libcuda.so.1']);
  });

  it('keeps its record in the folder of XDG, and no more than 32 findings', () => {
    const system = withDriver({ stdout: good });
    system.env.XDG_CACHE_HOME = '/cache';
    for (let i = 0; i < 40; i += 1) {
      system.env.CUDA_VISIBLE_DEVICES = String(i);
      driverOf(system);
    }
    const record = JSON.parse(system.files.get('/cache/depthwise/cuda.json') as string);
    expect(Object.keys(record.findings)).to.have.length(32);
    expect(system.ran).to.have.length(40);
    driverOf(system);
    expect(system.ran, 'the newest is kept').to.have.length(40);
  });
});

describe('the fixes', () => {
  const refusal = (system: TableSystem, ending: Parameters<TableSystem['answers']['set']>[1]): LoadError => {
    system.answers.set('/probe driver', ending);
    try {
      findCuda(system, new Probe(system, '/probe'), build, 0, () => undefined);
    } catch (error) {
      if (error instanceof LoadError) return error;
    }
    throw new Error('expected a LoadError');
  };
  const missing = { stdout: '{"missing":"libcuda.so.1: No such file or directory"}\n' };
  const unknown = { stdout: '{"init":999,"initName":"CUDA_ERROR_UNKNOWN"}\n' };
  const gpu = (system: TableSystem) => {
    system.files.set('/sys/bus/pci/devices/0000:01:00.0/vendor', '0x10de\n');
    system.files.set('/sys/bus/pci/devices/0000:01:00.0/class', '0x030200\n');
    return system;
  };

  it('without a driver depend on whether a GPU is there', () => {
    expect(refusal(new TableSystem(), missing).fixes[0]).to.match(
      /--device cpu; no NVIDIA GPU is to be seen/,
    );
    expect(refusal(gpu(new TableSystem()), missing).fixes[0]).to.equal('apt install nvidia-driver-580');
  });

  it('are for the package managers that are there', () => {
    const system = gpu(new TableSystem()).add('/usr/bin/dnf');
    system.env.PATH = '/usr/bin';
    expect(refusal(system, missing).fixes[0]).to.equal('dnf install nvidia-driver-cuda');
  });

  it('are for the host of a container, and for Windows', () => {
    const container = new TableSystem().add('/.dockerenv');
    expect(refusal(container, missing).fixes[0]).to.match(/docker run --gpus all/);
    expect(refusal(container, unknown).fixes[0]).to.match(/docker run --gpus all/);
    const wsl = new TableSystem();
    wsl.files.set('/proc/sys/kernel/osrelease', '5.15.153.1-microsoft-standard-WSL2\n');
    expect(refusal(wsl, missing).fixes[0]).to.match(/in Windows, then: wsl --shutdown/);
    expect(refusal(wsl, unknown).fixes[0]).to.match(/wsl --shutdown/);
  });

  it('of a mismatch name the compatibility package of LD_LIBRARY_PATH', () => {
    const system = new TableSystem();
    system.env.LD_LIBRARY_PATH = '/usr/local/cuda/compat';
    const mismatch = {
      stdout: '{"cuda":13000}\n{"init":803,"initName":"CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"}\n',
    };
    expect(refusal(system, mismatch).fixes[0]).to.match(/^take the folder with "compat" out/);
  });

  it('come with the version of the driver in the kernel', () => {
    const system = new TableSystem();
    system.files.set(
      '/proc/driver/nvidia/version',
      'NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.82.07  Release Build  (dvs-builder)\n',
    );
    const { code, details } = refusal(system, unknown);
    expect(code).to.equal('NO_DRIVER');
    expect(details).to.deep.equal(["the kernel has NVIDIA's driver 580.82.07"]);
  });

  it('come with the version of the driver in its file, where the kernel does not tell', () => {
    const system = new TableSystem().add('/usr/lib/libcuda.so.1');
    expect(refusal(system, { stdout: good }).details[0]).to.match(/^driver 580\.159\.03 ok, 1 GPU/);
    const bare = good.replace('libcuda.so.580.159.03', 'libcuda.so.1');
    expect(refusal(system, { stdout: bare }).details[0]).to.match(/^driver for CUDA 13\.0 ok, 1 GPU/);
  });

  it('are numbered in the message', () => {
    const { message, fixes } = refusal(new TableSystem().add('/.dockerenv'), unknown);
    expect(message.split('\n')).to.deep.equal([
      'the NVIDIA driver does not start: cuInit gives CUDA_ERROR_UNKNOWN (999) (NO_DRIVER)',
      'To mend it, one of:',
      ...fixes.map((fix, i) => `  ${i + 1}. ${fix}`),
    ]);
  });
});

describe('what the CUDA backend is built for', () => {
  it('is read from what its build wrote', () => {
    const text = '{"cuda": 13, "cudnn": 90800, "capability": 90, "architectures": [90], "nvcc": "13.0.88"}';
    expect(readBuild(text)).to.deep.equal({ cuda: 13, cudnn: 90800, capability: 90 });
  });

  it('is an error where that is something else', () => {
    for (const text of ['', '{}', '[13, 90800, 90]', '{"cuda": 13, "cudnn": "90800", "capability": 90}']) {
      expect(() => readBuild(text), text).to.throw(/libdepthwise_cuda\.json: expected a whole number as c/);
    }
  });
});
