# Records how PyTorch trains timm's legacy_xception and torchvision's inception_v3 on the photographs, as xception_train.py
# does Keras: test/fixtures/{timm,torchvision}/; and one pass with torchvision's classifier at the side.
"""python scripts/record/torch_train.py [NETWORK...] (some minutes on two cores), after torch_forward.py and
photographs.py. NETWORK: timm, torchvision, auxiliary; default: all.

Small sketches: what Keras' recordings show of single layers, these need not show again."""

import sys

from common import CLASSES, SEED, digits, np, relative, sketch, smooth_images, versions, write_json
from torch_networks import TIMM, TORCHVISION, from_torch, functional, nchw, to_torch, torch
from training import GRADIENT_CASES, Network, record

BATCH = next(case for case in GRADIENT_CASES if case['name'] == 'batch')
# As of Keras' Xception, the one whose gradients rounding moves least: 7e-6 at most in four trials.
PAIR = {'name': 'pair', 'first': 0, 'count': 2, 'size': 71}

# PyTorch adds epsilon outside the root. This one shows where it is added.
RMSPROP = {'rule': 'rmsprop', 'rho': 0.9, 'momentum': 0.9, 'epsilon': 1e-3, 'outside': True}
# timm's gradients are five times those of Keras' Xception, and so are these rates smaller.
TIMM_RULES = [
    {'rule': 'sgd', 'lr': 1e-5, 'momentum': 0.0},
    {'rule': 'sgd', 'lr': 1e-5, 'momentum': 0.9},
    {**RMSPROP, 'lr': 2e-6},
]
TORCHVISION_RULES = [{**RMSPROP, 'lr': 1e-7}]
AUXILIARY_WEIGHT = 0.4


class TorchPeer:
    """A network of torch_networks.py."""

    def __init__(self, network, package):
        self.network = network
        self.packages = ('torch', package)

    def build(self, _size, dtype):
        return self.network.build().to(getattr(torch, dtype))

    def assign(self, model, weights):
        with torch.no_grad():
            for name, tensor in self.network.tensors(model).items():
                tensor.copy_(torch.from_numpy(to_torch(weights[name])))

    def read(self, model):
        return self.network.read(model)

    def loss(self, model, images, labels):
        return functional.cross_entropy(model(nchw(images)), torch.from_numpy(labels).long())

    def gradients(self, model, images, labels):
        model.train().zero_grad()
        loss = self.loss(model, images, labels)
        loss.backward()
        found = self.network.tensors(model)
        return float(loss.detach()), {
            name: from_torch(tensor.grad) for name, tensor in found.items() if tensor.grad is not None
        }

    def train(self, model, case, data):
        optimizer = optimizer_of(case, list(model.train().parameters()))
        losses = []
        for images, labels in data:
            optimizer.zero_grad()
            loss = self.loss(model, images, labels)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        return losses


class EpsilonUnderRoot(torch.optim.Optimizer):
    """RMSprop as Keras has it, with epsilon under the root."""

    def __init__(self, parameters, case):
        super().__init__(parameters, {})
        self.case = case

    @torch.no_grad()
    def step(self):
        lr, rho, momentum, epsilon = (self.case[name] for name in ('lr', 'rho', 'momentum', 'epsilon'))
        for w in self.param_groups[0]['params']:
            state = self.state[w]
            if not state:
                state.update(v=torch.zeros_like(w), m=torch.zeros_like(w))
            v = state['v'].mul_(rho).addcmul_(w.grad, w.grad, value=1 - rho)
            w.sub_(lr * state['m'].mul_(momentum).addcdiv_(w.grad, (v + epsilon).sqrt()))


def optimizer_of(case, parameters):
    if case['rule'] == 'sgd':
        return torch.optim.SGD(parameters, case['lr'], momentum=case['momentum'])
    if not case['outside']:
        return EpsilonUnderRoot(parameters, case)
    return torch.optim.RMSprop(
        parameters, case['lr'], alpha=case['rho'], eps=case['epsilon'], momentum=case['momentum']
    )


def mistakes(case):
    """What a wrong update rule would make of a case."""
    wrong = {'no_update': {**case, 'lr': 0.0}}
    if case['momentum'] > 0:
        wrong['no_momentum'] = {**case, 'momentum': 0.0}
    if case['rule'] == 'rmsprop':
        wrong['epsilon_under_root'] = {**case, 'outside': False}
    return wrong


def record_auxiliary():
    """The loss of two smooth images of 299 pixels with the classifier at the side, and the gradients of its tensors."""
    images, labels = smooth_images(2, 299), np.array([3, 7])
    weights = TORCHVISION.weights(gain=1.0, auxiliary=True)
    losses, gradients = {}, {}
    for dtype in ('float32', 'float64'):
        model = TORCHVISION.model(weights, dtype, aux_logits=True).train()
        main, side = model(nchw(images.astype(dtype)))
        target = torch.from_numpy(labels).long()
        loss = functional.cross_entropy(main, target) + AUXILIARY_WEIGHT * functional.cross_entropy(side, target)
        loss.backward()
        losses[dtype] = float(loss.detach())
        gradients[dtype] = {
            name: from_torch(tensor.grad)
            for name, tensor in TORCHVISION.tensors(model, True).items()
            if name.startswith('aux_') and tensor.grad is not None
        }
    kept = {
        name: {
            'shape': list(exact.shape), 'norm': float(np.linalg.norm(exact)),
            'float32_error': relative(gradients['float32'][name], exact),
            'sketch': digits(sketch(name, exact, 64)),
        }
        for name, exact in gradients['float64'].items()
    }  # fmt: skip
    write_json(TORCHVISION.folder / 'auxiliary.json', {
        'recorded_by': 'scripts/record/torch_train.py',
        'versions': versions('torch', 'torchvision'),
        'classes': CLASSES, 'seed': SEED, 'gain': 1, 'images': 2, 'size': 299, 'labels': labels.tolist(),
        'weight': AUXILIARY_WEIGHT, 'buckets': 64,
        'loss': losses['float32'], 'loss_float64': losses['float64'], 'gradients': kept,
    })  # fmt: skip


def main():
    asked = sys.argv[1:] or ['timm', 'torchvision', 'auxiliary']
    networks = ((TIMM, 'timm', [BATCH, PAIR], TIMM_RULES), (TORCHVISION, 'torchvision', [BATCH], TORCHVISION_RULES))
    for network, package, cases, rules in networks:
        if package in asked:
            record(Network(
                'torch_train.py', network.folder, TorchPeer(network, package), network.weights,
                network.statistics_names, cases, rules, whole=512, buckets=256, trials=2, mistakes=mistakes,
            ))  # fmt: skip
    if 'auxiliary' in asked:
        record_auxiliary()


if __name__ == '__main__':
    main()
