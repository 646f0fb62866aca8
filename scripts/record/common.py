# What the recording scripts and the live peers share: the generator of weights and images (twin of
# test/support/generator.ts), and Keras' Xception with its weights under this project's names and layouts.
"""Needs numpy; Keras, TensorFlow, h5py, Pillow and PyTorch only where a script asks for them with `need`."""

import importlib
import json
import math
import os
import sys
from pathlib import Path

os.environ.setdefault('KERAS_BACKEND', 'tensorflow')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

# Exit status when the interpreter lacks a package: tests that want live peers skip on it (EX_UNAVAILABLE).
MISSING_PACKAGE = 69


def need(*names):
    """Imports packages, or says which one is missing and exits with `MISSING_PACKAGE`."""
    modules = []
    for name in names:
        try:
            modules.append(importlib.import_module(name))
        except ImportError as error:
            print(f'{Path(sys.argv[0]).name}: needs the Python package {name}: {error}', file=sys.stderr)
            sys.exit(MISSING_PACKAGE)
    return modules[0] if len(modules) == 1 else modules


np = need('numpy')

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / 'test' / 'fixtures'

# The one network of the fixtures. Ten classes: the classifier is the only part that depends on their number,
# and ten outputs an image can be read by eye and kept whole.
CLASSES = 10
SEED = 1
CLASSIFIER_GAIN = 40.0


# ---- the generator ----


def mix(x):
    """A bijection of uint32 with low bias (Wellons, "Prospecting for hash functions")."""
    x = np.asarray(x, np.uint32).copy()
    with np.errstate(over='ignore'):
        x ^= x >> np.uint32(16)
        x *= np.uint32(0x7FEB352D)
        x ^= x >> np.uint32(15)
        x *= np.uint32(0x846CA68B)
        x ^= x >> np.uint32(16)
    return x


def keys(name, seed):
    """The two keys of a tensor's stream: FNV-1a of its name, mixed with the seed."""
    hashed = 0x811C9DC5
    for byte in name.encode():
        hashed = ((hashed ^ byte) * 0x01000193) & 0xFFFFFFFF
    first = int(mix(hashed ^ int(mix(seed & 0xFFFFFFFF))))
    return first, int(mix((first + 0x9E3779B9) & 0xFFFFFFFF))


def bits(name, count, seed, start=0):
    """uint32 [count]: element i depends on the name, the seed and start + i alone."""
    first, second = keys(name, seed)
    counter = np.arange(start, start + count, dtype=np.uint32)
    with np.errstate(over='ignore'):
        return mix(mix(counter ^ np.uint32(first)) + np.uint32(second))


def generate(name, shape, seed, limit=1.0, offset=0.0):
    """float32 of a shape: offset + limit * u, u uniform in [-1, 1) in steps of 2^-23; each operation rounds
    once."""
    count = int(np.prod(shape))
    whole = (bits(name, count, seed) >> np.uint32(8)).astype(np.int32) - 2**23
    u = whole.astype(np.float32) * np.float32(2**-23)
    return (np.float32(offset) + np.float32(limit) * u).reshape(shape)


def sketch(name, values, buckets):
    """Count sketch of a flattened tensor: float64 [buckets]; every element is added to one bucket with a
    sign, both drawn from the generator (seed 0). It is linear, and its norm is the tensor's within 1 / sqrt(2
    buckets) (Charikar, Chen, Farach-Colton 2002), so that the norm of a difference is seen without keeping
    the tensor."""
    flat = np.asarray(values, np.float64).reshape(-1)
    drawn = bits('sketch/' + name, flat.size, 0)
    signed = np.where(drawn >> np.uint32(31), -flat, flat)
    return np.bincount(drawn % np.uint32(buckets), weights=signed, minlength=buckets)


