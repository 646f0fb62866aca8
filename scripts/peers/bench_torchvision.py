# Benchmark peer: torchvision's input pipeline: ImageFolder, random crop and flip, batches by torch's DataLoader.
"""python scripts/peers/bench_torchvision.py --mode load --data FOLDER --batch N --size S --threads WORKERS --warmup W

As fast as it goes without leaving it: uint8 to the end (PILToTensor, not ToTensor), workers that live on, and
each with one thread."""

from bench_protocol import MissingError, serve
from bench_torch import allow_torchvision


def prepare(options):
    import torch

    library = allow_torchvision(torch)
    import PIL
    import torchvision
    from torchvision import transforms

    if options.mode != 'load' or options.data is None:
        raise MissingError('it loads images: --mode load --data FOLDER')
    torch.manual_seed(0)
    torch.set_num_threads(1)
    change = transforms.Compose([
        transforms.RandomResizedCrop(options.size),  # area of 0.08 to 1, aspect of 3/4 to 4/3, bilinear
        transforms.RandomHorizontalFlip(),
        transforms.PILToTensor(),
    ])
    images = torchvision.datasets.ImageFolder(options.data, change)
    loader = torch.utils.data.DataLoader(
        images, options.batch, shuffle=True, num_workers=options.threads, drop_last=True, persistent_workers=True
    )

    def endless():
        while True:
            yield from loader

    batches = endless()

    def step():
        pixels, _ = next(batches)
        assert pixels.shape == (options.batch, 3, options.size, options.size) and library is not False
        return pixels

    versions = f'torchvision {torchvision.__version__}, PyTorch {torch.__version__}, Pillow {PIL.__version__}'
    return f'{versions}, {options.threads} workers', step


if __name__ == '__main__':
    serve(prepare)
