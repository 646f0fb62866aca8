# Records how Keras trains Inception V3 on the photographs, as xception_train.py does Xception:
# test/fixtures/inception/.
"""python scripts/record/inception_train.py (a few minutes on two cores), after inception_forward.py and
photographs.py.

The network is less well conditioned than Xception: at 96 pixels its last two modules see one element of each
image. One case of gradients, since rounding moves those of any two photographs too; and RMSprop with a rate at
which Keras in float32 is within 3e-3 of Keras in float64 for ten steps (SGD of 1e-4 parts by 20 to 30 %)."""

from inception import FOLDER, recorded_weights, statistics_names
from keras_peer import KerasPeer
from training import GRADIENT_CASES, Network, record
from xception_train import OPTIMIZERS

BATCH_ONLY = [case for case in GRADIENT_CASES if case['name'] == 'batch']
GENTLE = [{**case, 'lr': 1e-7} for case in OPTIMIZERS if case['rule'] == 'rmsprop']

if __name__ == '__main__':
    record(Network(
        'inception_train.py', FOLDER, KerasPeer('InceptionV3'), recorded_weights, statistics_names, BATCH_ONLY,
        GENTLE, whole=2048, buckets=1024,
    ))  # fmt: skip
