// What ptxas says of kernels (`nvcc -Xptxas -v`), read and put into a table.

/** What one instance of a kernel takes on one architecture. */
export interface KernelResources {
  /** Without namespaces and arguments: `depthwise<8, __half>`. */
  readonly name: string;
  /** `sm_90` */
  readonly architecture: string;
  readonly registers: number;
  /** Bytes for each thread that do not fit into registers: written and read again. */
  readonly spillStores: number;
  readonly spillLoads: number;
  /** Bytes of local memory for each thread: arrays that are indexed at run time, and spills. */
  readonly stack: number;
  /** Bytes for each block that are known when compiling; the rest is asked for at the launch. */
  readonly shared: number;
}

/** Reads a log whose names are demangled. Names of functions that are no kernels are passed over. */
export function readPtxas(log: string): KernelResources[] {
  const found: KernelResources[] = [];
  let entry: { name: string; architecture: string } | undefined;
  let memory = { stack: 0, spillStores: 0, spillLoads: 0 };
  for (const line of log.split('\n')) {
    const compiling = /Compiling entry function '(.*)' for '(sm_\w+)'/.exec(line);
    if (compiling !== null) {
      const [, name = '', architecture = ''] = compiling;
      entry = { name: shortName(name), architecture };
      memory = { stack: 0, spillStores: 0, spillLoads: 0 };
    }
    const spills = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
    if (spills !== null) {
      const [stack, spillStores, spillLoads] = spills.slice(1).map(Number) as [number, number, number];
      memory = { stack, spillStores, spillLoads };
    }
    const used = /Used (\d+) registers/.exec(line);
    if (used === null || entry === undefined) continue;
    const shared = Number(/(\d+) bytes smem/.exec(line)?.[1] ?? 0);
    found.push({ ...entry, registers: Number(used[1]), ...memory, shared });
    entry = undefined;
  }
  return found;
}

/** `void dw::cuda::relu<8, __half>(long, …)` as `relu<8, __half>`. */
function shortName(demangled: string): string {
  const bare = demangled.replace(/^void /, '').replace(/\(anonymous namespace\)::|\b(?:dw|cuda)::/g, '');
  let depth = 0;
  for (let i = 0; i < bare.length; i += 1) {
    if (bare[i] === '<') depth += 1;
    else if (bare[i] === '>') depth -= 1;
    else if (bare[i] === '(' && depth === 0) return bare.slice(0, i);
  }
  return bare;
}

/** The kernels whose threads do not fit into registers: slower than they have to be, or a mistake in an unrolling. */
export const spilling = (kernels: readonly KernelResources[]): KernelResources[] =>
  kernels.filter(({ spillStores, spillLoads, stack }) => spillStores + spillLoads + stack > 0);

function groupsOf(
  kernels: readonly KernelResources[],
  keyOf: (kernel: KernelResources) => string,
): Map<string, KernelResources[]> {
  const groups = new Map<string, KernelResources[]>();
  for (const kernel of kernels) {
    const key = keyOf(kernel);
    groups.set(key, [...(groups.get(key) ?? []), kernel]);
  }
  return groups;
}

/** `sm_90: 260 kernels, at most 128 registers (partialSums<8, …>), 0 that spill` for each architecture, oldest first. */
export function summaries(kernels: readonly KernelResources[]): string[] {
  return [...groupsOf(kernels, ({ architecture }) => architecture)]
    .sort(([a], [b]) => Number(a.slice(3)) - Number(b.slice(3)))
    .map(([architecture, on]) => {
      const most = on.reduce((best, kernel) => (kernel.registers > best.registers ? kernel : best));
      const worst = `at most ${most.registers} registers (${most.name})`;
      return `${architecture}: ${on.length} kernels, ${worst}, ${spilling(on).length} that spill`;
    });
}

const range = (values: readonly number[]): string => {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return least === most ? `${most}` : `${least} to ${most}`;
};

/** A Markdown table of the kernels of one architecture: one row for each template, over all its instances. */
export function resourceTable(kernels: readonly KernelResources[], architecture: string): string {
  const on = kernels.filter((kernel) => kernel.architecture === architecture);
  const groups = [...groupsOf(on, ({ name }) => name.replace(/<.*/, ''))].sort(([a], [b]) =>
    a.localeCompare(b, 'en'),
  );
  const rows = groups.map(([name, instances]) => {
    const most = (of: (kernel: KernelResources) => number) => Math.max(...instances.map(of));
    const cells = [
      ...[name, instances.length, range(instances.map(({ registers }) => registers))],
      ...[most(({ shared }) => shared), most(({ stack }) => stack)],
      ...[most(({ spillStores }) => spillStores), most(({ spillLoads }) => spillLoads)],
    ];
    return `| ${cells.join(' | ')} |`;
  });
  return [
    '| kernel | instances | registers | static shared bytes | stack bytes | spill stores | spill loads |',
    '| --- | ---: | ---: | ---: | ---: | ---: | ---: |',
    ...rows,
  ].join('\n');
}
