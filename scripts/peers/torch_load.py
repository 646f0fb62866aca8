# Live peer: timm or torchvision loads a safetensors file, all of it and nothing else, and predicts an array, so that files
# written by this project can be checked.
"""python scripts/peers/torch_load.py WEIGHTS --network timm|torchvision --input X.npy --output Y.npy

X is float32 [n, s, s, 3], Y the logits, float32 [n, 10]."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'record'))
from common import need, np  # noqa: E402


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('weights')
    parser.add_argument('--network', choices=('timm', 'torchvision'), required=True)
    parser.add_argument('--input', required=True)
    parser.add_argument('--output', required=True)
    options = parser.parse_args()
    need('torch')
    import torch_networks as networks

    model = networks.TIMM.build() if options.network == 'timm' else networks.TORCHVISION.build()
    model.load_state_dict(need('safetensors.torch').load_file(options.weights), strict=True)
    np.save(options.output, networks.predict(model.eval(), np.load(options.input)))


if __name__ == '__main__':
    main()
