# Live peer: Keras' own freshly initialized Xception, saved in every layout, with inputs and Keras' outputs
# for them.
"""python scripts/peers/keras_save.py FOLDER [--seed N] [--classes N] [--second]

Writes whole.h5, published.h5 and model.weights.h5, and for each size x_<size>.npy (float32 [8, s, s, 3]),
probabilities_<size>.npy and logits_<size>.npy (float32 [8, classes]). Kernels are Keras' initializers', the
classifier's times 40; gamma and beta are moved off 1 and 0; the running statistics come from training-mode
passes, perturbed. --second builds another Xception first, as in a process that has several."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'record'))
from common import (  # noqa: E402
    assign, build, generate, need, np, predict, read, smooth_images, softmax, write_npy,
)  # fmt: skip
from keras_structure import copy_to_root  # noqa: E402
from forward import IMAGES, perturbed  # noqa: E402
from xception_forward import SIZES, mean_statistics  # noqa: E402


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('folder', type=Path)
    parser.add_argument('--seed', type=int, default=3)
    parser.add_argument('--classes', type=int, default=10)
    parser.add_argument('--second', action='store_true')
    options = parser.parse_args()
    keras = need('keras')
    keras.utils.set_random_seed(options.seed)
    if options.second:
        build(SIZES[-1])
    model = build(SIZES[-1], options.classes)
    weights = read(model)
    for name, value in weights.items():
        if name.endswith(('.gamma', '.beta')):
            weights[name] = value + generate(name, value.shape, options.seed, 0.1)
    weights['predictions.weight'] = weights['predictions.weight'] * np.float32(40)

    images = {size: smooth_images(IMAGES, size, options.seed) for size in SIZES}
    weights.update(perturbed(mean_statistics(weights, images)))
    options.folder.mkdir(parents=True, exist_ok=True)
    assign(model, weights)
    model.save(options.folder / 'whole.h5')
    model.save_weights(options.folder / 'model.weights.h5')
    copy_to_root(options.folder / 'whole.h5', options.folder / 'published.h5')
    for size in SIZES:
        sized = build(size, options.classes)
        assign(sized, weights)
        logits = predict(sized, images[size])
        write_npy(options.folder / f'x_{size}.npy', images[size])
        write_npy(options.folder / f'logits_{size}.npy', logits)
        write_npy(options.folder / f'probabilities_{size}.npy', softmax(logits))


if __name__ == '__main__':
    main()
