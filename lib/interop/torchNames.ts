// Names of timm's `legacy_xception` and of torchvision's `inception_v3` (timm's has the same) for our layers. Knows no files.

import { inceptionLayers } from './inceptionNames.ts';
import { features, type LayerEntry } from './layerTable.ts';
import { xceptionLayers } from './xceptionNames.ts';

/** A tensor of the network in both worlds. */
export interface TorchWeight {
  /** Our name. */
  readonly name: string;
  /** Our shape. */
  readonly shape: readonly number[];
  readonly torchName: string;
  /** Kernels are [out, in, height, width]; everything else is as ours. */
  readonly torchShape: readonly number[];
}

/** The tensors of a network, and the names of the counters that PyTorch's normalizations keep beside them. */
export interface TorchTable {
  readonly weights: readonly TorchWeight[];
  /** Each an i64 scalar; of no use for anything. */
  readonly counters: readonly string[];
}

/** Parts of our layers by their names in PyTorch. */
const parts: Readonly<Record<string, string>> = {
  weight: 'weight',
  bias: 'bias',
  gamma: 'weight',
  beta: 'bias',
  running_mean: 'running_mean',
  running_var: 'running_var',
  'depthwise.weight': 'conv1.weight',
  'pointwise.weight': 'pointwise.weight',
};

/** A module of Xception in timm: ours count blocks from 1 as the paper's figure does, the stem included. */
function timmModule(path: string): string {
  const layer = path.replace(/_bn$/, '');
  const isNorm = layer !== path;
  if (layer === 'predictions') return 'fc';
  const single = { block1_conv1: 1, block1_conv2: 2, block14_sepconv1: 3, block14_sepconv2: 4 }[layer];
  if (single !== undefined) return `${isNorm ? 'bn' : 'conv'}${single}`;
  const [, block, kind, unit] = /^block(\d+)_(shortcut|sepconv)(\d*)$/.exec(layer) as RegExpExecArray;
  const module = `block${Number(block) - 1}`;
  if (kind === 'shortcut') return `${module}.${isNorm ? 'skipbn' : 'skip'}`;
  // A list of ReLU, separable convolution, normalization for each unit; the first block has no ReLU at its start.
  const at = 3 * (Number(unit) - 1) + (block === '2' ? 0 : 1);
  return `${module}.rep.${isNorm ? at + 1 : at}`;
}

const inceptionStem: Readonly<Record<string, string>> = {
  conv1: 'Conv2d_1a_3x3',
  conv2: 'Conv2d_2a_3x3',
  conv3: 'Conv2d_2b_3x3',
  conv4: 'Conv2d_3b_1x1',
  conv5: 'Conv2d_4a_3x3',
  aux_conv1: 'AuxLogits.conv0',
  aux_conv2: 'AuxLogits.conv1',
};

const inceptionBlocks = ['5b', '5c', '5d', '6a', '6b', '6c', '6d', '6e', '7a', '7b', '7c'];

/** A module of Inception V3 in torchvision. */
function torchvisionModule(path: string): string {
  if (path === 'predictions') return 'fc';
  if (path === 'aux_predictions') return 'AuxLogits.fc';
  const layer = path.replace(/_bn$/, '');
  const inner = layer === path ? 'conv' : 'bn';
  const stem = inceptionStem[layer];
  if (stem !== undefined) return `${stem}.${inner}`;
  const [, block, branch] = /^mixed(\d+)_(.+)$/.exec(layer) as RegExpExecArray;
  // The two halves of a split 3 x 3 are `a` and `b`: 3x3_2_1x3 is branch3x3_2a.
  const name = (branch as string).replace(/_1x3$/, 'a').replace(/_3x1$/, 'b');
  return `Mixed_${inceptionBlocks[Number(block)]}.branch${name === 'pool' ? '_pool' : name}.${inner}`;
}

function torchTable(layers: readonly LayerEntry[], moduleOf: (path: string) => string): TorchTable {
  const weights: TorchWeight[] = [];
  const counters: string[] = [];
  for (const { name: path, kerasClass, weights: own } of layers) {
    const module = moduleOf(path);
    for (const { name, shape } of own) {
      const [out = 1, height = 1, width = 1, inner = 1] = shape;
      weights.push({
        name,
        shape,
        torchName: `${module}.${parts[name.slice(path.length + 1)]}`,
        torchShape: shape.length === 4 ? [out, inner, height, width] : shape,
      });
    }
    if (kerasClass === 'batch_normalization') counters.push(`${module}.num_batches_tracked`);
  }
  return { weights, counters };
}

/** The shapes of a file's tensors by name. */
export type Shapes = ReadonlyMap<string, { readonly shape: readonly number[] }>;

/** The tables of the networks that timm and torchvision have, for files with these tensors or for tensors of ours. */
export const torchTables = {
  xception: (classes: number | undefined): TorchTable => torchTable(xceptionLayers(classes), timmModule),
  inception_v3: (classes: number | undefined, auxiliary: number | undefined): TorchTable =>
    torchTable(inceptionLayers({ classes, scale: true, auxiliary }), torchvisionModule),
} as const;

export type TorchArch = keyof typeof torchTables;

/** Number of classes of a file, from the classifier's weight [classes, 2048]; undefined where there is none. */
export function torchClasses(tensors: Shapes): number | undefined {
  const shape = tensors.get('fc.weight')?.shape;
  return shape?.length === 2 && shape[1] === features ? shape[0] : undefined;
}
