# Records what timm's legacy_xception and torchvision's inception_v3 answer to smooth images at four sizes, and how much
# each likely mistake would change it: test/fixtures/{timm,torchvision}/forward.json.
"""python scripts/record/torch_forward.py (a few minutes on two cores), after inception_forward.py, whose running
statistics torchvision's network has too.

Eight images of each size as of Keras' networks, but two of 299 pixels: what is large shows in them too."""

import inception
import inception_forward
from common import digits, np, smooth_images, split_statistics, write_npy
from forward import IMAGES, joined, mean_statistics, perturbed, record_size, replaced, write
from torch_networks import TIMM, TORCHVISION, functional, predict, softmax, torch

TIMM_SIZES = (299, 150, 96, 71)
# Whose statistics the network has in all sizes.
STATISTICS_SIZES = (150, 96, 71)
TORCHVISION_SIZES = inception_forward.SIZES
# On the classifier's kernel.
GAIN = 6.0
VISIBLE = {
    'timm': {'probability': 5e-4, 'logit': 1e-3},
    'torchvision': {'probability': 9e-4, 'logit': 1e-3},
}


def images_of(size):
    return smooth_images(2 if size == 299 else IMAGES, size)


def normalizations(model):
    return [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]


def with_epsilon(model, epsilon, images):
    with replaced(normalizations(model), 'eps', epsilon):
        return predict(model, images)


# ---- timm ----


def tensorflow_max_pool(x, kernel, stride, *_, **__):
    """TensorFlow's `same` in place of a row and column on every side."""
    pads = []
    for extent in (x.shape[3], x.shape[2]):
        total = max((-(-extent // stride) - 1) * stride + kernel - extent, 0)
        pads += [total // 2, total - total // 2]
    return torch.max_pool2d(functional.pad(x, pads, value=float('-inf')), kernel, stride)


def timm_mistakes(model, images):
    found = {'epsilon_1e-3': with_epsilon(model, 1e-3, images)}
    if images.shape[1] != 71:  # there, every grid that is halved has an odd number of rows
        with replaced([functional], 'max_pool2d', tensorflow_max_pool):
            found['tensorflow_padding'] = predict(model, images)
    return found


def timm_statistics():
    """The mean over the sizes of a training-mode pass's batch statistics, perturbed; the variance is the unbiased one."""
    passes = []
    for size in STATISTICS_SIZES:
        model = TIMM.model(TIMM.weights()).train()
        for norm in normalizations(model):
            norm.momentum = 1.0  # the running statistics become the batch's
        predict(model, smooth_images(IMAGES, size))
        found = TIMM.read(model)
        passes.append({name: found[name] for name in TIMM.statistics_names()})
    return perturbed(mean_statistics(passes))


# ---- torchvision ----


avg_pool2d = functional.avg_pool2d


def uncounted_avg_pool(*args, **named):
    return avg_pool2d(*args, **named, count_include_pad=False)


def torchvision_mistakes(model, images):
    with replaced([functional], 'avg_pool2d', uncounted_avg_pool):
        uncounted = predict(model, images)
    with replaced([model], 'transform_input', True):
        transformed = predict(model, images)
    return {
        'uncounted_padding': uncounted,
        'epsilon_1e-5': with_epsilon(model, 1e-5, images),
        'transform_input': transformed,
    }


def inception_statistics(size):
    """Those of Keras' network for this size."""
    flat = np.load(inception.FOLDER / 'forward_statistics.npy')[inception_forward.SIZES.index(size)]
    return split_statistics(flat, inception.inception_shapes())


# ---- both ----


def record(peer, weights, size, mistakes):
    """What is kept of one size of images."""
    return record_size(lambda dtype: peer.model(weights, dtype), predict, softmax, images_of(size), mistakes)


def main():
    statistics = timm_statistics()
    write_npy(TIMM.folder / 'statistics.npy', joined(statistics))
    weights = TIMM.weights(gain=GAIN)
    results = [record(TIMM, weights, size, timm_mistakes) for size in TIMM_SIZES]
    write(TIMM.folder, 'torch_forward.py', ('torch', 'timm'), GAIN, results, VISIBLE['timm'])

    weights = TORCHVISION.weights(gain=GAIN)
    results = []
    for size in TORCHVISION_SIZES:
        weights.update(inception_statistics(size))
        results.append(record(TORCHVISION, weights, size, torchvision_mistakes))
    # For a test of files that ask for it.
    transforming = TORCHVISION.model(weights, transform_input=True)
    results[-1]['transformed'] = [digits(row) for row in predict(transforming, images_of(size))]
    write(TORCHVISION.folder, 'torch_forward.py', ('torch', 'torchvision'), GAIN, results, VISIBLE['torchvision'])


if __name__ == '__main__':
    main()
