# What the recordings of Keras' two networks share beside forward.py.

from common import assign, need, np, predict, softmax, variables
from forward import result


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
    before = [layer.epsilon for layer in normalizations(model)]
    for layer in normalizations(model):
        layer.epsilon = epsilon
    found = predict(model, images)
    for layer, value in zip(normalizations(model), before):
        layer.epsilon = value
    return found


def with_weights(model, weights, wrong, images):
    """The logits with other weights."""
    assign(model, wrong)
    found = predict(model, images)
    assign(model, weights)
    return found


def record_size(build, weights, images, mistakes):
    """What is kept of one size of images; `mistakes` makes logits by name from a model, weights and images."""
    size = images.shape[1]
    model, exact = build(size), build(size, dtype='float64')
    assign(model, weights)
    assign(exact, weights)
    return result(
        size,
        predict(model, images),
        predict(model, images[:1]),
        softmax,
        predict(exact, images.astype(np.float64)).astype(np.float32),
        mistakes(model, weights, images),
    )


def counting_padding(images):
    """Average pooling whose mean counts the zeros around the image, as torchvision's."""
    tf = need('tensorflow')
    return tf.nn.avg_pool2d(tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 1, 'VALID')
