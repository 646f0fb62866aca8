// The public API of depthwise, and nothing else.

export type { Backend, BackendMemory, BufferHandle, PreparedHandle, Support } from './backend/backend.ts';
export { closeDevices, type DeviceOptions, openDevice } from './backend/devices.ts';
export {
  Classifier,
  type ClassifierConfig,
  type ImageInput,
  type Pixels,
  type Prediction,
  type PredictOptions,
} from './classify/classifier.ts';
export {
  type ExplainedPicture,
  Explainer,
  type ExplainOptions,
  type ExplainPicturesOptions,
  type Explanation,
  writePicture,
} from './classify/explain.ts';
export {
  type ClassifierOptions,
  createClassifier,
  type FromWeightsOptions,
  fittedToSize,
  fromWeightFile,
  type InceptionV3Variant,
  inceptionV3,
  loadModel,
  withoutAuxiliary,
  type XceptionVariant,
  xception,
} from './classify/load.ts';
export { type OnnxOptions, type OnnxOutput, toOnnx, writeOnnx } from './classify/onnx.ts';
export { computeTypeOf, type Precision, precisionOf, precisions } from './classify/precision.ts';
export {
  isPreprocessingName,
  type Preprocessing,
  type PreprocessingName,
  preprocessings,
  resizingOf,
} from './classify/preprocess.ts';
export { apply } from './core/apply.ts';
export type { Aval, Shape } from './core/aval.ts';
export { type Compiled, type CompileOptions, compile } from './core/compile.ts';
export { defaultBackend, setDefaultBackend, withBackend } from './core/device.ts';
export type { ComputeType, DType, TensorData } from './core/dtype.ts';
export * from './core/errors.ts';
export type { FlatVariable } from './core/flat.ts';
export { type MemoryReport, memory, resetPeakMemory } from './core/memory.ts';
export {
  type AnyOp,
  defineOp,
  type NoGradient,
  type Op,
  type OpDefinition,
  type Vjp,
  type VjpContext,
} from './core/op.ts';
export { type PassSelection, passNames } from './core/passes/pipeline.ts';
export type { Rewriting } from './core/passes/rewrite.ts';
export { escaped } from './core/printable.ts';
export {
  type Instruction,
  type MemoryPlan,
  type Part as ProgramPart,
  type Program,
  showProgram,
} from './core/program.ts';
export { openScope, type Scope, scope } from './core/scope.ts';
export { grad, type ValueAndGrad, valueAndGrad, type WithAux, withoutGradient } from './core/tape.ts';
export { Tensor, type TensorOptions, tensor, Variable, variable } from './core/tensor.ts';
export * from './data/index.ts';
export { imagenetLabels, imagenetSynsets } from './interop/imagenet.ts';
export type { Match } from './interop/matching.ts';
export { type NpyArray, type NpyCode, type NpyDType, readNpy, writeNpy } from './interop/npy.ts';
export {
  type Packed,
  type PackedShard,
  type PackOptions,
  type PackProgress,
  packFolder,
} from './interop/pack.ts';
export type { Resizing } from './interop/packImage.ts';
export type { StoredData, WeightTensor } from './interop/storedTensor.ts';
export type { BatchesTracked } from './interop/torchWeights.ts';
export {
  type Activation,
  type ReadWeightsOptions,
  readableEndings,
  readWeights,
  type WeightFile,
  writableEndings,
  writeWeights,
} from './interop/weights.ts';
export {
  type OptionKind,
  type OptionKinds,
  type OptionsOf,
  type OptionValue,
  parseOptions,
} from './models/options.ts';
export {
  type Architecture,
  architecture,
  architectureNames,
  type NetworkOptions,
} from './models/registry.ts';
export { type LayerSummary, type NetworkSummary, summarize } from './models/summary.ts';
export * as nn from './nn/index.ts';
export { ops } from './ops/index.ts';
export * from './optim/index.ts';
export * from './report/index.ts';
export * from './train/index.ts';
