# Records names and shapes of the tensors of timm's legacy_xception and torchvision's inception_v3, and that timm's
# inception_v3 has the same: test/fixtures/torch_structure.json.
"""python scripts/record/torch_structure.py (seconds)"""

from common import CLASSES, FIXTURES, versions, write_json
from torch_networks import timm, torchvision


def shapes(model):
    return {name: list(tensor.shape) for name, tensor in model.state_dict().items()}


def main():
    inception = shapes(torchvision.models.inception_v3(num_classes=CLASSES, init_weights=False))
    again = shapes(timm.create_model('inception_v3', num_classes=CLASSES, aux_logits=True))
    if again != inception:
        raise ValueError(f'timm and torchvision differ in {sorted(name for name in {**again, **inception} if again.get(name) != inception.get(name))[:4]}')
    write_json(FIXTURES / 'torch_structure.json', {
        'recorded_by': 'scripts/record/torch_structure.py',
        'versions': versions('torch', 'timm', 'torchvision'),
        'classes': CLASSES,
        'timm': shapes(timm.create_model('legacy_xception', num_classes=CLASSES)),
        'torchvision': inception,
    })  # fmt: skip


if __name__ == '__main__':
    main()