def smooth_images(count, size, seed=SEED):
    """float32 [count, size, size, 3] in [-1, 1]: image i is a quadratic B-spline over (3 + i) x (3 + i) cells
    of generated control values. All integer arithmetic below 2^53 and one division, so both languages agree
    bit for bit."""
    images = np.empty((count, size, size, 3), np.float32)
    d = size - 1
    for i in range(count):
        cells = 3 + i
        side = cells + 2
        drawn = bits(f'smooth/{i}', side * side * 3, seed)
        # Control values of 64..127 with either sign: far from grey, so that images differ.
        control = (64 + (drawn & np.uint32(63)).astype(np.int64)) * np.where(drawn >> np.uint32(31), -1, 1)
        at = np.arange(size, dtype=np.int64) * cells
        cell = np.minimum(at // d, cells - 1)
        f = at - cell * d
        weights = np.zeros((size, side), np.int64)  # each row sums to 2 d^2
        rows = np.arange(size)
        weights[rows, cell] = (d - f) ** 2
        weights[rows, cell + 1] = d * d + 2 * d * f - 2 * f * f
        weights[rows, cell + 2] = f * f
        total = np.einsum('yj,xk,jkc->yxc', weights, weights, control.reshape(side, side, 3))
        images[i] = (total.astype(np.float64) / (4 * d**4 * 128)).astype(np.float32)
    return images


# ---- Xception under our names ----


def separable_layers():
    """(name, inputs, outputs) of the 34 separable convolutions, in the order of figure 5."""
    wide = [(f'block{b}_sepconv{k}', 728, 728) for b in range(5, 13) for k in (1, 2, 3)]
    return [
        ('block2_sepconv1', 64, 128), ('block2_sepconv2', 128, 128),
        ('block3_sepconv1', 128, 256), ('block3_sepconv2', 256, 256),
        ('block4_sepconv1', 256, 728), ('block4_sepconv2', 728, 728),
        *wide,
        ('block13_sepconv1', 728, 728), ('block13_sepconv2', 728, 1024),
        ('block14_sepconv1', 1024, 1536), ('block14_sepconv2', 1536, 2048),
    ]  # fmt: skip


SHORTCUTS = [('block2_shortcut', 64, 128), ('block3_shortcut', 128, 256), ('block4_shortcut', 256, 728),
             ('block13_shortcut', 728, 1024)]  # fmt: skip


def xception_shapes(classes):
    """Every parameter and running statistic by our name: name -> shape in our layout, in a fixed order."""
    shapes = {}

    def normalization(name, channels):
        for part in ('gamma', 'beta', 'running_mean', 'running_var'):
            shapes[f'{name}_bn.{part}'] = (channels,)

    for name, inputs, outputs in (('block1_conv1', 3, 32), ('block1_conv2', 32, 64)):
        shapes[f'{name}.weight'] = (outputs, 3, 3, inputs)
        normalization(name, outputs)
    for name, inputs, outputs in separable_layers():
        shapes[f'{name}.depthwise.weight'] = (inputs, 3, 3, 1)
        shapes[f'{name}.pointwise.weight'] = (outputs, 1, 1, inputs)
        normalization(name, outputs)
    for name, inputs, outputs in SHORTCUTS:
        shapes[f'{name}.weight'] = (outputs, 1, 1, inputs)
        normalization(name, outputs)
    shapes['predictions.weight'] = (classes, 2048)
    shapes['predictions.bias'] = (classes,)
    return shapes


def xception_weights(classes=CLASSES, seed=SEED, gain=CLASSIFIER_GAIN):
    """name -> float32 in our layout. Kernels have the limits of Keras' Glorot uniform initializer, a
    depthwise one counting its channels as inputs as Keras does; the classifier's is `gain` times that."""
    weights = {}
    for name, shape in xception_shapes(classes).items():
        part = name.rsplit('.', 1)[1]
        limit, offset = {
            'gamma': (0.1, 1.0), 'beta': (0.1, 0.0), 'running_mean': (0.1, 0.0), 'running_var': (0.5, 1.0),
            'bias': (0.5, 0.0), 'weight': (0.0, 0.0),
        }[part]  # fmt: skip
        if part == 'weight':
            area = shape[1] * shape[2] if len(shape) == 4 else 1
            fans = shape[0] + 1 if name.endswith('.depthwise.weight') else shape[0] + shape[-1]
            limit = math.sqrt(6 / (area * fans)) * (gain if name == 'predictions.weight' else 1)
        weights[name] = generate(name, shape, seed, limit, offset)
    return weights


def is_statistic(name):
    return name.endswith(('.running_mean', '.running_var'))


def statistics_names():
    return [name for name in xception_shapes(CLASSES) if is_statistic(name)]


def split_statistics(flat, shapes):
    """Name -> running statistic, of a flat array that holds them in the order of `shapes` (name -> shape)."""
    found, at = {}, 0
    for name, shape in shapes.items():
        if is_statistic(name):
            found[name] = flat[at : at + shape[0]].copy()
            at += shape[0]
    if at != flat.size:
        raise ValueError(f'expected {at} running statistics, found {flat.size}')
    return found


def recorded_weights(gain=CLASSIFIER_GAIN):
    """The fixtures' network: generated weights with the running statistics that xception_forward.py
    recorded."""
    flat = np.load(FIXTURES / 'xception' / 'statistics.npy')
    return {**xception_weights(gain=gain), **split_statistics(flat, xception_shapes(CLASSES))}


# ---- Keras ----

TO_KERAS = {
    'depthwise.weight': lambda a: a.transpose(1, 2, 0, 3),  # [c, h, w, 1] -> [h, w, c, 1]
    'weight4': lambda a: a.transpose(1, 2, 3, 0),  # [o, h, w, i] -> [h, w, i, o]
    'weight2': lambda a: a.transpose(1, 0),  # [o, i] -> [i, o]
}
FROM_KERAS = {
    'depthwise.weight': lambda a: a.transpose(2, 0, 1, 3),
    'weight4': lambda a: a.transpose(3, 0, 1, 2),
    'weight2': lambda a: a.transpose(1, 0),
}
KERAS_PARTS = {
    'kernel': 'weight', 'bias': 'bias', 'depthwise_kernel': 'depthwise.weight',
    'pointwise_kernel': 'pointwise.weight', 'gamma': 'gamma', 'beta': 'beta',
    'moving_mean': 'running_mean', 'moving_variance': 'running_var',
}  # fmt: skip


def layout(name, array, table):
    if name.endswith('depthwise.weight'):
        return table['depthwise.weight'](array)
    return table[f'weight{array.ndim}'](array) if name.endswith('.weight') else array


def to_keras(name, array):
    return layout(name, array, TO_KERAS)


def from_keras(name, array):
    return layout(name, array, FROM_KERAS)


def build(size, classes=CLASSES, dtype='float32', application='Xception'):
    """A network of Keras Applications that ends in logits, for inputs [n, size, size, 3]; computes in
    `dtype`."""
    keras = need('keras')
    # Both: layers take the policy, inputs and some constants floatx, and the policy does not follow floatx.
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        model = getattr(keras.applications, application)(
            weights=None, classes=classes, classifier_activation=None, input_shape=(size, size, 3)
        )
    finally:
        keras.config.set_floatx('float32')
        keras.config.set_dtype_policy('float32')
    if any(variable.dtype != dtype for variable in model.variables):
        raise TypeError(f'Keras built a network that is not {dtype} throughout')
    return model


def xception_variables(model):
    """Our name -> Keras variable. The shortcuts have no name in Keras, so they are told by their order."""
    found = {}
    unnamed = {'Conv2D': iter(SHORTCUTS), 'BatchNormalization': iter(SHORTCUTS)}
    for layer in model.layers:
        kind = type(layer).__name__
        name = layer.name
        if kind in unnamed and not name.startswith('block'):
            name = next(unnamed[kind])[0] + ('_bn' if kind == 'BatchNormalization' else '')
        for variable in layer.weights:
            found[f'{name}.{KERAS_PARTS[variable.name]}'] = variable
    return found


# How each network's variables are found, by the name of the Keras model; inception.py adds its own.
VARIABLES = {'xception': xception_variables}


def variables(model):
    """Our name -> Keras variable."""
    return VARIABLES[model.name](model)


def assign(model, weights):
    """Sets every variable of a Keras model from our names and layouts."""
    found = variables(model)
    if set(found) != set(weights):
        raise ValueError(f'names differ: {sorted(set(found) ^ set(weights))[:6]}')
    for name, variable in found.items():
        variable.assign(to_keras(name, weights[name]))


def read(model):
    """Every variable of a Keras model by our name, in our layout."""
    return {name: from_keras(name, np.asarray(v)) for name, v in variables(model).items()}


def predict(model, images, batch=8):
    """Logits [n, classes] in inference mode."""
    parts = [np.asarray(model(images[i : i + batch], training=False)) for i in range(0, len(images), batch)]
    return np.concatenate(parts)


def softmax(logits):
    """Row-wise, float32, as Keras' softmax activation computes it."""
    tf = need('tensorflow')
    return tf.nn.softmax(tf.constant(logits, tf.float32)).numpy()


def gradients(model, images, labels):
    """(loss, our name -> gradient in our layout) of the mean softmax cross-entropy in training mode, which
    also updates the running statistics."""
    tf = need('tensorflow')
    by_path = {variable.path: name for name, variable in variables(model).items()}
    with tf.GradientTape() as tape:
        logits = model(images, training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    trainable = model.trainable_variables
    found = tape.gradient(loss, [variable.value for variable in trainable])
    named = {}
    for variable, gradient in zip(trainable, found):
        name = by_path[variable.path]
        named[name] = from_keras(name, np.asarray(gradient))
    return float(loss), named


def train(model, optimizer, batches):
    """Losses (each before its update) of a Keras optimizer over batches of (images, labels)."""
    tf = need('tensorflow')
    optimizer.build(model.trainable_variables)
    losses = []
    for images, labels in batches:
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        found = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
        optimizer.apply(found, model.trainable_variables)
        losses.append(float(loss))
    return losses


def normalized(images, dtype='float32'):
    """uint8 pixels to [-1, 1] by Keras' rule for Xception, x / 127.5 - 1."""
    dtype = np.dtype(dtype).type
    return images.astype(dtype) / dtype(127.5) - dtype(1)


def batches(images, labels, batch, steps):
    """`steps` batches in order, starting over at the end of the data."""
    per_epoch = len(images) // batch
    for step in range(steps):
        at = (step % per_epoch) * batch
        yield images[at : at + batch], labels[at : at + batch]


def relative(got, expected):
    """Norm-wise relative error."""
    expected = np.asarray(expected, np.float64)
    return float(np.linalg.norm(np.asarray(got, np.float64) - expected) / np.linalg.norm(expected))


# ---- writing ----


def versions(*names):
    """Versions of Python and of the named packages, kept with everything recorded."""
    found = {'python': sys.version.split()[0]}
    for name in ('numpy', *names):
        found[name] = importlib.import_module(name).__version__
    return found


def digits(array):
    """float32 as numbers of nine significant digits, which read back to the same float32."""
    return [float(f'{v:.9g}') for v in np.asarray(array, np.float32).reshape(-1).tolist()]


def write_json(path, value):
    """JSON with a line for each item of an outer list or object, so that a change reads well and files stay
    small."""

    def lines(item, depth):
        pad = ' ' * depth
        if depth < 4 and isinstance(item, dict) and any(isinstance(v, (dict, list)) for v in item.values()):
            inner = ',\n'.join(f'{pad} {json.dumps(k)}: {lines(v, depth + 1)}' for k, v in item.items())
            return '{\n' + inner + '\n' + pad + '}'
        if depth < 4 and isinstance(item, list) and any(isinstance(v, (dict, list)) for v in item):
            return '[\n' + ',\n'.join(f'{pad} {lines(v, depth + 1)}' for v in item) + '\n' + pad + ']'
        return json.dumps(item)

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(lines(value, 0) + '\n')


def write_npy(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ascontiguousarray(array))
