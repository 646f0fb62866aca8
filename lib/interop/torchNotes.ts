// What a file with PyTorch's names notes beside its tensors, in the metadata of safetensors: reading it, and writing so that
// a file of ours says again what was read.

import { quoted } from '../core/printable.ts';
import type { TorchArch } from './torchNames.ts';

/** What the tensors do not say of a network. */
export interface TorchNotes {
  /** Whether torchvision's network brings ImageNet's normalization to [-1, 1] itself (`transform_input`). */
  readonly transformInput: boolean;
  /** Rule by which pixels become input. */
  readonly preprocessing: string;
}

/** Whose weights those of a network are taken for; timm's Inception V3 has torchvision's names. */
export const torchSources = { xception: 'timm', inception_v3: 'torchvision' } as const satisfies Record<
  TorchArch,
  string
>;

const transformKey = 'transform_input';
/** The rules that there are (lib/classify/preprocess.ts, which this layer may not import). */
const rules: readonly string[] = ['keras', 'timm', 'torchvision', 'imagenet'];
/** Written here where it is not what {@link readNotes} takes it for; no other program has it. */
const preprocessingKey = 'preprocessing';

/**
 * What the metadata of a file say.
 * @param fail called with what is not understood
 */
export function readNotes(
  arch: TorchArch,
  metadata: ReadonlyMap<string, string>,
  fail: (message: string) => never,
): TorchNotes {
  const noted = arch === 'inception_v3' ? metadata.get(transformKey) : undefined;
  const transform = noted?.toLowerCase();
  if (noted !== undefined && transform !== 'true' && transform !== 'false') {
    fail(`its ${transformKey} is ${quoted(noted)}, expected true or false`);
  }
  const taken = noted === undefined ? torchSources[arch] : 'imagenet';
  const preprocessing = metadata.get(preprocessingKey) ?? taken;
  if (!rules.includes(preprocessing)) {
    fail(`its ${preprocessingKey} is ${quoted(preprocessing)}, expected one of ${rules.join(', ')}`);
  }
  return { transformInput: transform === 'true', preprocessing };
}

/** The metadata of a file for PyTorch, from which {@link readNotes} reads the same. */
export function torchMetadata(arch: TorchArch, notes: TorchNotes): Map<string, string> {
  const metadata = new Map([['format', 'pt']]);
  const { transformInput, preprocessing } = notes;
  // Python's spelling, which docs/weights.md has people write.
  if (arch === 'inception_v3' && (transformInput || preprocessing === 'imagenet')) {
    metadata.set(transformKey, transformInput ? 'True' : 'False');
  }
  const taken = metadata.has(transformKey) ? 'imagenet' : torchSources[arch];
  if (preprocessing !== taken) metadata.set(preprocessingKey, preprocessing);
  return metadata;
}
