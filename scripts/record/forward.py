# What the recordings of forward passes share: running statistics that let differences show, and how outputs and likely
# mistakes are kept and judged.

import contextlib

from common import CLASSES, SEED, digits, generate, np, versions, write_json

IMAGES = 8
# Largest difference of a class's probability between two images: below, every image gives nearly the same output.
SPREAD = 0.05


@contextlib.contextmanager
def replaced(owners, attribute, value):
    """An attribute of several objects with another value for a while."""
    before = [getattr(owner, attribute) for owner in owners]
    for owner in owners:
        setattr(owner, attribute, value)
    try:
        yield
    finally:
        for owner, original in zip(owners, before):
            setattr(owner, attribute, original)


def change(logits, wrong):
    """Largest change of a probability, and of a logit relative to the largest |logit|."""
    return {
        'probability': float(np.abs(exact_softmax(logits) - exact_softmax(wrong)).max()),
        'logit': float(np.abs(logits - wrong).max() / np.abs(logits).max()),
    }


def exact_softmax(logits):
    """Row-wise, in float64."""
    shifted = np.asarray(logits, np.float64)
    powers = np.exp(shifted - shifted.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def mean_statistics(passes):
    """The mean over passes of their statistics (each name -> float64), which one pass for each size gives."""
    return {name: np.mean([found[name] for found in passes], axis=0, dtype=np.float64) for name in passes[0]}


def joined(statistics):
    """Statistics as one flat array, in their order."""
    return np.concatenate(list(statistics.values()))


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


def result(size, logits, single, softmax, exact, mistakes):
    """What is kept of one size: float32 logits [n, classes], those of the first image alone, and those in float64; and
    for each mistake the logits that it would give."""
    probabilities = softmax(logits)
    spread = float((probabilities.max(axis=0) - probabilities.min(axis=0)).max())
    error = change(logits, exact)
    wrong = {name: change(logits, found) for name, found in mistakes.items()}
    print(size, f'spread {spread:.3f}', f'max |logit| {np.abs(logits).max():.2f}', wrong, flush=True)
    print(size, f'float32 against float64: {error}', flush=True)
    return {
        'size': size,
        'float32_error': error,
        'spread': spread,
        'logits': [digits(row) for row in logits],
        'probabilities': [digits(row) for row in probabilities],
        'single': {'logits': digits(single), 'probabilities': digits(softmax(single))},
        'mistakes': wrong,
    }  # fmt: skip


def record_size(model, predict, softmax, images, mistakes):
    """What is kept of one size of images. `model` makes the network of a dtype, `predict` logits from a network and
    images, `mistakes` logits by the name of the mistake from a network and images."""
    network = model('float32')
    exact = predict(model('float64'), images.astype(np.float64)).astype(np.float32)
    logits, single = predict(network, images), predict(network, images[:1])
    return result(images.shape[1], logits, single, softmax, exact, mistakes(network, images))


def write(folder, script, packages, gain, results, visible):
    """Writes forward.json; fails where a test could not see. `visible`: how much a mistake must change a probability and
    a logit."""
    write_json(folder / 'forward.json', {
        'recorded_by': f'scripts/record/{script}',
        'versions': versions(*packages),
        'classes': CLASSES, 'seed': SEED, 'gain': gain, 'images': IMAGES,
        'sizes': results,
    })  # fmt: skip
    problems = [problem for found in results for problem in blind_spots(found, visible)]
    if problems:
        raise ValueError('; '.join(problems))


def blind_spots(found, visible):
    """What a test could not see, in words."""
    size, spread = found['size'], found['spread']
    if spread <= SPREAD:
        yield f'{size}: the outputs are too alike to see anything ({spread})'
    for name, wrong in found['mistakes'].items():
        if wrong['probability'] <= visible['probability'] or wrong['logit'] <= visible['logit']:
            yield f'{size}: {name} hardly shows: {wrong}'
