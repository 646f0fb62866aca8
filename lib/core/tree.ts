// Trees of tensors: the arguments and results of traced and differentiated functions.
// A tree is a tensor, an array or a plain object of trees; everything else is a leaf that is left as it is.

import { type Aval, sameShape } from './aval.ts';
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

/** Stands in a pattern of a tree for a tensor of this shape and type. */
class AvalMark {
  readonly aval: Aval;

  constructor(a: Aval) {
    this.aval = a;
  }
}

/** What trees are like that {@link matches} finds equal to this one. */
export const patternOf = (tree: unknown): unknown => mapTensors(tree, ({ aval }) => new AvalMark(aval));

/**
 * Whether a tree has the structure of a pattern's, tensors of its shapes and types, and equal other leaves. Then its
 * tensors are added to `found`, in the order of the pattern. Cheaper than {@link treeKey}.
 */
export function matches(pattern: unknown, tree: unknown, found: Tensor[]): boolean {
  if (pattern instanceof AvalMark) {
    if (!(tree instanceof Tensor)) return false;
    found.push(tree);
    const { shape, dtype } = tree.aval;
    return dtype === pattern.aval.dtype && sameShape(shape, pattern.aval.shape);
  }
  if (Array.isArray(pattern)) {
    if (!Array.isArray(tree) || tree.length !== pattern.length) return false;
    for (let i = 0; i < pattern.length; i++) if (!matches(pattern[i], tree[i], found)) return false;
    return true;
  }
  if (isPlainObject(pattern)) {
    if (!isPlainObject(tree)) return false;
    const keys = Object.keys(pattern);
    if (Object.keys(tree).length !== keys.length) return false;
    for (const key of keys) if (!(key in tree && matches(pattern[key], tree[key], found))) return false;
    return true;
  }
  return Object.is(pattern, tree);
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
