# Records how far PyTorch's bf16 and fp16 are from its fp32 on the fixtures' Xception: the yardstick for ours.
# test/fixtures/xception/half.json.
"""Run from anywhere, after xception_forward.py: python scripts/record/xception_half.py (some minutes on two cores, most of
them for fp16, which no CPU is quick at). With --sizes and --types only these are recorded, beside what is there.

16 bits are as PyTorch's users have them: fp32 weights and `torch.autocast`, which casts what enters convolutions and
linear layers. The network is written out in functions, with TensorFlow's padding; its fp32 is held to Keras' recorded
logits first, so that it is the right one. Errors are relative to the largest |logit|."""

import argparse
import json

from common import (
    FIXTURES, need, np, recorded_weights, separable_layers, smooth_images, versions, write_json,
)  # fmt: skip

torch = need('torch')
functional = torch.nn.functional
# Keras in float32 is 2e-6 from itself in float64.
SAME_NETWORK = 1e-4


class Network:
    def __init__(self, weights):
        self.weights = {
            name: torch.from_numpy(np.ascontiguousarray(a.transpose(0, 3, 1, 2) if a.ndim == 4 else a))
            for name, a in weights.items()
        }

    def norm(self, x, name):
        w = self.weights
        parts = [w[f'{name}_bn.{part}'] for part in ('running_mean', 'running_var', 'gamma', 'beta')]
        return functional.batch_norm(x, *parts, training=False, eps=1e-3)

    def conv(self, x, name, stride=1):
        return self.norm(functional.conv2d(x, self.weights[f'{name}.weight'], stride=stride), name)

    def separable(self, x, name):
        w = self.weights[f'{name}.depthwise.weight']
        x = functional.conv2d(x, w, padding=1, groups=len(w))
        return self.norm(functional.conv2d(x, self.weights[f'{name}.pointwise.weight']), name)

    def pool(self, x):
        """3 x 3, stride 2, TensorFlow's `same`: the odd row and column at the bottom and right."""
        pads = []
        for extent in (x.shape[3], x.shape[2]):
            total = max((-(-extent // 2) - 1) * 2 + 3 - extent, 0)
            pads += [total // 2, total - total // 2]
        return functional.max_pool2d(functional.pad(x, pads, value=float('-inf')), 3, 2)

    def downsample(self, x, block, first=functional.relu):
        shortcut = self.conv(x, f'{block}_shortcut', 2)
        y = self.separable(first(x), f'{block}_sepconv1')
        y = self.separable(functional.relu(y), f'{block}_sepconv2')
        return self.pool(y) + shortcut

    def __call__(self, images):
        relu = functional.relu
        x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        x = relu(self.conv(x, 'block1_conv1', 2))
        x = relu(self.conv(x, 'block1_conv2'))
        x = self.downsample(x, 'block2', first=lambda y: y)
        x = self.downsample(self.downsample(x, 'block3'), 'block4')
        for block in range(5, 13):
            y = x
            for unit in (1, 2, 3):
                y = self.separable(relu(y), f'block{block}_sepconv{unit}')
            x = x + y
        x = self.downsample(x, 'block13')
        x = relu(self.separable(x, 'block14_sepconv1'))
        x = relu(self.separable(x, 'block14_sepconv2'))
        x = x.mean((2, 3))
        logits = functional.linear(x, self.weights['predictions.weight'], self.weights['predictions.bias'])
        return logits.float().numpy()


def errors(got, expected):
    """Largest, and root of the mean square, over the largest |logit|."""
    apart = np.abs(np.asarray(got, np.float64) - expected) / np.abs(expected).max()
    return {'largest': float(apart.max()), 'rms': float(np.sqrt(np.mean(apart**2)))}


def main():
    types = {'bf16': torch.bfloat16, 'fp16': torch.float16}
    parser = argparse.ArgumentParser()
    parser.add_argument('--sizes', type=int, nargs='+')
    parser.add_argument('--types', choices=types, nargs='+', default=list(types))
    wanted = parser.parse_args()
    assert len(separable_layers()) == 34
    recorded = json.loads((FIXTURES / 'xception' / 'forward.json').read_text())
    file = FIXTURES / 'xception' / 'half.json'
    before = {case['size']: case for case in json.loads(file.read_text())['sizes']} if file.exists() else {}
    network = Network(recorded_weights())
    results = []
    for case in recorded['sizes']:
        size = case['size']
        found = before.get(size, {'size': size})
        if wanted.sizes is None or size in wanted.sizes:
            images = smooth_images(recorded['images'], size)
            with torch.inference_mode():
                full = network(images)
                keras = errors(full, np.asarray(case['logits']))
                print(size, 'fp32 from Keras', keras, flush=True)
                assert keras['largest'] < SAME_NETWORK, f'{size}: another network than Keras has: {keras}'
                for name in wanted.types:
                    with torch.autocast('cpu', types[name]):
                        found[name] = errors(network(images), full)
                    print(size, name, found[name], flush=True)
        if len(found) > 1:
            results.append(found)
    write_json(file, {
        'recorded_by': 'scripts/record/xception_half.py',
        'versions': versions('torch'),
        'sizes': results,
    })  # fmt: skip


if __name__ == '__main__':
    main()
