# Makes the photographs of the training fixtures: test/fixtures/photographs/{images,labels}.npy, 40 of the CC0
# clothing images, four of each class, at 96 x 96.
"""python scripts/record/photographs.py [FOLDER]: the clothing images, a folder per class. Without it
$DEPTHWISE_DATA/clothing/train, or the same under ../shared/data beside the repository."""

import os
import sys
from pathlib import Path

from common import FIXTURES, ROOT, need, np, write_npy

SIZE = 96
PER_CLASS = 4


def source():
    if len(sys.argv) > 1:
        return Path(sys.argv[1])
    data = os.environ.get('DEPTHWISE_DATA')
    return (Path(data) if data else ROOT.parent / 'shared' / 'data') / 'clothing' / 'train'


def main():
    image = need('PIL.Image')
    folder = source()
    classes = sorted(p.name for p in folder.iterdir() if p.is_dir())
    files = {name: sorted((folder / name).glob('*.jpg'))[:PER_CLASS] for name in classes}
    pixels, labels = [], []
    # One of each class in turn, so that every batch of eight is mixed.
    for k in range(PER_CLASS):
        for label, name in enumerate(classes):
            with image.open(files[name][k]) as photo:
                resized = photo.convert('RGB').resize((SIZE, SIZE), image.Resampling.BILINEAR)
            pixels.append(np.asarray(resized, np.uint8))
            labels.append(label)
    # Where a pre-activation lies within rounding of zero, two correct float32 programs differ by a whole ReLU
    # derivative. Of the batches tried, the one from the 14th photograph on has fewest such places: its
    # gradients in float32 are mostly within 1e-3 (median) of float64, also when the images move by an ulp. It
    # comes first.
    write_npy(FIXTURES / 'photographs' / 'images.npy', np.roll(np.stack(pixels), -14, axis=0))
    write_npy(FIXTURES / 'photographs' / 'labels.npy', np.roll(np.asarray(labels, np.int32), -14))


if __name__ == '__main__':
    main()
