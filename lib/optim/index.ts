// Optimizers, schedules, Polyak averaging, and what mixed precision adds to them.

export * from './computeCopy.ts';
export { type LossScaleOptions, type LossScaleReading, LossScaler } from './lossScaler.ts';
export * from './optimizer.ts';
export * from './polyak.ts';
export * from './schedule.ts';
