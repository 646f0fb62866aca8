# Keras' Inception V3 under this project's names and layouts; what its recording scripts share.
"""Its layers have no names of their own in Keras, only the numbers of their creation (`conv2d_12`), and
`model.layers` has them in another order: they are told by number."""

import math
import re

from common import (
    CLASSES, CLASSIFIER_GAIN, FIXTURES, KERAS_PARTS, SEED, VARIABLES, build, generate, is_statistic, np,
    split_statistics,
)  # fmt: skip

FOLDER = FIXTURES / 'inception'


def block_a(name, inputs, pool):
    return [
        (f'{name}_1x1', inputs, 64, 1, 1),
        (f'{name}_5x5_1', inputs, 48, 1, 1), (f'{name}_5x5_2', 48, 64, 5, 5),
        (f'{name}_3x3dbl_1', inputs, 64, 1, 1), (f'{name}_3x3dbl_2', 64, 96, 3, 3),
        (f'{name}_3x3dbl_3', 96, 96, 3, 3),
        (f'{name}_pool', inputs, pool, 1, 1),
    ]  # fmt: skip


def block_c(name, n):
    return [
        (f'{name}_1x1', 768, 192, 1, 1),
        (f'{name}_7x7_1', 768, n, 1, 1), (f'{name}_7x7_2', n, n, 1, 7), (f'{name}_7x7_3', n, 192, 7, 1),
        (f'{name}_7x7dbl_1', 768, n, 1, 1), (f'{name}_7x7dbl_2', n, n, 7, 1), (f'{name}_7x7dbl_3', n, n, 1, 7),
        (f'{name}_7x7dbl_4', n, n, 7, 1), (f'{name}_7x7dbl_5', n, 192, 1, 7),
        (f'{name}_pool', 768, 192, 1, 1),
    ]  # fmt: skip


def block_e(name, inputs):
    return [
        (f'{name}_1x1', inputs, 320, 1, 1),
        (f'{name}_3x3_1', inputs, 384, 1, 1),
        (f'{name}_3x3_2_1x3', 384, 384, 1, 3), (f'{name}_3x3_2_3x1', 384, 384, 3, 1),
        (f'{name}_3x3dbl_1', inputs, 448, 1, 1), (f'{name}_3x3dbl_2', 448, 384, 3, 3),
        (f'{name}_3x3dbl_3_1x3', 384, 384, 1, 3), (f'{name}_3x3dbl_3_3x1', 384, 384, 3, 1),
        (f'{name}_pool', inputs, 192, 1, 1),
    ]  # fmt: skip


# (our name, inputs, outputs, kernel height, kernel width) of the 94 convolutions in the order of their
# creation.
CONVOLUTIONS = [
    ('conv1', 3, 32, 3, 3), ('conv2', 32, 32, 3, 3), ('conv3', 32, 64, 3, 3),
    ('conv4', 64, 80, 1, 1), ('conv5', 80, 192, 3, 3),
    *block_a('mixed0', 192, 32), *block_a('mixed1', 256, 64), *block_a('mixed2', 288, 64),
    ('mixed3_3x3', 288, 384, 3, 3), ('mixed3_3x3dbl_1', 288, 64, 1, 1),
    ('mixed3_3x3dbl_2', 64, 96, 3, 3), ('mixed3_3x3dbl_3', 96, 96, 3, 3),
    *block_c('mixed4', 128), *block_c('mixed5', 160), *block_c('mixed6', 160), *block_c('mixed7', 192),
    ('mixed8_3x3_1', 768, 192, 1, 1), ('mixed8_3x3_2', 192, 320, 3, 3),
    ('mixed8_7x7x3_1', 768, 192, 1, 1), ('mixed8_7x7x3_2', 192, 192, 1, 7),
    ('mixed8_7x7x3_3', 192, 192, 7, 1), ('mixed8_7x7x3_4', 192, 192, 3, 3),
    *block_e('mixed9', 1280), *block_e('mixed10', 2048),
]  # fmt: skip


def inception_shapes(classes=CLASSES):
    """Every parameter and running statistic by our name: name -> shape in our layout, in a fixed order."""
    shapes = {}
    for name, inputs, outputs, height, width in CONVOLUTIONS:
        shapes[f'{name}.weight'] = (outputs, height, width, inputs)
        for part in ('beta', 'running_mean', 'running_var'):
            shapes[f'{name}_bn.{part}'] = (outputs,)
    shapes['predictions.weight'] = (classes, 2048)
    shapes['predictions.bias'] = (classes,)
    return shapes


RANGES = {
    'gamma': (0.1, 1.0), 'beta': (0.1, 0.0), 'running_mean': (0.1, 0.0), 'running_var': (0.5, 1.0),
    'bias': (0.5, 0.0),
}  # fmt: skip


def generated(name, shape, seed=SEED, gain=CLASSIFIER_GAIN):
    """float32 in our layout, kernels with the limits of Keras' Glorot uniform initializer; the classifier's is
    `gain` times that."""
    part = name.rsplit('.', 1)[1]
    if part != 'weight':
        return generate(name, shape, seed, *RANGES[part])
    area = shape[1] * shape[2] if len(shape) == 4 else 1
    limit = math.sqrt(6 / (area * (shape[0] + shape[-1])))
    return generate(name, shape, seed, limit * (gain if name == 'predictions.weight' else 1))


def inception_weights(classes=CLASSES, seed=SEED, gain=CLASSIFIER_GAIN):
    """name -> float32 in our layout."""
    return {name: generated(name, shape, seed, gain) for name, shape in inception_shapes(classes).items()}


def statistics_names():
    return [name for name in inception_shapes() if is_statistic(name)]


def recorded_weights(gain=CLASSIFIER_GAIN):
    """The fixtures' network: generated weights with the running statistics that inception_forward.py
    recorded."""
    statistics = split_statistics(np.load(FOLDER / 'statistics.npy'), inception_shapes())
    return {**inception_weights(gain=gain), **statistics}


def build_inception(size, classes=CLASSES, dtype='float32'):
    return build(size, classes, dtype, application='InceptionV3')


def number(layer):
    """The number at the end of a name that Keras made: 12 of `conv2d_12`, 0 of `conv2d`."""
    found = re.search(r'_(\d+)$', layer.name)
    return int(found.group(1)) if found else 0


def inception_variables(model):
    """Our name -> Keras variable."""
    found = {}
    for kind, suffix in (('Conv2D', ''), ('BatchNormalization', '_bn')):
        layers = sorted((layer for layer in model.layers if type(layer).__name__ == kind), key=number)
        for (name, *_), layer in zip(CONVOLUTIONS, layers, strict=True):
            for variable in layer.weights:
                found[f'{name}{suffix}.{KERAS_PARTS[variable.name]}'] = variable
    for variable in model.get_layer('predictions').weights:
        found[f'predictions.{KERAS_PARTS[variable.name]}'] = variable
    return found


VARIABLES['inception_v3'] = inception_variables
