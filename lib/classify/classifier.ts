// A classifier: a network with what belongs to its weights (classes, labels, image size, preprocessing), which can
// predict, be saved and be loaded. Training is not known here.

import type { Backend } from '../backend/backend.ts';
import { type DeviceOptions, openDevice } from '../backend/devices.ts';
import { type Compiled, compile } from '../core/compile.ts';
import type { ComputeType } from '../core/dtype.ts';
import { ArgumentError, CheckpointError, DataError } from '../core/errors.ts';
import { readAll } from '../core/flat.ts';
import { scope } from '../core/scope.ts';
import { type Tensor, tensor } from '../core/tensor.ts';
import type { ImageArray } from '../data/arrays.ts';
import { decodeImage, resizePixels } from '../data/decode.ts';
import { type Activation, type WeightFile, writeWeights } from '../interop/weights.ts';
import { architecture, isArchitectureName } from '../models/registry.ts';
import { ForwardContext, type Module } from '../nn/module.ts';
import { ops } from '../ops/index.ts';
import { castIfNeeded } from '../ops/shape.ts';
import { writeOnnx } from './onnx.ts';
import { computeTypeOf, type Precision } from './precision.ts';
import { type PreprocessingName, preprocessings, resizingOf } from './preprocess.ts';

/** What a classifier is beside its weights; kept in files. */
export interface ClassifierConfig {
  /** Name of the network in the registry, or of one's own. */
  readonly arch: string;
  /** How many. */
  readonly classes: number;
  /** Names of the classes, in the order of the outputs. */
  readonly labels?: readonly string[];
  /** Edge in pixels to which images are resized. */
  readonly size: number;
  /** How pixels become the network's input. */
  readonly preprocessing: PreprocessingName;
  /** What makes probabilities of the logits: 'sigmoid' where an image may have many labels. Default 'softmax'. */
  readonly activation?: Activation;
  /** Options that the network was built with, beside the number of classes. */
  readonly options: Readonly<Record<string, unknown>>;
}

/** One class of a prediction. */
export interface Prediction {
  /** Index of the class. */
  readonly index: number;
  /** Its name, or its index as text where the model has no labels. */
  readonly label: string;
  /** In [0, 1]; after a softmax, the probabilities of all classes add up to 1. With `logits`, the logit. */
  readonly probability: number;
}

/** An image in memory: uint8 [height, width, 3], red green blue. */
export interface Pixels {
  /** [height, width, 3] */
  readonly data: Uint8Array;
  /** In pixels. */
  readonly height: number;
  /** In pixels. */
  readonly width: number;
}

/** A path, the bytes of an image file, or pixels. */
export type ImageInput = string | Uint8Array | Pixels;

/** Options of {@link Classifier.predict}. */
export interface PredictOptions extends DeviceOptions {
  /** How many classes to give, best first. Default 5, or all if there are fewer. */
  readonly top?: number;
  /** Logits in place of probabilities. Default false. */
  readonly logits?: boolean;
  /** Images per run of the network. Default 32. */
  readonly batchSize?: number;
  /** Where to compute; default: where the model is, else `auto`. */
  readonly device?: string;
  /** Default `auto`. */
  readonly precision?: Precision;
  /** 'compiled': the network is one native call; 'eager': op by op, for looking inside. Default 'compiled'. */
  readonly mode?: 'compiled' | 'eager';
}

/** The network on a batch: its images, whether logits are wanted, and what is computed in. */
type Infer = Compiled<[Tensor, boolean, ComputeType], Tensor>;

/**
 * A network with its labels, image size, preprocessing and activation. Made by {@link xception}, {@link createClassifier}
 * and {@link loadModel}, or by hand around a module of one's own that maps float32 images [n, height, width, 3] to logits
 * [n, classes]. Owns the network: `dispose` (or `using`) frees its tensors.
 */
export class Classifier implements Disposable {
  /** Images [n, height, width, 3] to logits [n, classes]. */
  readonly network: Module;
  #config: ClassifierConfig;
  #backend: Backend | undefined;
  #infer: Infer | undefined;

