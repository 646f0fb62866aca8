# What the recordings of training share: ten losses of several optimizers, the gradients of every parameter in float32
# and float64, and the running statistics after one step, of any network of any framework.
"""Gradients of more than `whole` values are kept as sketches (common.sketch), so that 20.8 million numbers become 0.13
million; the norm of a difference of two tensors is told by their sketches of 1,024 within 2.2 % (one standard
deviation), by those of 256 within 4.4 %."""

from collections import namedtuple

from common import (
    CLASSES, FIXTURES, SEED, batches, normalized, np, relative, sketch, versions, write_json, write_npy,
)  # fmt: skip

# What is recorded of which network. `peer` computes: build(size, dtype), assign(model, weights), read(model),
# gradients(model, images, labels), train(model, case, batches), and `packages` whose versions are kept. `mistakes` makes
# of a case of `optimizers` those that a mistake would make of it, by name.
Network = namedtuple(
    'Network',
    'script folder peer recorded_weights statistics_names cases optimizers whole buckets trials mistakes',
    defaults=[8, lambda case: {}],
)
SIZE = 96
BATCH = 8
STEPS = 10

# Where gradients are recorded: photographs [first, first + count), the middle `size` pixels of each side.
# `batch` is the job itself. There, some ReLU inputs lie within rounding of zero whatever the batch, and each
# that falls on the other side moves a gradient by a few thousandths, in Keras against itself too. `pair` is
# the sharper one: of some twenty pairs of neighbours the one whose gradients rounding moves least, so that an error
# cannot hide behind such places.
GRADIENT_CASES = [
    {'name': 'batch', 'first': 0, 'count': BATCH, 'size': SIZE},
    {'name': 'pair', 'first': 12, 'count': 2, 'size': 71},
]


def compact(network, name, gradient):
    """A gradient itself where it is small, else its sketch."""
    return gradient.reshape(-1) if gradient.size <= network.whole else sketch(name, gradient, network.buckets)


def moved_by_an_ulp(images, trial):
    """The images with every value moved by -1, 0 or 1 unit of 2^-23: what rounding alone may do."""
    rng = np.random.default_rng(trial)
    return (images * (1 + rng.integers(-1, 2, images.shape) * np.float32(2**-23))).astype(np.float32)


def statistics(network, weights):
    return np.concatenate([np.asarray(weights[name], np.float64) for name in network.statistics_names()])


def cropped(photographs, size):
    at = (photographs.shape[1] - size) // 2
    return photographs[:, at : at + size, at : at + size]


def record_gradients(network, case, photographs, labels, weights):
    """Writes the gradients of one case; returns its entry of training.json and the running statistics after
    the step in both precisions."""
    chosen = slice(case['first'], case['first'] + case['count'])
    pixels, labels = cropped(photographs[chosen], case['size']), labels[chosen]
    models = {dtype: network.peer.build(case['size'], dtype) for dtype in ('float32', 'float64')}
    found, after, loss = {}, {}, {}
    for dtype, model in models.items():
        network.peer.assign(model, weights)
        loss[dtype], found[dtype] = network.peer.gradients(model, normalized(pixels, dtype), labels)
        after[dtype] = statistics(network, network.peer.read(model))
    exact = found['float64']
    own = {name: relative(found['float32'][name], exact[name]) for name in exact}
    ulp = dict(own)
    for trial in range(network.trials):
        images = moved_by_an_ulp(normalized(pixels), trial)
        _, again = network.peer.gradients(models['float32'], images, labels)
        errors = {name: relative(again[name], exact[name]) for name in exact}
        print(f'  an ulp: median {np.median(list(errors.values())):.1e} largest {max(errors.values()):.1e}')
        ulp = {name: max(ulp[name], errors[name]) for name in exact}
    print(case['name'], f'float32 against float64: median {np.median(list(own.values())):.1e}', end=' ')
    print(f'largest {max(own.values()):.1e}', flush=True)

    index, at = [], 0
    for name, gradient in exact.items():
        kept = compact(network, name, gradient).size
        index.append({
            'name': name, 'shape': list(gradient.shape), 'offset': at, 'length': kept,
            'norm': float(np.linalg.norm(gradient)),
            'float32_error': own[name], 'float32_error_ulp': ulp[name],
        })  # fmt: skip
        at += kept
    for dtype in models:
        flat = np.concatenate([compact(network, name, found[dtype][name]) for name in exact])
        write_npy(network.folder / f'gradients_{case["name"]}_{dtype}.npy', flat.astype(np.float32))
    entry = {
        **case,
        'loss': loss['float32'], 'loss_float64': loss['float64'],
        'gradient_norm': float(np.sqrt(sum(np.sum(np.square(g)) for g in exact.values()))),
        'parameters': index,
    }  # fmt: skip
    return entry, after


def apart(losses, expected):
    """Largest relative difference."""
    return max(abs(a - b) / b for a, b in zip(losses, expected))


def record_runs(network, photographs, labels, weights):
    """Ten losses of every optimizer, in both precisions, and how far mistakes would be from them."""
    models = {dtype: network.peer.build(SIZE, dtype) for dtype in ('float32', 'float64')}

    def losses(case, dtype):
        network.peer.assign(models[dtype], weights)
        data = ((normalized(x, dtype), y) for x, y in batches(photographs, labels, BATCH, STEPS))
        return network.peer.train(models[dtype], case, data)

    runs = []
    for case in network.optimizers:
        found = losses(case, 'float32')
        run = {**case, 'losses': found, 'losses_float64': losses(case, 'float64')}
        wrong = {name: apart(losses(other, 'float32'), found) for name, other in network.mistakes(case).items()}
        if wrong:
            run['mistakes'] = wrong
        print(case, f'float32 against float64: {apart(found, run["losses_float64"]):.1e}', wrong, flush=True)
        runs.append(run)
    return runs


def record(network):
    photographs = np.load(FIXTURES / 'photographs' / 'images.npy')
    labels = np.load(FIXTURES / 'photographs' / 'labels.npy')
    weights = network.recorded_weights(gain=1.0)
    recorded = [record_gradients(network, case, photographs, labels, weights) for case in network.cases]
    after = recorded[0][1]
    write_npy(network.folder / 'statistics_after.npy', after['float32'].astype(np.float32))
    write_json(network.folder / 'training.json', {
        'recorded_by': f'scripts/record/{network.script}',
        'versions': versions(*network.peer.packages),
        'classes': CLASSES, 'seed': SEED, 'gain': 1, 'size': SIZE, 'batch': BATCH, 'steps': STEPS,
        'statistics_error': relative(after['float32'], after['float64']),
        'whole': network.whole, 'buckets': network.buckets, 'ulp_trials': network.trials,
        'runs': record_runs(network, photographs, labels, weights),
        'gradients': [entry for entry, _ in recorded],
    })  # fmt: skip
