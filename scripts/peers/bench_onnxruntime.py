# Benchmark peer: ONNX Runtime on timm's Xception or Inception V3, exported by PyTorch; inference only.
"""python scripts/peers/bench_onnxruntime.py --mode infer --batch N --size S --threads T --warmup W"""

import io
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from bench_protocol import serve


def exported(arch, batch, size):
    """The network with a softmax, as ONNX for exactly this shape, which is what the runtime optimizes best."""
    import torch
    from bench_torch import network as peer

    torch.manual_seed(0)
    model, _ = peer(torch, arch)
    network = torch.nn.Sequential(model, torch.nn.Softmax(dim=1)).eval()
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # that the exporter by tracing is the older one; it needs no other package
        names = {'input_names': ['images'], 'output_names': ['probabilities']}
        images = torch.zeros(batch, 3, size, size)
        torch.onnx.export(network, (images,), file, dynamo=False, opset_version=17, **names)
    return file.getvalue()


def prepare(options):
    import numpy as np
    import onnxruntime

    # In a process of its own: PyTorch's memory is not the runtime's.
    with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as pool:
        model = pool.submit(exported, options.arch, options.batch, options.size).result()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Its threads spin while they wait; not, however, after the last run has ended, when others compute.
    settings.add_session_config_entry('session.force_spinning_stop', '1')
    session = onnxruntime.InferenceSession(model, settings, providers=['CPUExecutionProvider'])
    shape = (options.batch, 3, options.size, options.size)
    feed = {'images': np.random.default_rng(0).standard_normal(shape, np.float32)}
    versions = f'ONNX Runtime {onnxruntime.__version__}, {options.threads} threads'
    return versions, lambda: session.run(None, feed)


if __name__ == '__main__':
    serve(prepare)
