// Training: the trainer, evaluation, metrics and checkpoints.

export {
  type BenchmarkMode,
  type BenchmarkOptions,
  type BenchmarkResult,
  type BenchmarkSetup,
  benchmark,
  type OpenBenchmark,
  openBenchmark,
} from './benchmark.ts';
export { type Best, type Monitor, monitors } from './best.ts';
export { type BrakeFigures, brakeOf, brakeSentence } from './brake.ts';
export {
  type Checkpoint,
  type FoundCheckpoint,
  type Json,
  newestCheckpoint,
  openCheckpoint,
  type RunState,
} from './checkpoint.ts';
export {
  bestOf,
  type ClassScores,
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  type LossKind,
  type MeanAveragePrecision,
} from './evaluate.ts';
export type { History } from './fit.ts';
export type { EpochRecord, MetricsLine, Scores, StepLine, StepRecord } from './metrics.ts';
export type { FitOptions, FitProgress, TrainerOptions, TrainerSettings, TrainingData } from './options.ts';
export { type PresetName, presetNames, presets } from './presets.ts';
export { type InstructionTime, type OpTime, type StepProfile, traceEvents } from './profile.ts';
export {
  learningRateOf,
  type OptimizerRecipe,
  optimizerOf,
  type Recipe,
  type ScheduleName,
  type ScheduleRecipe,
  scheduleOf,
  trainerOptionsOf,
} from './recipe.ts';
export { readRunConfig } from './runFolder.ts';
export { Trainer } from './trainer.ts';
