# Benchmark peer: PyTorch, eager or compiled, channels last, with timm's Xception as in the paper.
"""python scripts/peers/bench_torch.py --mode train|infer --batch N --size S --threads T --warmup W [--compile]"""

import importlib.util
import re
from pathlib import Path

from bench_protocol import serve


def allow_torchvision(torch):
    """timm imports torchvision; one built for CUDA beside a PyTorch that is not lacks two operators, which are then
    declared, without a body. The networks here use neither."""
    found = importlib.util.find_spec('torchvision')
    if found is None or torch.version.cuda is not None:
        return None
    if not re.search(r'\+cu\d', Path(found.origin).with_name('version.py').read_text()):
        return None
    library = torch.library.Library('torchvision', 'DEF')
    library.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
    library.define('qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
    return library  # the declarations live as long as this


def xception(torch):
    library = allow_torchvision(torch)
    import timm

    model = timm.create_model('legacy_xception', drop_rate=0.5)
    model.declarations = library
    return model, timm.__version__


def prepare(options):
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model, timm_version = xception(torch)
    model = model.to(memory_format=torch.channels_last)
    images = torch.randn(options.batch, 3, options.size, options.size)
    images = images.to(memory_format=torch.channels_last)
    versions = f'PyTorch {torch.__version__} {"compiled" if options.compile else "eager"}, timm {timm_version}'
    step = (training if options.mode == 'train' else inference)(torch, model, images, options)
    return f'{versions}, {torch.get_num_threads()} threads', step


def training(torch, model, images, options):
    labels = (torch.arange(options.batch) * 37) % 1000
    kernels = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{'params': kernels, 'weight_decay': 1e-5}, {'params': rest, 'weight_decay': 0.0}]
    optimizer = torch.optim.SGD(groups, lr=1e-3, momentum=0.9)
    model.train()
    forward = torch.compile(model) if options.compile else model

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(forward(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def inference(torch, model, images, options):
    model.eval()
    whole = torch.nn.Sequential(model, torch.nn.Softmax(dim=1))
    forward = torch.compile(whole) if options.compile else whole

    def step():
        with torch.inference_mode():
            return forward(images).numpy()

    return step


if __name__ == '__main__':
    serve(prepare, compile='with torch.compile')
