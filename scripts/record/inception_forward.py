# Records what Keras' Inception V3 answers to smooth images at four sizes, and how much each likely mistake
# would change it: test/fixtures/inception/{statistics.npy, forward_statistics.npy, forward.json}.
"""python scripts/record/inception_forward.py (two minutes on two cores). The twin of xception_forward.py, which
says where the running statistics come from. Here the large sizes have their own: with those of all sizes, logits at
299 pixels are a hundred times those at 96. The small ones, whose last modules see a single element of each image, have
those of all sizes, as the training has (statistics.npy): their own make the network ill conditioned."""

from common import (
    CLASSES, SEED, assign, digits, need, np, predict, smooth_images, softmax, variables, versions,
    write_json, write_npy,
)  # fmt: skip
from inception import FOLDER, build_inception, inception_weights, statistics_names
from xception_forward import IMAGES, SPREAD, change, perturbed

SIZES = (299, 150, 96, 75)
# Those with running statistics of their own.
LARGE = (299, 150)
# On the classifier's kernel: features of small images differ more than Xception's.
GAIN = 6.0
# The network is less well conditioned than Xception: Keras differs from itself by some 5e-5.
PROBABILITY_TOLERANCE = 3e-4
LOGIT_TOLERANCE = 1e-4


def batch_statistics(weights, images):
    """Name -> batch mean or biased variance of every normalization in one training-mode pass."""
    model = build_inception(images.shape[1])
    assign(model, weights)
    for layer in model.layers:
        if type(layer).__name__ == 'BatchNormalization':
            layer.momentum = 0.0  # the running statistics become the batch's
    model(images, training=True)
    found = variables(model)
    return {name: np.asarray(found[name], np.float64) for name in statistics_names()}


def flat(statistics):
    return np.concatenate([statistics[name] for name in statistics_names()])


def counting_padding(images):
    """Average pooling whose mean counts the zeros around the image, as torchvision's."""
    tf = need('tensorflow')
    return tf.nn.avg_pool2d(tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 1, 'VALID')


def mistakes(model, weights, images, logits):
    """What each wrong reading of the network would change."""
    found = {'swapped_channels': change(logits, predict(model, images[..., ::-1]))}
    assign(model, {n: a[:, ::-1, ::-1] if a.ndim == 4 else a for n, a in weights.items()})
    found['flipped_kernels'] = change(logits, predict(model, images))
    assign(model, weights)
    pools = [layer for layer in model.layers if type(layer).__name__ == 'AveragePooling2D']
    original = [layer.call for layer in pools]
    for layer in pools:
        layer.call = counting_padding
    found['counted_padding'] = change(logits, predict(model, images))
    for layer, call in zip(pools, original):
        layer.call = call
    for layer in model.layers:
        if type(layer).__name__ == 'BatchNormalization':
            layer.epsilon = 1e-5
    found['epsilon_1e-5'] = change(logits, predict(model, images))
    return found


def check(result):
    """What a test could not see, in words."""
    size, spread = result['size'], result['spread']
    if spread <= SPREAD:
        yield f'{size}: the outputs are too alike to see anything ({spread})'
    for name, found in result['mistakes'].items():
        if found['probability'] <= 3 * PROBABILITY_TOLERANCE or found['logit'] <= 10 * LOGIT_TOLERANCE:
            yield f'{size}: {name} hardly shows: {found}'


def main():
    weights = inception_weights(gain=GAIN)
    images = {size: smooth_images(IMAGES, size) for size in SIZES}
    passes = {size: batch_statistics(weights, batch) for size, batch in images.items()}
    mean = {name: np.mean([found[name] for found in passes.values()], axis=0) for name in statistics_names()}
    write_npy(FOLDER / 'statistics.npy', flat(perturbed(mean)))
    own = {size: perturbed(passes[size] if size in LARGE else mean) for size in SIZES}
    write_npy(FOLDER / 'forward_statistics.npy', np.stack([flat(own[size]) for size in SIZES]))

    results = []
    for size in SIZES:
        weights.update(own[size])
        model = build_inception(size)
        assign(model, weights)
        logits = predict(model, images[size])
        single = predict(model, images[size][:1])
        probabilities = softmax(logits)
        spread = float((probabilities.max(axis=0) - probabilities.min(axis=0)).max())
        wrong = mistakes(model, weights, images[size], logits)
        print(size, f'spread {spread:.3f}', f'max |logit| {np.abs(logits).max():.2f}', wrong, flush=True)
        exact = build_inception(size, dtype='float64')
        assign(exact, weights)
        error = change(logits, predict(exact, images[size].astype(np.float64)).astype(np.float32))
        print(size, f'float32 against float64: {error}', flush=True)
        results.append({
            'size': size,
            'float32_error': error,
            'spread': spread,
            'logits': [digits(row) for row in logits],
            'probabilities': [digits(row) for row in probabilities],
            'single': {'logits': digits(single), 'probabilities': digits(softmax(single))},
            'mistakes': wrong,
        })  # fmt: skip
    write_json(FOLDER / 'forward.json', {
        'recorded_by': 'scripts/record/inception_forward.py',
        'versions': versions('keras', 'tensorflow'),
        'classes': CLASSES, 'seed': SEED, 'gain': GAIN, 'images': IMAGES,
        'sizes': results,
    })  # fmt: skip
    problems = [problem for result in results for problem in check(result)]
    if problems:
        raise ValueError('; '.join(problems))


if __name__ == '__main__':
    main()
