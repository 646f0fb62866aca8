// cuDNN from TypeScript, and nothing else: the public entry `depthwise/cudnn`.

export { type DescribedDevice, type DeviceDescription, describedDevices } from './descriptions.ts';
export { type CudnnLibrary, cudnnLibrary, type Gpu, gpus } from './library.ts';
export { type Plan, type PlanReport, type PlansOptions, plans } from './plans.ts';
export {
  type ConvolutionDirection,
  type ConvolutionProblem,
  type Fusion,
  fusions,
  type NormalizationProblem,
  type PlanDType,
  type PoolingProblem,
  type Problem,
} from './problems.ts';
export {
  type AveragePoolingOptions,
  averagePooling,
  averagePoolingGrad,
  type BatchNormInferenceState,
  type BatchNormParameters,
  type BatchNormTrained,
  type BatchNormTrainingState,
  batchNormGrad,
  batchNormInference,
  batchNormTraining,
  type ConvolutionOptions,
  convolution,
  convolutionInputGrad,
  convolutionWeightGrad,
  maxPooling,
  maxPoolingGrad,
  type PoolingOptions,
} from './tensors.ts';
