// Trees of tensors: the arguments and results of traced and differentiated functions.
// A tree is a tensor, an array or a plain object of trees; everything else is a leaf that is left as it is.

import { Tensor } from './tensor.ts';

export const isPlainObject = (value: unknown): value is Record<string, unknown> => {
  if (value === null || typeof value !== 'object') return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
};

/** Rebuilds a tree with every tensor replaced, visiting them in a fixed order. */
export function mapTensors(tree: unknown, replace: (tensor: Tensor) => unknown): unknown {
  if (tree instanceof Tensor) return replace(tree);
  if (Array.isArray(tree)) return tree.map((branch) => mapTensors(branch, replace));
  if (isPlainObject(tree)) {
    return Object.fromEntries(
      Object.entries(tree).map(([key, branch]) => [key, mapTensors(branch, replace)]),
    );
  }
  return tree;
}

/** All tensors of a tree, in the order of {@link mapTensors}. */
export function tensorsIn(tree: unknown): Tensor[] {
  const found: Tensor[] = [];
  mapTensors(tree, (tensor) => {
    found.push(tensor);
    return tensor;
  });
  return found;
}

/** A string that is equal for trees of one structure, one set of shapes and types, and equal other leaves. */
export function treeKey(tree: unknown, tensorKey: (tensor: Tensor) => string): string {
  if (tree instanceof Tensor) return tensorKey(tree);
  if (Array.isArray(tree)) return `[${tree.map((branch) => treeKey(branch, tensorKey)).join(';')}]`;
  if (isPlainObject(tree)) {
    const branches = Object.entries(tree).map(
      ([key, branch]) => `${JSON.stringify(key)}:${treeKey(branch, tensorKey)}`,
    );
    return `{${branches.join(';')}}`;
  }
  if (tree === undefined) return 'undefined';
  if (tree === null || typeof tree !== 'object') return `${typeof tree} ${JSON.stringify(tree)}`;
  return `object ${identityOf(tree)}`;
}

const identities = new WeakMap<object, number>();
let nextIdentity = 1;

function identityOf(value: object): number {
  const known = identities.get(value);
  if (known !== undefined) return known;
  identities.set(value, nextIdentity);
  return nextIdentity++;
}
