# Keras as a peer whose training is recorded (training.py).

from common import assign, build, gradients, need, read, train


class KerasPeer:
    """A network of Keras Applications by its name there."""

    packages = ('keras', 'tensorflow')
    assign = staticmethod(assign)
    read = staticmethod(read)
    gradients = staticmethod(gradients)

    def __init__(self, application):
        self.application = application

    def build(self, size, dtype):
        return build(size, dtype=dtype, application=self.application)

    def train(self, model, case, data):
        return train(model, optimizer(case), data)


def optimizer(case):
    keras = need('keras')
    if case['rule'] == 'sgd':
        return keras.optimizers.SGD(case['lr'], momentum=case['momentum'])
    return keras.optimizers.RMSprop(
        case['lr'], rho=case['rho'], momentum=case['momentum'], epsilon=case['epsilon']
    )
