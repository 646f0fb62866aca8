# Records what timm's legacy_xception and torchvision's inception_v3 answer to smooth images at four sizes, and how much
# each likely mistake would change it: test/fixtures/{timm,torchvision}/forward.json.
"""python scripts/record/torch_forward.py (a few minutes on two cores), after inception_forward.py, whose running
statistics torchvision's network has too."""

import contextlib

import inception
import inception_forward
from common import np, smooth_images, write_npy
from forward import IMAGES, perturbed, result, write
from torch_networks import TIMM, TORCHVISION, functional, predict, softmax, torch

TIMM_SIZES = (150, 96, 71)
TORCHVISION_SIZES = (150, 96, 75)
# On the classifier's kernel.
TIMM_GAIN = 6.0

VISIBLE = {
    'timm': {'probability': 5e-4, 'logit': 1e-3},
    'torchvision': {'probability': 9e-4, 'logit': 1e-3},
}


def with_epsilon(model, epsilon, images):
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    before = [norm.eps for norm in norms]
    for norm in norms:
        norm.eps = epsilon
    found = predict(model, images)
    for norm, value in zip(norms, before):
        norm.eps = value
    return found


@contextlib.contextmanager
def replaced(name, replacement):
    """A function of torch.nn.functional replaced for a while."""
    original = getattr(functional, name)
    setattr(functional, name, lambda *args, **named: replacement(original, *args, **named))
    try:
        yield
    finally:
        setattr(functional, name, original)


def with_tensorflow_padding(original, x, kernel, stride, *_, **__):
    """TensorFlow's `same` in place of a row and column on every side."""
    pads = []
    for extent in (x.shape[3], x.shape[2]):
        total = max((-(-extent // stride) - 1) * stride + kernel - extent, 0)
        pads += [total // 2, total - total // 2]
    return original(functional.pad(x, pads, value=float('-inf')), kernel, stride)


def timm_mistakes(model, images):
    found = {'epsilon_1e-3': with_epsilon(model, 1e-3, images)}
    if images.shape[1] != 71:  # there, every grid that is halved has an odd number of rows
        with replaced('max_pool2d', with_tensorflow_padding):
            found['tensorflow_padding'] = predict(model, images)
    return found


def timm_statistics():
    """The mean over the sizes of a training-mode pass's batch statistics, perturbed; the variance is the unbiased one."""
    passes = []
    for size in TIMM_SIZES:
        model = TIMM.model(TIMM.weights()).train()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0  # the running statistics become the batch's
        predict(model, smooth_images(IMAGES, size))
        passes.append(TIMM.read(model))
    names = TIMM.statistics_names()
    mean = {name: np.mean([found[name] for found in passes], axis=0, dtype=np.float64) for name in names}
    moved = perturbed(mean)
    return np.concatenate([moved[name] for name in names])


def torchvision_mistakes(model, images):
    # As a module rather than the network's own functions calls it, without counting the zeros around the image.
    with replaced('avg_pool2d', lambda original, x, **named: original(x, **named, count_include_pad=False)):
        uncounted = predict(model, images)
    return {'uncounted_padding': uncounted, 'epsilon_1e-5': with_epsilon(model, 1e-5, images)}


def record(peer, script_gain, statistics, sizes, mistakes, packages):
    weights = peer.weights(gain=script_gain)
    results = []
    for size in sizes:
        weights.update(statistics(size))
        images = smooth_images(IMAGES, size)
        model = peer.model(weights)
        exact = predict(peer.model(weights, 'float64'), images.astype(np.float64)).astype(np.float32)
        made = mistakes(model, images)
        if peer is TORCHVISION:
            made['transform_input'] = predict(peer.model(weights, transform_input=True), images)
        found = result(size, predict(model, images), predict(model, images[:1]), softmax, exact, made)
        if peer is TORCHVISION:
            found['transformed'] = [[float(f'{v:.9g}') for v in row] for row in made['transform_input'].tolist()]
        results.append(found)
    write(peer.folder, 'torch_forward.py', packages, script_gain, results, VISIBLE[peer.folder.name])


def inception_statistics(size):
    flat = np.load(inception.FOLDER / 'forward_statistics.npy')[inception_forward.SIZES.index(size)]
    shapes = inception.inception_shapes()
    found, at = {}, 0
    for name in inception.statistics_names():
        found[name] = flat[at : at + shapes[name][0]].copy()
        at += shapes[name][0]
    return found


def main():
    write_npy(TIMM.folder / 'statistics.npy', timm_statistics())
    record(TIMM, TIMM_GAIN, lambda _: {}, TIMM_SIZES, timm_mistakes, ('torch', 'timm'))
    record(
        TORCHVISION, 6.0, inception_statistics, TORCHVISION_SIZES, torchvision_mistakes, ('torch', 'torchvision')
    )


if __name__ == '__main__':
    main()
