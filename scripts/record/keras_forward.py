# What the recordings of Keras' two networks share beside forward.py.

from common import assign, need, np, predict, softmax, variables
from forward import record_size, replaced


def normalizations(model):
    return [layer for layer in model.layers if type(layer).__name__ == 'BatchNormalization']


def batch_statistics(model, names, weights, images):
    """Name -> batch mean or biased variance of every normalization in one training-mode pass."""
    assign(model, weights)
    for layer in normalizations(model):
        layer.momentum = 0.0  # the running statistics become the batch's
    model(images, training=True)
    found = variables(model)
    return {name: np.asarray(found[name], np.float64) for name in names}


def with_epsilon(model, epsilon, images):
    """The logits with another epsilon in every normalization."""
    with replaced(normalizations(model), 'epsilon', epsilon):
        return predict(model, images)


def with_weights(model, weights, wrong, images):
    """The logits with other weights."""
    assign(model, wrong)
    found = predict(model, images)
    assign(model, weights)
    return found


def record_keras(build, weights, images, mistakes):
    """What is kept of one size of images. `build` makes the network of a size; `mistakes` makes logits by name from a
    model, weights and images."""

    def model(dtype):
        made = build(images.shape[1], dtype=dtype)
        assign(made, weights)
        return made

    return record_size(model, predict, softmax, images, lambda made, x: mistakes(made, weights, x))


def counting_padding(images):
    """Average pooling whose mean counts the zeros around the image, as torchvision's."""
    tf = need('tensorflow')
    return tf.nn.avg_pool2d(tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 1, 'VALID')
