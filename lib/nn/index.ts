// Modules, layers and initializers.

export * from './initializers.ts';
export * from './layers.ts';
export * from './module.ts';
