// Errors: one class per kind of failure, each with a stable code.
// A message says the operation, the argument, what was expected and what came.

/** Codes that never change, so that programs can tell failures apart. More specific codes may replace them. */
export type ErrorCode = string;

/** Base of every error this package throws on purpose. `code` is stable; the message is for people. */
export class DepthwiseError extends Error {
  /** Stable identifier, upper case with underscores, for example `SHAPE` or `CUDNN_NOT_FOUND`. */
  readonly code: ErrorCode;

  constructor(message: string, options: { code?: ErrorCode; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = options.code ?? 'DEPTHWISE';
  }
}

/** Shapes of the operands do not fit the operation. */
export class ShapeError extends DepthwiseError {
  constructor(message: string) {
    super(message, { code: 'SHAPE' });
  }
}

/** An operand has a type of number that the operation does not take. */
export class DTypeError extends DepthwiseError {
  constructor(message: string) {
    super(message, { code: 'DTYPE' });
  }
}

/** A value of an option or attribute that is not accepted: the caller's mistake. */
export class ArgumentError extends DepthwiseError {
  constructor(message: string) {
    super(message, { code: 'ARGUMENT' });
  }
}

/** The operation is meaningful, but this backend (or this package) cannot do it. */
export class UnsupportedError extends DepthwiseError {
  constructor(message: string) {
    super(message, { code: 'UNSUPPORTED' });
  }
}

/** A tensor, model or device was used after it had been disposed of. */
export class DisposedError extends DepthwiseError {
  constructor(message: string) {
    super(message, { code: 'DISPOSED' });
  }
}

/** Memory ran out. All figures are bytes. */
export class OutOfMemoryError extends DepthwiseError {
  /** What was asked for. */
  readonly requested: number;
  /** What was free then, where that is known. */
  readonly free: number | undefined;
  /** The largest free block, where that is known. */
  readonly largest: number | undefined;

  constructor(message: string, figures: { requested: number; free?: number; largest?: number }) {
    super(message, { code: 'OUT_OF_MEMORY' });
    this.requested = figures.requested;
    this.free = figures.free;
    this.largest = figures.largest;
  }
}

/** A library or driver call failed; the message carries the call and the library's own words. */
export class DeviceError extends DepthwiseError {
  constructor(message: string, options: { code?: ErrorCode; cause?: unknown } = {}) {
    super(message, { code: options.code ?? 'DEVICE', cause: options.cause });
  }
}

/** What a {@link LoadError} says beside its reason. */
export interface LoadErrorOptions {
  readonly code?: ErrorCode;
  readonly cause?: unknown;
  /** Lines of what was found and where it was looked for. */
  readonly details?: readonly string[];
  /** What would mend it, each by itself, the likeliest first. */
  readonly fixes?: readonly string[];
}

/**
 * A backend could not be loaded; `code` tells why (`NO_DRIVER`, `CUDNN_NOT_FOUND`, `BACKEND_MISSING`, …). The message is
 * the reason with its code, the details, and the fixes with numbers.
 */
export class LoadError extends DepthwiseError {
  /** The reason alone, in one line. */
  readonly reason: string;
  /** What was found, and where it was looked for, in lines. */
  readonly details: readonly string[];
  /** What would mend it, the likeliest first. */
  readonly fixes: readonly string[];

  constructor(reason: string, options: LoadErrorOptions = {}) {
    const { code = 'LOAD', cause, details = [], fixes = [] } = options;
    const mending = fixes.length === 0 ? [] : [fixes.length === 1 ? 'To mend it:' : 'To mend it, one of:'];
    const lines = [
      options.code === undefined ? reason : `${reason} (${code})`,
      ...details.map((line) => `  ${line}`),
      ...mending,
      ...fixes.map((fix, i) => `  ${i + 1}. ${fix}`),
    ];
    super(lines.join('\n'), { code, cause });
    this.reason = reason;
    this.details = details;
    this.fixes = fixes;
  }
}

/** Input data cannot be used: the file or folder is named. */
export class DataError extends DepthwiseError {
  /** The file or folder at fault, where there is one. */
  readonly file: string | undefined;

  constructor(message: string, options: { file?: string; code?: ErrorCode; cause?: unknown } = {}) {
    super(message, { code: options.code ?? 'DATA', cause: options.cause });
    this.file = options.file;
  }
}

/** A file of weights or a checkpoint is damaged, incomplete or of another network. */
export class CheckpointError extends DepthwiseError {
  /** The file or folder at fault, where there is one. */
  readonly file: string | undefined;

  constructor(message: string, options: { file?: string; code?: ErrorCode; cause?: unknown } = {}) {
    super(message, { code: options.code ?? 'CHECKPOINT', cause: options.cause });
    this.file = options.file;
  }
}

/** The loss became infinite or not a number; `step` is the first such step. */
export class NonFiniteLossError extends DepthwiseError {
  /** The first step whose loss was not finite, from 1. */
  readonly step: number;

  constructor(message: string, step: number) {
    super(message, { code: 'NON_FINITE_LOSS' });
    this.step = step;
  }
}
