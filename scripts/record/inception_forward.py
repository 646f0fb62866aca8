# Records what Keras' Inception V3 answers to smooth images at four sizes, and how much each likely mistake
# would change it: test/fixtures/inception/{statistics.npy, forward.json}.
"""python scripts/record/inception_forward.py (a few minutes on two cores). The twin of xception_forward.py,
which says where the running statistics come from."""

from common import (
    CLASSES, CLASSIFIER_GAIN, SEED, assign, digits, need, np, predict, smooth_images, softmax, variables, versions,
    write_json, write_npy,
)  # fmt: skip
from inception import FOLDER, build_inception, inception_weights, statistics_names
from xception_forward import IMAGES, SPREAD, change, perturbed

SIZES = (299, 150, 96, 75)
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


def mean_statistics(weights, images):
    passes = [batch_statistics(weights, batch) for batch in images.values()]
    return {name: np.mean([found[name] for found in passes], axis=0) for name in statistics_names()}


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


def main():
    weights = inception_weights()
    images = {size: smooth_images(IMAGES, size) for size in SIZES}
    statistics = perturbed(mean_statistics(weights, images))
    weights.update(statistics)
    write_npy(FOLDER / 'statistics.npy', np.concatenate([statistics[name] for name in statistics_names()]))

    results = []
    for size in SIZES:
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
        own = change(logits, predict(exact, images[size].astype(np.float64)).astype(np.float32))
        print(size, f'float32 against float64: {own}', flush=True)
        assert spread > SPREAD, f'{size}: the outputs are too alike to see anything ({spread})'
        for name, found in wrong.items():
            assert found['probability'] > 3 * PROBABILITY_TOLERANCE, f'{size}: {name} hardly shows: {found}'
            assert found['logit'] > 10 * LOGIT_TOLERANCE, f'{size}: {name} hardly shows: {found}'
        results.append({
            'size': size,
            'float32_error': own,
            'spread': spread,
            'logits': [digits(row) for row in logits],
            'probabilities': [digits(row) for row in probabilities],
            'single': {'logits': digits(single), 'probabilities': digits(softmax(single))},
            'mistakes': wrong,
        })  # fmt: skip
    write_json(FOLDER / 'forward.json', {
        'recorded_by': 'scripts/record/inception_forward.py',
        'versions': versions('keras', 'tensorflow'),
        'classes': CLASSES, 'seed': SEED, 'gain': CLASSIFIER_GAIN, 'images': IMAGES,
        'sizes': results,
    })  # fmt: skip


if __name__ == '__main__':
    main()
