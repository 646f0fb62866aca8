// Optimizers, schedules, Polyak averaging, and what mixed precision adds to them.

export { Accumulator } from './accumulator.ts';
export * from './computeCopy.ts';
export { GradientGate, type GradientGateOptions } from './gradientGate.ts';
export { type LossScaleOptions, type LossScaleReading, LossScaler } from './lossScaler.ts';
export * from './optimizer.ts';
export * from './polyak.ts';
export * from './schedule.ts';
