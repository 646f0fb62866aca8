// Optimizers, schedules and Polyak averaging.

export * from './optimizer.ts';
export * from './polyak.ts';
export * from './schedule.ts';
