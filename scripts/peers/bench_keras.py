# Benchmark peer: Keras Applications' Xception or InceptionV3 on TensorFlow, one graph per step.
"""python scripts/peers/bench_keras.py --mode train|infer --batch N --size S --threads T --warmup W
     [--arch xception|inception_v3]

The step is a tf.function, as `train_on_batch` makes one, which has no L2 of the gradient: without it that one takes
the same time within a few percent (358 against 380 ms at 96 pixels, batch 4)."""

import math
import os

from bench_protocol import serve

os.environ['KERAS_BACKEND'] = 'tensorflow'
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

WEIGHT_DECAY = 1e-5


def prepare(options):
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    tf.config.set_visible_devices([], 'GPU')
    keras.utils.set_random_seed(0)
    shape = (options.size, options.size, 3)
    application = {
        'xception': keras.applications.Xception,
        'inception_v3': keras.applications.InceptionV3,
    }[options.arch]
    base = application(weights=None, include_top=False, pooling='avg', input_shape=shape)
    features = keras.layers.Dropout(0.5)(base.output)
    model = keras.Model(base.input, keras.layers.Dense(1000)(features))
    images = tf.random.normal((options.batch, *shape))
    versions = f'Keras {keras.__version__}, TensorFlow {tf.__version__}, {options.threads} threads'
    step = (training if options.mode == 'train' else inference)(keras, tf, model, images)
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_variables)
    return versions, step, None, parameters


def training(keras, tf, model, images):
    labels = tf.range(images.shape[0]) * 37 % 1000
    optimizer = keras.optimizers.SGD(1e-3, momentum=0.9)
    weights = model.trainable_variables
    optimizer.build(weights)
    # As a gradient: the optimizer's own weight_decay is the decoupled kind, another rule.
    decays = [len(weight.shape) > 1 for weight in weights]

    @tf.function
    def train():
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, [weight.value for weight in weights])
        gradients = [g + WEIGHT_DECAY * w if decay else g for g, w, decay in zip(gradients, weights, decays)]
        optimizer.apply(gradients, weights)
        return loss

    return lambda: train().numpy()


def inference(_keras, tf, model, images):
    @tf.function
    def predict():
        return tf.nn.softmax(model(images, training=False))

    return lambda: predict().numpy()


if __name__ == '__main__':
    serve(prepare)
