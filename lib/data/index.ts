// Data sets: image folders and arrays, and the batches they give.

export { type ArraysOptions, arrays, type ImageArray, type ManyHotArray } from './arrays.ts';
export type { ColorMap, ImageSize, Rectangle } from './augment.ts';
export {
  type Augmentation,
  augmentations,
  type Batch,
  type BatchOptions,
  type Dataset,
  type LabelMix,
} from './batch.ts';
export {
  type DecodeOptions,
  decodeImage,
  type ImageInfo,
  type Interpolation,
  imageInfo,
  type ResizeRule,
} from './decode.ts';
export { type HeatMap, heatOverlay, type Picture } from './heatmap.ts';
export { type ImageFolder, type ImageFolderOptions, imageFolder } from './imageFolder.ts';
export { type ImageSupport, imageSupport } from './pool.ts';
export { expandBraces, isShardFolder, looksLikeShards } from './shardPaths.ts';
export type { TruncatedPolicy } from './shardScan.ts';
export { type Shards, type ShardsOptions, shards } from './shards.ts';
