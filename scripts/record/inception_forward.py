# Records what Keras' Inception V3 answers to smooth images at four sizes, and how much each likely mistake
# would change it: test/fixtures/inception/{statistics.npy, forward_statistics.npy, forward.json}.
"""python scripts/record/inception_forward.py (two minutes on two cores). The twin of xception_forward.py, which
says where the running statistics come from. Here the large sizes have their own: with those of all sizes, logits at
299 pixels are a hundred times those at 96. The small ones, whose last modules see a single element of each image, have
those of all sizes, as the training has (statistics.npy): their own make the network ill conditioned."""

from common import np, predict, smooth_images, write_npy
from forward import IMAGES, joined, mean_statistics, perturbed, replaced, write
from inception import FOLDER, build_inception, inception_weights, statistics_names
from keras_forward import batch_statistics, counting_padding, record_keras, with_epsilon, with_weights

SIZES = (299, 150, 96, 75)
# Those with running statistics of their own.
LARGE = (299, 150)
# On the classifier's kernel: features of small images differ more than Xception's.
GAIN = 6.0
# The network is less well conditioned than Xception: Keras differs from itself by some 5e-5 in probabilities, of which a
# test tolerates 3e-4.
VISIBLE = {'probability': 9e-4, 'logit': 1e-3}


def with_counted_padding(model, images):
    pools = [layer for layer in model.layers if type(layer).__name__ == 'AveragePooling2D']
    with replaced(pools, 'call', counting_padding):
        return predict(model, images)


def mistakes(model, weights, images):
    flipped = {n: a[:, ::-1, ::-1] if a.ndim == 4 else a for n, a in weights.items()}
    return {
        'swapped_channels': predict(model, images[..., ::-1]),
        'flipped_kernels': with_weights(model, weights, flipped, images),
        'counted_padding': with_counted_padding(model, images),
        'epsilon_1e-5': with_epsilon(model, 1e-5, images),
    }


def main():
    weights = inception_weights(gain=GAIN)
    images = {size: smooth_images(IMAGES, size) for size in SIZES}
    passes = {
        size: batch_statistics(build_inception(size), statistics_names(), weights, batch)
        for size, batch in images.items()
    }
    mean = mean_statistics(list(passes.values()))
    write_npy(FOLDER / 'statistics.npy', joined(perturbed(mean)))
    own = {size: perturbed(passes[size] if size in LARGE else mean) for size in SIZES}
    write_npy(FOLDER / 'forward_statistics.npy', np.stack([joined(own[size]) for size in SIZES]))
    results = []
    for size in SIZES:
        weights.update(own[size])
        results.append(record_keras(build_inception, weights, images[size], mistakes))
    write(FOLDER, 'inception_forward.py', ('keras', 'tensorflow'), GAIN, results, VISIBLE)


if __name__ == '__main__':
    main()
