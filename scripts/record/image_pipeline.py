# Records what Pillow and torchvision make of small images, for the tests of the native image pipeline.
"""python scripts/record/image_pipeline.py > test/fixtures/imagePipeline.json

Images are made by a formula that the test has too; pixels are base64 of uint8 [height, width, 3]. `resized`: Image.resize.
`jpegs`: files of each kind with what Pillow makes of them, resized bilinearly. `changes`: torchvision's ops of
RandAugment, in its order, on Pillow images with nearest interpolation and black fill."""

import base64
import io
import json

import numpy as np
import torch
from PIL import Image

if torch.version.cuda is None:
    # A torchvision built for CUDA beside a PyTorch that is not lacks these two; neither is used here.
    library = torch.library.Library('torchvision', 'DEF')
    library.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
    library.define('qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
from torchvision.transforms import InterpolationMode, autoaugment

OPS = ['Identity', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY', 'Rotate', 'Brightness', 'Color', 'Contrast', 'Sharpness',
       'Posterize', 'Solarize', 'AutoContrast', 'Equalize']  # fmt: skip
LEVELS = {'ShearX': 0.21, 'ShearY': 0.21, 'TranslateX': 3, 'TranslateY': 3, 'Rotate': 21, 'Brightness': 0.63, 'Color': 0.63,
          'Contrast': 0.63, 'Sharpness': 0.63, 'Posterize': 5, 'Solarize': 76.5}  # fmt: skip


def text(data):
    return base64.b64encode(data).decode()


def made(width, height):
    y, x, c = np.mgrid[0:height, 0:width, 0:3]
    return Image.fromarray(((x * 13 + y * 7 + x * y + c * 53) % 200 + 20).astype(np.uint8))


def smooth(width, height):
    y, x, c = np.mgrid[0:height, 0:width, 0:3]
    return Image.fromarray((128 + 60 * np.sin(x / 5 + c) + 60 * np.cos(y / 7 - c)).astype(np.uint8))


def resized():
    filters = {'bilinear': Image.BILINEAR, 'bicubic': Image.BICUBIC}
    for size in ((7, 5), (19, 17), (13, 3)):
        for name, kind in filters.items():
            yield {'size': size, 'interpolation': name, 'pixels': text(made(13, 11).resize(size, kind).tobytes())}


def jpegs():
    image = smooth(52, 44)
    kinds = {
        '4:4:4': (image, {'subsampling': 0}),
        '4:2:0': (image, {'subsampling': 2}),
        'progressive': (image, {'subsampling': 2, 'progressive': True}),
        'grey': (image.convert('L'), {}),
    }
    for name, (source, options) in kinds.items():
        file = io.BytesIO()
        source.save(file, 'jpeg', quality=80, **options)
        whole = Image.open(io.BytesIO(file.getvalue())).convert('RGB')
        pixels = whole.resize((30, 25), Image.BILINEAR).tobytes()
        yield {'kind': name, 'size': (30, 25), 'file': text(file.getvalue()), 'pixels': text(pixels)}


def changes():
    for op in OPS:
        level = LEVELS.get(op, 0)
        signs = (1, -1) if OPS.index(op) in range(1, 10) else (1,)
        for sign in signs:
            done = autoaugment._apply_op(made(14, 12), op, sign * level, InterpolationMode.NEAREST, None)
            yield {'op': op, 'magnitude': sign * level, 'pixels': text(done.tobytes())}


print(json.dumps({'resized': list(resized()), 'jpegs': list(jpegs()), 'changes': list(changes())}, indent=1))
