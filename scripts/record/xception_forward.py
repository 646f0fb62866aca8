# Records what Keras' Xception answers to smooth images at four sizes, and how much each likely mistake would
# change it: test/fixtures/xception/{statistics.npy, forward.json}.
"""Run from anywhere: python scripts/record/xception_forward.py (under a minute on two cores).

The running statistics are the mean over the sizes of a training-mode pass's, then perturbed a little:
statistics of any other origin shrink the signal layer by layer until every image gives the same output and no
test can see."""

import forward
from common import (
    CLASSIFIER_GAIN, FIXTURES, build, predict, smooth_images, statistics_names, write_npy, xception_weights,
)  # fmt: skip
from forward import IMAGES, joined, perturbed, write
from keras_forward import batch_statistics, record_keras, with_epsilon, with_weights

SIZES = (299, 150, 96, 71)
# Ten times what a test tolerates.
VISIBLE = {'probability': 5e-4, 'logit': 1e-3}


def mean_statistics(weights, images):
    """The mean of the batch statistics over the sizes (`images`: size -> float32 [n, size, size, 3])."""
    classes = len(weights['predictions.bias'])
    return forward.mean_statistics([
        batch_statistics(build(size, classes), statistics_names(), weights, batch)
        for size, batch in images.items()
    ])  # fmt: skip


def mistakes(model, weights, images):
    flipped = {n: a[:, ::-1, ::-1] if n.endswith('depthwise.weight') else a for n, a in weights.items()}
    return {
        'swapped_channels': predict(model, images[..., ::-1]),
        'flipped_depthwise': with_weights(model, weights, flipped, images),
        'epsilon_1e-5': with_epsilon(model, 1e-5, images),
    }


def main():
    weights = xception_weights()
    images = {size: smooth_images(IMAGES, size) for size in SIZES}
    statistics = perturbed(mean_statistics(weights, images))
    weights.update(statistics)
    folder = FIXTURES / 'xception'
    write_npy(folder / 'statistics.npy', joined(statistics))
    results = [record_keras(build, weights, images[size], mistakes) for size in SIZES]
    packages = ('keras', 'tensorflow')
    write(folder, 'xception_forward.py', packages, CLASSIFIER_GAIN, results, VISIBLE)


if __name__ == '__main__':
    main()
