# Records what Keras' Xception answers to smooth images at four sizes, and how much each likely mistake would
# change it: test/fixtures/xception/{statistics.npy, forward.json}.
"""Run from anywhere: python scripts/record/xception_forward.py (under a minute on two cores).

The running statistics are the mean over the sizes of a training-mode pass's, then perturbed a little:
statistics of any other origin shrink the signal layer by layer until every image gives the same output and no
test can see."""

from common import (
    CLASSES, CLASSIFIER_GAIN, FIXTURES, SEED, assign, build, digits, generate, np, predict, smooth_images,
    softmax, statistics_names, variables, versions, write_json, write_npy, xception_weights,
)  # fmt: skip

SIZES = (299, 150, 96, 71)
IMAGES = 8
# What a test must be able to see, and the tolerances it holds: each mistake has to exceed ten times its
# tolerance.
PROBABILITY_TOLERANCE = 5e-5
LOGIT_TOLERANCE = 1e-4
SPREAD = 0.05


def batch_statistics(weights, images):
    """Name -> batch mean or biased variance of every normalization in one training-mode pass."""
    model = build(images.shape[1], len(weights['predictions.bias']))
    assign(model, weights)
    for layer in model.layers:
        if type(layer).__name__ == 'BatchNormalization':
            layer.momentum = 0.0  # the running statistics become the batch's
    model(images, training=True)
    found = variables(model)
    return {name: np.asarray(found[name], np.float64) for name in statistics_names()}


def mean_statistics(weights, images):
    """The mean of the batch statistics over the sizes (`images`: size -> float32 [n, size, size, 3])."""
    passes = [batch_statistics(weights, batch) for batch in images.values()]
    return {name: np.mean([found[name] for found in passes], axis=0) for name in statistics_names()}


def perturbed(statistics):
    """The statistics moved by up to 5 % of a deviation (means) and 10 % (variances), as float32."""
    moved = {}
    for name, value in statistics.items():
        u = generate(f'perturb/{name}', value.shape, SEED).astype(np.float64)
        if name.endswith('running_mean'):
            deviation = np.sqrt(statistics[name.replace('running_mean', 'running_var')])
            moved[name] = (value + 0.05 * u * deviation).astype(np.float32)
        else:
            moved[name] = (value * (1 + 0.1 * u)).astype(np.float32)
    return moved


def change(logits, wrong):
    """Largest change of a probability, and of a logit relative to the largest |logit|."""
    return {
        'probability': float(np.abs(softmax(logits) - softmax(wrong)).max()),
        'logit': float(np.abs(logits - wrong).max() / np.abs(logits).max()),
    }


def mistakes(model, weights, images, logits):
    """What each wrong reading of the network would change."""
    found = {'swapped_channels': change(logits, predict(model, images[..., ::-1]))}
    flipped = {n: a[:, ::-1, ::-1] if n.endswith('depthwise.weight') else a for n, a in weights.items()}
    assign(model, flipped)
    found['flipped_depthwise'] = change(logits, predict(model, images))
    assign(model, weights)
    for layer in model.layers:
        if type(layer).__name__ == 'BatchNormalization':
            layer.epsilon = 1e-5
    found['epsilon_1e-5'] = change(logits, predict(model, images))
    return found


def main():
    weights = xception_weights()
    images = {size: smooth_images(IMAGES, size) for size in SIZES}
    statistics = perturbed(mean_statistics(weights, images))
    weights.update(statistics)
    flat = np.concatenate([statistics[name] for name in statistics_names()])
    write_npy(FIXTURES / 'xception' / 'statistics.npy', flat)

    results = []
    for size in SIZES:
        model = build(size)
        assign(model, weights)
        logits = predict(model, images[size])
        single = predict(model, images[size][:1])
        probabilities = softmax(logits)
        spread = float((probabilities.max(axis=0) - probabilities.min(axis=0)).max())
        wrong = mistakes(model, weights, images[size], logits)
        print(size, f'spread {spread:.3f}', f'max |logit| {np.abs(logits).max():.2f}', wrong, flush=True)
        assert spread > SPREAD, f'{size}: the outputs are too alike to see anything ({spread})'
        for name, found in wrong.items():
            assert found['probability'] > 10 * PROBABILITY_TOLERANCE, f'{size}: {name} hardly shows: {found}'
            assert found['logit'] > 10 * LOGIT_TOLERANCE, f'{size}: {name} hardly shows: {found}'
        exact = build(size, dtype='float64')
        assign(exact, weights)
        own = change(logits, predict(exact, images[size].astype(np.float64)).astype(np.float32))
        print(size, f'float32 against float64: {own}', flush=True)
        results.append({
            'size': size,
            'float32_error': own,
            'spread': spread,
            'logits': [digits(row) for row in logits],
            'probabilities': [digits(row) for row in probabilities],
            'single': {'logits': digits(single), 'probabilities': digits(softmax(single))},
            'mistakes': wrong,
        })  # fmt: skip
    write_json(FIXTURES / 'xception' / 'forward.json', {
        'recorded_by': 'scripts/record/xception_forward.py',
        'versions': versions('keras', 'tensorflow'),
        'classes': CLASSES, 'seed': SEED, 'gain': CLASSIFIER_GAIN, 'images': IMAGES,
        'sizes': results,
    })  # fmt: skip


if __name__ == '__main__':
    main()
