// Flags: parsers that say what they accept, the flags that every command has, and the device they name.

import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  ArgumentError,
  architecture,
  architectureNames,
  type Backend,
  computeTypeOf,
  DeviceError,
  LoadError,
  type OptionValue,
  openDevice,
  type Precision,
  parseOptions,
  precisions,
  setDefaultBackend,
  UnsupportedError,
} from '../index.ts';
import { DeviceUnusableError, UsageError } from './failure.ts';
import { sayWithResults } from './output.ts';

/** A whole number of at least `least`. */
export const integer =
  (least: number) =>
  (text: string): number => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!Number.isSafeInteger(value) || value < least) {
      throw new InvalidArgumentError(`Expected a whole number of at least ${least}.`);
    }
    return value;
  };

/** A number from `low` to, not including, `high`; above `low` with `open`. */
export const real =
  (low: number, high = Number.POSITIVE_INFINITY, open = false) =>
  (text: string): number => {
    const value = text.trim() === '' ? Number.NaN : Number(text);
    if (!(open ? value > low : value >= low) || !(value < high)) {
      const upper = high === Number.POSITIVE_INFINITY ? '' : ` and below ${high}`;
      throw new InvalidArgumentError(`Expected a number ${open ? 'above' : 'of at least'} ${low}${upper}.`);
    }
    return value;
  };

/** `true` or `false`. */
export function boolean(text: string): boolean {
  if (text !== 'true' && text !== 'false') throw new InvalidArgumentError('Expected true or false.');
  return text === 'true';
}

/** Names from a list, separated by commas. */
export const listOf =
  (accepted: readonly string[]) =>
  (text: string): string[] => {
    const names = text.split(',').map((name) => name.trim());
    const unknown = names.find((name) => !accepted.includes(name));
    if (unknown !== undefined) {
      throw new InvalidArgumentError(`Expected names among ${accepted.join(', ')}, separated by commas.`);
    }
    return names;
  };

function device(text: string): string {
  if (!/^(auto|cpu|cuda(:\d+)?|reference)$/.test(text)) {
    throw new InvalidArgumentError('Expected auto, cpu, cuda or cuda:<n>.');
  }
  return text;
}

/** Flags of every command. */
export interface CommonFlags {
  readonly device: string;
  readonly precision: Precision;
  readonly threads?: number;
  readonly seed: number;
  readonly deterministic: boolean;
  readonly json: boolean;
}

/** Adds {@link CommonFlags}. */
export function withCommonFlags(command: Command): Command {
  return command
    .option('--device <name>', 'auto, cpu, cuda or cuda:<n>', device, 'auto')
    .addOption(
      new Option('--precision <type>', 'auto: fp32 on a CPU; on a GPU bf16 from sm_80 on, else fp32')
        .choices(precisions)
        .default('auto'),
    )
    .option('--threads <n>', 'threads that compute (default: all)', integer(1))
    .option('--seed <n>', 'enters everything that is random', integer(0), 0)
    .option('--deterministic', 'the same bits every time', false)
    .option('--json', 'JSON lines on stdout and nothing else', false);
}

/** `--eager`, of the commands that run a network. */
export interface ModeFlags {
  readonly eager: boolean;
}

export const withModeFlags = (command: Command): Command =>
  command.option('--eager', 'op by op in place of one compiled program: slower, for looking inside', false);

/** The mode of the flags. */
export const modeOf = ({ eager }: ModeFlags): 'compiled' | 'eager' => (eager ? 'eager' : 'compiled');

/** `--arch`, `--classes` and `--size`, checked against each other. */
export interface ModelFlags {
  readonly arch?: string;
  readonly classes?: number;
  readonly size?: number;
}

export function withModelFlags(command: Command): Command {
  return command
    .addOption(
      new Option('--arch <name>', 'network (default: what the weights say, else xception)').choices(
        architectureNames,
      ),
    )
    .option('--classes <n>', 'number of classes (default: what the data or the weights say)', integer(1))
    .option(
      '--size <pixels>',
      "edge of the images (default: what the weights or the run say, else the network's)",
      integer(1),
    );
}

/** `--arch-option`, of the commands that make new networks. */
export interface VariantFlags {
  /** Each `name=value`. */
  readonly archOption: string[];
}

export const withVariantFlags = (command: Command): Command =>
  command.option(
    '--arch-option <name=value>',
    `an option of the network, again for each: ${architectureNames
      .map((name) => `${name}: ${Object.keys(architecture(name).variant).join(', ')}`)
      .join('; ')}`,
    (text: string, before: string[]) => [...before, text],
    [],
  );

/** The options of the network that the flags name. @throws UsageError for what it does not have */
export function variantOf(arch: string, { archOption }: VariantFlags): Record<string, OptionValue> {
  try {
    return parseOptions(`--arch-option: ${arch}`, architecture(arch).variant, archOption);
  } catch (error) {
    throw error instanceof ArgumentError ? new UsageError(error.message) : error;
  }
}

/** Refuses a size that the network, with these options, cannot take. */
export function checkSize(
  arch: string,
  size: number | undefined,
  variant: Readonly<Record<string, unknown>> = {},
): void {
  const minimum = architecture(arch).minimumSizeWith(variant);
  if (size !== undefined && size < minimum) {
    throw new UsageError(`--size ${size} is too small for ${arch}; expected at least ${minimum}`);
  }
}

/** Opens the device of the flags and makes it the default. @throws DeviceUnusableError (exit code 3) */
export function openFlagged(flags: CommonFlags): Backend {
  const { deterministic, threads, precision } = flags;
  try {
    const backend = openDevice(flags.device, {
      deterministic,
      onNotice: sayWithResults,
      ...(threads === undefined ? {} : { threads }),
    });
    computeTypeOf(precision, backend);
    setDefaultBackend(backend);
    return backend;
  } catch (error) {
    if (error instanceof UnsupportedError) throw new DeviceUnusableError(`--${error.message}`);
    if (error instanceof LoadError || error instanceof DeviceError) {
      throw new DeviceUnusableError(`--device ${flags.device} cannot be used: ${error.message}`, {
        cause: error,
      });
    }
    throw error;
  }
}
