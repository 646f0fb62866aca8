# Live peer: Keras loads a weights file and predicts an array, so that files written by this project can be
# checked.
"""python scripts/peers/keras_load.py WEIGHTS --input X.npy --output Y.npy [--classes N] [--logits]
       [--build-first K] [--arch xception|inception_v3]

WEIGHTS ending in `.weights.h5` is read as Keras 3 does, any other `.h5` by layer name, or with --in-order as Keras does by
default. X is float32 [n, s, s, 3], Y float32 [n, classes]. Every variable starts as NaN and must have been overwritten: by name Keras skips
in silence."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'record'))
import inception  # noqa: E402, F401  it tells `variables` of its network
from common import build, need, np, predict, softmax, variables  # noqa: E402

APPLICATIONS = {'xception': 'Xception', 'inception_v3': 'InceptionV3'}


def load(path, size, classes, application, by_name):
    """Keras' network with the weights of a file; fails where one variable was not in it."""
    need('keras')
    model = build(size, classes, application=application)
    held = variables(model)
    for variable in held.values():
        variable.assign(np.full(variable.shape, np.nan, np.float32))
    if by_name:
        model.load_weights(path, by_name=True)
    else:
        model.load_weights(path)
    missing = [name for name, variable in held.items() if np.isnan(np.asarray(variable)).any()]
    if missing:
        sys.exit(f'{path}: Keras found nothing for {len(missing)} of {len(held)}: {", ".join(missing[:5])}')
    return model


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('weights')
    parser.add_argument('--input', required=True)
    parser.add_argument('--output', required=True)
    parser.add_argument('--classes', type=int, default=10)
    parser.add_argument('--logits', action='store_true')
    parser.add_argument('--build-first', type=int, default=0, metavar='K',
                        help='networks built before, which moves the numbers of unnamed layers')  # fmt: skip
    parser.add_argument('--arch', choices=APPLICATIONS, default='xception')
    parser.add_argument('--in-order', action='store_true', help='an .h5 in the order of its layers, not by name')
    options = parser.parse_args()
    application = APPLICATIONS[options.arch]
    by_name = not options.weights.endswith('.weights.h5') and not options.in_order
    images = np.load(options.input)
    for _ in range(options.build_first):
        build(images.shape[1], application=application)
    logits = predict(load(options.weights, images.shape[1], options.classes, application, by_name), images)
    np.save(options.output, logits if options.logits else softmax(logits))


if __name__ == '__main__':
    main()
