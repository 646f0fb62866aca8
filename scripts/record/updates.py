# Records ten updates by Keras' and PyTorch's optimizers on generated gradients: test/fixtures/updates.json.
"""python scripts/record/updates.py (seconds)

Gradients are generate(`gradient/<tensor>/<step>`) times the tensor's scale, in float32, step counting from 1;
weights start as generate(`weight/<tensor>`). The scales differ so that epsilon is negligible, felt and
dominant. L2 adds l2 * w, with the weights before the update, to the gradient."""

from common import FIXTURES, SEED, digits, generate, need, np, versions, write_json

STEPS = 10
TENSORS = [('a', (3, 4), 1.0), ('b', (2, 3, 3, 5), 1e-2), ('c', (7,), 1e-6)]
L2 = (0.0, 0.01)

# Hyper-parameters under this project's names; `framework` says whose rule and whose place of epsilon.
CASES = [
    {'framework': 'keras', 'rule': 'sgd', 'lr': 0.05, 'momentum': 0.0, 'nesterov': False},
    {'framework': 'keras', 'rule': 'sgd', 'lr': 0.05, 'momentum': 0.9, 'nesterov': False},
    {'framework': 'keras', 'rule': 'sgd', 'lr': 0.05, 'momentum': 0.9, 'nesterov': True},
    {'framework': 'keras', 'rule': 'rmsprop', 'lr': 0.01, 'rho': 0.9, 'momentum': 0.0, 'epsilon': 1e-7},
    {'framework': 'keras', 'rule': 'rmsprop', 'lr': 0.01, 'rho': 0.9, 'momentum': 0.9, 'epsilon': 1e-7},
    {'framework': 'keras', 'rule': 'adam', 'lr': 0.01, 'beta1': 0.9, 'beta2': 0.999, 'epsilon': 1e-7},
    {'framework': 'pytorch', 'rule': 'sgd', 'lr': 0.05, 'momentum': 0.9, 'nesterov': False},
    {'framework': 'pytorch', 'rule': 'sgd', 'lr': 0.05, 'momentum': 0.9, 'nesterov': True},
    {'framework': 'pytorch', 'rule': 'rmsprop', 'lr': 0.01, 'rho': 0.9, 'momentum': 0.0, 'epsilon': 1e-3},
    {'framework': 'pytorch', 'rule': 'rmsprop', 'lr': 0.01, 'rho': 0.9, 'momentum': 0.9, 'epsilon': 1e-3},
    {'framework': 'pytorch', 'rule': 'adam', 'lr': 0.01, 'beta1': 0.9, 'beta2': 0.999, 'epsilon': 1e-8},
]  # fmt: skip


def weight(name, shape):
    return generate(f'weight/{name}', shape, SEED)


def gradient(name, shape, scale, step):
    return generate(f'gradient/{name}/{step}', shape, SEED, limit=scale)


def with_keras(case, l2):
    keras = need('keras')
    optimizer = {
        'sgd': lambda: keras.optimizers.SGD(case['lr'], momentum=case['momentum'], nesterov=case['nesterov']),
        'rmsprop': lambda: keras.optimizers.RMSprop(
            case['lr'], rho=case['rho'], momentum=case['momentum'], epsilon=case['epsilon']
        ),
        'adam': lambda: keras.optimizers.Adam(
            case['lr'], beta_1=case['beta1'], beta_2=case['beta2'], epsilon=case['epsilon']
        ),
    }[case['rule']]()
    held = [keras.Variable(weight(name, shape)) for name, shape, _ in TENSORS]
    optimizer.build(held)
    for step in range(1, STEPS + 1):
        found = []
        for (name, shape, scale), variable in zip(TENSORS, held):
            decay = np.float32(l2) * np.asarray(variable)
            found.append(keras.ops.convert_to_tensor(gradient(name, shape, scale, step) + decay))
        optimizer.apply(found, held)
    return [np.asarray(variable) for variable in held]


def with_pytorch(case, l2):
    torch = need('torch')
    held = [torch.nn.Parameter(torch.from_numpy(weight(name, shape))) for name, shape, _ in TENSORS]
    optimizer = {
        'sgd': lambda: torch.optim.SGD(
            held, case['lr'], momentum=case['momentum'], nesterov=case['nesterov'], weight_decay=l2
        ),
        'rmsprop': lambda: torch.optim.RMSprop(
            held, case['lr'], alpha=case['rho'], momentum=case['momentum'], eps=case['epsilon'],
            weight_decay=l2,
        ),
        'adam': lambda: torch.optim.Adam(
            held, case['lr'], betas=(case['beta1'], case['beta2']), eps=case['epsilon'], weight_decay=l2
        ),
    }[case['rule']]()
    for step in range(1, STEPS + 1):
        for (name, shape, scale), parameter in zip(TENSORS, held):
            parameter.grad = torch.from_numpy(gradient(name, shape, scale, step))
        optimizer.step()
    return [parameter.detach().numpy() for parameter in held]


def main():
    cases = []
    for case in CASES:
        for l2 in L2:
            ran = (with_keras if case['framework'] == 'keras' else with_pytorch)(case, l2)
            weights = {name: digits(value) for (name, _, _), value in zip(TENSORS, ran)}
            cases.append({**case, 'l2': l2, 'weights': weights})
    write_json(FIXTURES / 'updates.json', {
        'recorded_by': 'scripts/record/updates.py',
        'versions': versions('keras', 'tensorflow', 'torch'),
        'seed': SEED, 'steps': STEPS,
        'tensors': [{'name': n, 'shape': list(s), 'scale': scale} for n, s, scale in TENSORS],
        'cases': cases,
    })  # fmt: skip


if __name__ == '__main__':
    main()
