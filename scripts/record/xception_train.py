# Records how Keras trains Xception on the photographs: ten losses of several optimizers, the gradients of
# every parameter in float32 and float64, and the running statistics after one step: test/fixtures/training/.
"""python scripts/record/xception_train.py (a few minutes on two cores), after xception_forward.py and
photographs.py.

The network is that of forward.json, but for the classifier's kernel, which is not multiplied by 40: with it,
Keras in float32 parts from itself in float64 by 10 % and more within ten steps, and no tolerance would mean
anything."""

from common import FIXTURES, recorded_weights, statistics_names
from keras_peer import KerasPeer
from training import GRADIENT_CASES, Network, record

OPTIMIZERS = [
    {'rule': 'sgd', 'lr': 1e-4, 'momentum': 0.0},
    {'rule': 'sgd', 'lr': 1e-4, 'momentum': 0.9},
    {'rule': 'rmsprop', 'lr': 1e-5, 'rho': 0.9, 'momentum': 0.9, 'epsilon': 1e-7},
]

if __name__ == '__main__':
    record(Network(
        'xception_train.py', FIXTURES / 'training', KerasPeer('Xception'), recorded_weights, statistics_names,
        GRADIENT_CASES, OPTIMIZERS, whole=2048, buckets=1024,
    ))  # fmt: skip
