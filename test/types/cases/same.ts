// Equality of types, for the cases: `expectSame<A, B>()` compiles only if A and B are the same type.

/** True where A and B are the same type, `any` and `never` told apart from the others. */
export type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

export declare function expectSame<A, B>(..._: Same<A, B> extends true ? [] : [never]): void;

/** Compiles only if the value may be used as a T. */
export declare function expectIs<T>(value: T): void;
