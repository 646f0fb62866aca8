# Benchmark peer: PyTorch, eager or compiled, channels last, with timm's Xception or Inception V3; on a CPU or a GPU.
"""python scripts/peers/bench_torch.py --mode train|infer --batch N --size S --threads T --warmup W
     [--arch xception|inception_v3] [--device cpu|cuda] [--precision fp32|bf16|fp16] [--compile]

As fast as PyTorch does it without leaving it: channels last for weights and inputs, cuDNN's own timed choice of
algorithms, a fused optimizer, images that stay on the device. fp32 is true fp32, without TF32. In 16 bits training is by
autocast, with a loss scale in fp16; inference has 16-bit weights and images, which is faster than autocast."""

import importlib.util
import re
from pathlib import Path

from bench_protocol import MissingError, serve


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


def network(torch, arch):
    library = allow_torchvision(torch)
    import timm

    # Both as in their papers; Inception V3 without the classifier at the side.
    name, more = {'xception': ('legacy_xception', {}), 'inception_v3': ('inception_v3', {'aux_logits': False})}[arch]
    model = timm.create_model(name, drop_rate=0.5, **more)
    model.declarations = library
    return model, timm.__version__


def open_device(torch, name):
    """The device, and what it is for people."""
    device = torch.device(name)
    if device.type != 'cuda':
        return device, f'{torch.get_num_threads()} threads'
    if not torch.cuda.is_available():
        raise MissingError('PyTorch sees no GPU')
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    version = torch.backends.cudnn.version()
    cudnn = f'{version // 10000}.{version // 100 % 100}.{version % 100}'
    return device, f'{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}, cuDNN {cudnn}'


def prepare(options):
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device, facts = open_device(torch, options.device)
    dtype = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}[options.precision]
    model, timm_version = network(torch, options.arch)
    model = model.to(device, memory_format=torch.channels_last)
    images = torch.randn(options.batch, 3, options.size, options.size, device=device)
    images = images.to(memory_format=torch.channels_last)
    kind = 'compiled' if options.compile else 'eager'
    versions = f'PyTorch {torch.__version__} {kind}, timm {timm_version}, {options.precision}, {facts}'
    step = (training if options.mode == 'train' else inference)(torch, model, images, dtype, options)
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return versions, step, memory_of(torch, device), parameters


def memory_of(torch, device):
    """What a reply says of the GPU's memory: the most held and the most in tensors since the last turn began. What is
    free is given back between turns, so that others find room."""
    if device.type != 'cuda':
        return None

    def memory():
        found = {'heldBytes': torch.cuda.max_memory_reserved(), 'usedBytes': torch.cuda.max_memory_allocated()}
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return found

    return memory


def training(torch, model, images, dtype, options):
    device = images.device.type
    labels = (torch.arange(options.batch, device=device) * 37) % 1000
    kernels = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{'params': kernels, 'weight_decay': 1e-5}, {'params': rest, 'weight_decay': 0.0}]
    fused = True if device == 'cuda' else None
    optimizer = torch.optim.SGD(groups, lr=1e-3, momentum=0.9, fused=fused)
    scaler = torch.amp.GradScaler(device, enabled=dtype == torch.float16)
    model.train()
    forward = torch.compile(model) if options.compile else model

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, dtype=dtype, enabled=dtype != torch.float32):
            loss = torch.nn.functional.cross_entropy(forward(images), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss.item()

    return step


def inference(torch, model, images, dtype, options):
    model.eval()
    whole = torch.nn.Sequential(model, torch.nn.Softmax(dim=1)).to(dtype)
    forward = torch.compile(whole) if options.compile else whole
    given = images.to(dtype)

    def step():
        with torch.inference_mode():
            return forward(given).float().cpu().numpy()

    return step


if __name__ == '__main__':
    serve(prepare, compile='with torch.compile')
