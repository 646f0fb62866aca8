# Live peer: Keras' losses, and its gradients against those that a one-step run of this project implies.
"""python scripts/peers/keras_train.py WEIGHTS X.npy Y.npy [--optimizer sgd|rmsprop] [--lr R] [--momentum M]
       [--steps N] [--batch B] [--after AFTER.weights.h5 --after-lr R]

X is uint8 (x / 127.5 - 1 is applied) or float32 [n, s, s, 3], Y int32 [n]. Prints one JSON object: `losses`
(each before its update), and with --after, `gradients`: the norm-wise relative errors (median, largest, per
parameter) of (WEIGHTS - AFTER) / R against Keras in float32 and float64 for the first batch, and Keras' own
error between the two; also `statistics`, the largest relative error of the running statistics after that
step."""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'record'))
from common import (  # noqa: E402
    assign, batches, build, gradients, need, normalized, np, read, relative, train,
)  # fmt: skip
from keras_load import load  # noqa: E402


def summary(errors):
    values = list(errors.values())
    return {'median': float(np.median(values)), 'largest': max(values), 'where': max(errors, key=errors.get)}


def as_input(images, dtype):
    return normalized(images, dtype) if images.dtype == np.uint8 else images.astype(dtype)


def compare(weights, after, rate, images, labels, classes):
    """What a one-step run of plain SGD implies for the gradients, against Keras in both precisions."""
    found, kept = {}, {}
    for dtype in ('float32', 'float64'):
        model = build(images.shape[1], classes, dtype)
        assign(model, weights)
        _, found[dtype] = gradients(model, as_input(images, dtype), labels)
        kept[dtype] = read(model)
    implied = {n: (weights[n].astype(np.float64) - after[n]) / rate for n in found['float32']}
    errors = {
        'to_keras': {n: relative(implied[n], found['float32'][n]) for n in implied},
        'to_float64': {n: relative(implied[n], found['float64'][n]) for n in implied},
        'keras_to_float64': {n: relative(found['float32'][n], found['float64'][n]) for n in implied},
    }
    statistics = {n: relative(after[n], kept['float32'][n]) for n in after if '.running_' in n}
    return {
        'gradients': {**{key: summary(value) for key, value in errors.items()}, 'parameters': errors},
        'statistics': summary(statistics),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('weights')
    parser.add_argument('images')
    parser.add_argument('labels')
    parser.add_argument('--optimizer', choices=('sgd', 'rmsprop'), default='sgd')
    parser.add_argument('--lr', type=float, default=1e-4)
    parser.add_argument('--momentum', type=float, default=0.9)
    parser.add_argument('--steps', type=int, default=10)
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--classes', type=int, default=10)
    parser.add_argument('--after')
    parser.add_argument('--after-lr', type=float, default=0.1)
    options = parser.parse_args()
    keras = need('keras')
    images, labels = np.load(options.images), np.load(options.labels)
    size = images.shape[1]
    model = load(options.weights, size, options.classes)
    weights = read(model)
    rule = {
        'sgd': lambda: keras.optimizers.SGD(options.lr, momentum=options.momentum),
        'rmsprop': lambda: keras.optimizers.RMSprop(
            options.lr, rho=0.9, momentum=options.momentum, epsilon=1e-7
        ),
    }[options.optimizer]()
    data = ((as_input(x, 'float32'), y) for x, y in batches(images, labels, options.batch, options.steps))
    result = {'losses': train(model, rule, data)}
    if options.after:
        after = read(load(options.after, size, options.classes))
        first = slice(0, options.batch)
        result |= compare(weights, after, options.after_lr, images[first], labels[first], options.classes)
    print(json.dumps(result))


if __name__ == '__main__':
    main()