  /** @throws ArgumentError where the labels are not as many as the classes */
  constructor(network: Module, config: ClassifierConfig) {
    if (config.labels !== undefined && config.labels.length !== config.classes) {
      throw new ArgumentError(`classifier: ${config.classes} classes, but ${config.labels.length} labels`);
    }
    this.network = network;
    this.#config = config;
  }

  /** What it is beside its weights. */
  get config(): ClassifierConfig {
    return this.#config;
  }

  /**
   * Changes labels, image size, activation or preprocessing, as training does when it learns them from the data and the
   * loss, and loading from the file.
   * @throws ArgumentError where the labels are not as many as the classes
   */
  configure(
    changes: Partial<Pick<ClassifierConfig, 'labels' | 'size' | 'activation' | 'preprocessing'>>,
  ): void {
    const labels = changes.labels ?? this.#config.labels;
    if (labels !== undefined && labels.length !== this.#config.classes) {
      throw new ArgumentError(`classifier: ${this.#config.classes} classes, but ${labels.length} labels`);
    }
    const { activation = this.activation, preprocessing = this.#config.preprocessing } = changes;
    if (activation !== this.activation || preprocessing !== this.#config.preprocessing) {
      this.#infer?.dispose(); // it computes both
      this.#infer = undefined;
    }
    this.#config = { ...this.#config, ...changes };
  }

  /** What makes probabilities of the logits. */
  get activation(): Activation {
    return this.#config.activation ?? 'softmax';
  }

  /** The backend that holds the weights: the one of {@link to}, else `auto`, opened at first use. */
  get backend(): Backend {
    if (this.#backend === undefined) this.to(openDevice('auto'));
    return this.#backend as Backend;
  }

  /** Moves the weights to a backend; those without a value get their first one from `seed`. */
  to(backend: Backend, options: { seed?: number } = {}): this {
    if (this.#backend !== backend) {
      this.#infer?.dispose();
      this.#infer = undefined;
      this.network.to(backend, options);
      this.#backend = backend;
    }
    return this;
  }

  /**
   * Images on the device to logits, f32 [n, classes]. uint8 images are normalised by the model's rule, float32 ones are
   * taken as they are. Traceable.
   */
  logits(images: Tensor, context: ForwardContext = new ForwardContext()): Tensor {
    const logits = this.network.forward(this.input(images, context), context);
    return castIfNeeded(logits, 'f32');
  }

  /**
   * The network's input, in the type that is computed in: uint8 images normalised by the model's rule, float32 ones as they
   * are. Traceable.
   */
  input(images: Tensor, context: ForwardContext): Tensor {
    if (images.dtype !== 'u8') return context.cast(images);
    const { scale, shift } = preprocessings[this.#config.preprocessing];
    const { backend } = this;
    return ops.normalizeImages(
      images,
      tensor([...scale], [3], { backend }),
      tensor([...shift], [3], { backend }),
      { dtype: context.computeType },
    );
  }

  /**
   * Classifies images: paths, file contents and pixels in any mixture, or one array of images.
   * Compiled at the first call for a batch size, unless `mode` is 'eager'; waits without blocking the JavaScript thread.
   * @returns per image its classes, best first
   * @throws DataError naming the file that cannot be read; UnsupportedError for a precision that the device does not have
   */
  async predict(
    images: ImageInput | readonly ImageInput[] | ImageArray,
    options: PredictOptions = {},
  ): Promise<Prediction[][]> {
    const { labels, classes } = this.#config;
    const top = Math.min(options.top ?? 5, classes);
    if (!Number.isInteger(top) || top < 1)
      throw new ArgumentError(`predict: expected top of at least 1, got ${top}`);
    const outputs = isImageArray(images)
      ? await this.outputs(images, options)
      : await this.#outputsOf(Array.isArray(images) ? images : [images as ImageInput], options);
    const results: Prediction[][] = [];
    for (let at = 0; at < outputs.length; at += classes) {
      const row = outputs.subarray(at, at + classes);
      const order = Array.from(row.keys()).sort((a, b) => (row[b] as number) - (row[a] as number) || a - b);
      results.push(
        order.slice(0, top).map((index) => ({
          index,
          label: labels?.[index] ?? String(index),
          probability: row[index] as number,
        })),
      );
    }
    return results;
  }

  /**
   * Refuses an array that is no input of this classifier: another shape than [n, height, width, 3]; or float32, which is taken as
   * it stands, with numbers that are not finite, or smaller than the network can take (Xception 71, Inception V3 75 pixels).
   * @throws DataError
   */
  checkImages({ data, shape }: ImageArray): void {
    const [n = 0, height = 0, width = 0, channels] = shape;
    const stride = height * width * 3;
    if (shape.length !== 4 || channels !== 3 || data.length !== n * stride) {
      throw new DataError(
        `expected images [n, height, width, 3], got [${shape.join(', ')}] with ${data.length} elements`,
      );
    }
    if (!(data instanceof Float32Array)) return;
    const { arch } = this.#config;
    const least = isArchitectureName(arch) ? architecture(arch).minimumSize : 1;
    if (height < least || width < least) {
      throw new DataError(
        `float32 images are taken as they stand, ${height} x ${width} pixels; ${arch} takes at least ${least} x ${least}`,
      );
    }
    const at = firstNotFinite(data);
    if (at < 0) return;
    const place = at % stride;
    const [row, column, channel] = [
      Math.floor(place / (width * 3)),
      Math.floor(place / 3) % width,
      place % 3,
    ];
    throw new DataError(
      `image ${Math.floor(at / stride)} has ${data[at]} at row ${row}, column ${column}, channel ${channel}; ` +
        'expected finite numbers',
    );
  }

  /**
   * Probabilities (or logits) of an array of images, float32 [n, classes]. uint8 images are resized and normalised by
   * the model's rule; float32 ones are the network's input as they stand, at their own height and width.
   * @throws DataError as {@link checkImages}
   */
  async outputs(array: ImageArray, options: PredictOptions = {}): Promise<Float32Array> {
    const { data, shape } = array;
    const [n = 0, height = 0, width = 0] = shape;
    this.checkImages(array);
    const { size, classes } = this.#config;
    const stride = height * width * 3;
    const results = new Float32Array(n * classes);
    const batch = options.batchSize ?? 32;
    for (let from = 0; from < n; from += batch) {
      const to = Math.min(n, from + batch);
      const part = data.subarray(from * stride, to * stride);
      const values =
        part instanceof Float32Array
          ? await this.#run(part, [to - from, height, width, 3], options)
          : await this.#run(
              height === size && width === size
                ? part
                : await resizePixels(part, [to - from, height, width, 3], {
                    height: size,
                    width: size,
                    ...resizingOf(this.#config.preprocessing),
                  }),
              [to - from, size, size, 3],
              options,
            );
      results.set(values, from * classes);
    }
    return results;
  }

  async #outputsOf(inputs: readonly ImageInput[], options: PredictOptions): Promise<Float32Array> {
    const { size, classes } = this.#config;
    const batch = options.batchSize ?? 32;
    const stride = size * size * 3;
    const results = new Float32Array(inputs.length * classes);
    for (let from = 0; from < inputs.length; from += batch) {
      const part = inputs.slice(from, from + batch);
      const decoded = await Promise.all(part.map((input) => this.#decode(input)));
      const pixels = new Uint8Array(part.length * stride);
      decoded.forEach((image, i) => {
        pixels.set(image, i * stride);
      });
      results.set(await this.#run(pixels, [part.length, size, size, 3], options), from * classes);
    }
    return results;
  }

  async #decode(input: ImageInput): Promise<Uint8Array> {
    const { size, preprocessing } = this.#config;
    const target = { height: size, width: size, ...resizingOf(preprocessing) };
    if (typeof input === 'string' || input instanceof Uint8Array) return decodeImage(input, target);
    return resizePixels(input.data, [1, input.height, input.width, 3], target);
  }

  /** Runs the network on one batch. */
  async #run(
    images: Uint8Array | Float32Array,
    shape: readonly number[],
    options: PredictOptions,
  ): Promise<Float32Array> {
    if (options.device !== undefined) this.to(openDevice(options.device, options));
    const { backend } = this;
    const computeType = computeTypeOf(options.precision, backend);
    const eager = (input: Tensor, logits: boolean, type: ComputeType) => {
      const y = this.logits(input, new ForwardContext({ computeType: type }));
      if (logits) return y;
      return this.activation === 'sigmoid' ? ops.sigmoid(y) : ops.softmax(y);
    };
    if (options.mode !== 'eager') this.#infer ??= compile(eager);
    const infer = options.mode === 'eager' ? eager : (this.#infer as Infer);
    const output = scope(() =>
      infer(tensor(images, shape, { backend }), options.logits === true, computeType),
    );
    try {
      return (await output.data()) as Float32Array;
    } finally {
      output.dispose();
    }
  }

  /** All weights and running statistics by name, read back from the device. */
  async weights(): Promise<Map<string, { shape: readonly number[]; data: Float32Array }>> {
    this.to(this.backend); // a new model's weights get their first values
    const state = this.network.state();
    const data = (await readAll([...state.values()])) as Float32Array[];
    return new Map(
      [...state].map(([name, { shape }], i) => [name, { shape, data: data[i] as Float32Array }]),
    );
  }

  /**
   * Takes weights by name. Either all fit or nothing is changed.
   * @param options skipClassifier: leave out a classifier of another number of classes
   * @returns the names left out
   * @throws CheckpointError naming what is missing, unknown or of another shape
   */
  loadWeights(
    tensors: ReadonlyMap<string, { readonly shape: readonly number[]; readonly data: Float32Array }>,
    options: { skipClassifier?: boolean; file?: string } = {},
  ): string[] {
    const where = options.file === undefined ? 'weights' : options.file;
    const state = this.network.state();
    const skipped: string[] = [];
    const problems: string[] = [];
    const isClassifier = (name: string) =>
      options.skipClassifier === true && /^(aux_)?predictions\./.test(name);
    for (const [name, parameter] of state) {
      const given = tensors.get(name);
      const fits = given !== undefined && given.shape.join() === parameter.shape.join();
      if (fits) continue;
      if (isClassifier(name)) skipped.push(name);
      else if (given === undefined) problems.push(`${name} is missing`);
      else problems.push(`${name} is [${given.shape.join(',')}], expected [${parameter.shape.join(',')}]`);
    }
    for (const name of tensors.keys()) if (!state.has(name)) problems.push(`${name} is unknown`);
    if (problems.length > 0) {
      const more = problems.length > 3 ? `; and ${problems.length - 3} more` : '';
      throw new CheckpointError(
        `${where}: not weights of ${this.#config.arch} with ${this.#config.classes} classes: ` +
          `${problems.slice(0, 3).join('; ')}${more}`,
        { code: 'WEIGHTS_MISMATCH', ...(options.file === undefined ? {} : { file: options.file }) },
      );
    }
    for (const [name, parameter] of state) {
      const given = tensors.get(name);
      if (given !== undefined && !skipped.includes(name)) parameter.give(given.data);
    }
    return skipped;
  }

  /** Everything that {@link save} writes. */
  async toWeightFile(): Promise<WeightFile> {
    return { source: 'depthwise', ...this.#config, tensors: await this.weights() };
  }

  /**
   * Writes the weights by the file's ending: `.safetensors`, Keras' `.h5` and `.weights.h5`, `.timm.safetensors`,
   * `.torchvision.safetensors`; or the network with its weights as `.onnx`, which gives probabilities. Atomic.
   */
  async save(file: string): Promise<void> {
    if (file.toLowerCase().endsWith('.onnx')) return writeOnnx(file, this);
    await writeWeights(file, await this.toWeightFile());
  }

  /** Frees weights and compiled programs. */
  dispose(): void {
    this.#infer?.dispose();
    this.#infer = undefined;
    this.network.dispose();
  }

  /** Frees it where a `using` block ends. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Index of the first NaN or infinity; -1 where there is none. */
function firstNotFinite(data: Float32Array): number {
  for (let i = 0; i < data.length; i++) if (!Number.isFinite(data[i])) return i;
  return -1;
}

const isImageArray = (value: unknown): value is ImageArray =>
  typeof value === 'object' && value !== null && 'data' in value && 'shape' in value;
