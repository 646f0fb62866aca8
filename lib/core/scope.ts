// Scopes: who disposes of a tensor. A tensor belongs to the innermost scope that is open when it is made.

import { ArgumentError } from './errors.ts';
import type { Tensor } from './tensor.ts';
import { tensorsIn } from './tree.ts';

let innermost: Scope | undefined;

/** Owner of the tensors made while it is open; disposing of it disposes of them. Made by {@link openScope}. */
export class Scope implements Disposable {
  readonly #parent: Scope | undefined;
  readonly #tensors = new Set<Tensor>();
  #open = true;

  /** @internal Use {@link openScope} or {@link scope}. */
  constructor() {
    this.#parent = innermost;
    innermost = this;
  }

  /** @internal */
  own(tensor: Tensor): void {
    this.#tensors.add(tensor);
  }

  /** @internal */
  disown(tensor: Tensor): void {
    this.#tensors.delete(tensor);
  }

  /** Hands every tensor of `tree` to the scope outside this one, or to the caller if there is none. */
  keep<T>(tree: T): T {
    for (const tensor of tensorsIn(tree)) {
      if (this.#tensors.delete(tensor)) tensor.moveTo(this.#parent);
    }
    return tree;
  }

  /** Disposes of the tensors and closes the scope, with any scope opened inside and left open. */
  dispose(): void {
    if (!this.#open) return;
    while (innermost !== undefined && innermost !== this) innermost.dispose();
    this.#open = false;
    innermost = this.#parent;
    for (const tensor of this.#tensors) tensor.dispose();
    this.#tensors.clear();
  }

  /** Frees it where a `using` block ends. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** The scope that owns what is made now, if one is open. */
export const currentScope = (): Scope | undefined => innermost;

/**
 * Opens a scope for the rest of a block: `using s = openScope();`.
 * Scopes are synchronous: code that awaits between opening and closing shares the scope with whatever runs meanwhile.
 */
export const openScope = (): Scope => new Scope();

/**
 * Runs `body` and disposes of every tensor made in it, except those in what it returns (a tensor, or arrays and plain
 * objects of tensors), which go to the scope outside. Throws ArgumentError for an asynchronous body.
 */
export function scope<T>(body: () => T): T {
  const opened = new Scope();
  try {
    const result = body();
    if (result instanceof Promise) {
      throw new ArgumentError('scope: the body is asynchronous; scopes are synchronous');
    }
    return opened.keep(result);
  } finally {
    opened.dispose();
  }
}
