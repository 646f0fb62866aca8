# Live peer: ONNX's checker on a file, and ONNX Runtime's answers for an array.
"""python scripts/peers/onnx_run.py MODEL.onnx --input X.npy --output Y.npy

X is float32 as the graph's first input takes it. Y is the first output, computed for the first image alone and for all
of them, one above the other: float32 [1 + n, classes]."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'record'))
from common import need, np  # noqa: E402


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('model')
    parser.add_argument('--input', required=True)
    parser.add_argument('--output', required=True)
    options = parser.parse_args()
    onnx, runtime = need('onnx', 'onnxruntime')
    onnx.checker.check_model(onnx.load(options.model), full_check=True)
    session = runtime.InferenceSession(options.model, providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name
    images = np.load(options.input)
    parts = [session.run(None, {name: batch})[0] for batch in (images[:1], images)]
    np.save(options.output, np.concatenate(parts))


if __name__ == '__main__':
    main()
