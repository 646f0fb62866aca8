# Records the exact structure of the HDF5 files that Keras writes for Xception:
# test/fixtures/keras_layouts.json.
"""python scripts/record/keras_layouts.py (under a minute)

Three layouts: a whole model and the published files' layout (both legacy HDF5), and `.weights.h5`, each from
the first Xception of a process and from the second, whose unnamed layers Keras numbers on (conv2d_4,
batch_normalization_4)."""

import tempfile
from pathlib import Path

from common import CLASSES, FIXTURES, build, need, np, versions, write_json

SIZE = 71


def plain(value):
    """An attribute as JSON. The long ones (the configurations) are told by their length: readers must not
    need them."""
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        return value if len(value) <= 100 else {'string_of': len(value)}
    if isinstance(value, np.ndarray):
        return [plain(v) for v in value.tolist()]
    return value.item() if isinstance(value, np.generic) else value


def structure(path):
    """Every group and dataset of a file in visiting order, with attributes, shapes and types."""
    h5py = need('h5py')
    entries = []

    def visit(name, node):
        entry = {'path': name}
        if isinstance(node, h5py.Dataset):
            entry |= {'shape': list(node.shape), 'dtype': str(node.dtype)}
        attributes = {key: plain(value) for key, value in node.attrs.items()}
        if attributes:
            entry['attributes'] = attributes
        entries.append(entry)

    with h5py.File(path) as file:
        visit('', file)
        file.visititems(visit)
    return entries


def published(whole, path):
    """The layout of the published weight files, as Keras 2 saved weights: what a whole model has under
    `model_weights`, at the root."""
    h5py = need('h5py')
    with h5py.File(whole) as source, h5py.File(path, 'w') as target:
        weights = source['model_weights']
        for name in weights:
            source.copy(weights[name], target, name)
        for key, value in weights.attrs.items():
            target.attrs[key] = value


def write_all(model, folder):
    """The three files of a model: name of the layout -> path."""
    paths = {
        'whole_model': folder / 'whole.h5',
        'published': folder / 'published.h5',
        'weights_h5': folder / 'model.weights.h5',
    }
    model.save(paths['whole_model'])
    published(paths['whole_model'], paths['published'])
    model.save_weights(paths['weights_h5'])
    return paths


def main():
    layouts = {}
    with tempfile.TemporaryDirectory() as name:
        for order in ('first', 'second'):
            folder = Path(name) / order
            folder.mkdir()
            for layout, path in write_all(build(SIZE), folder).items():
                layouts[f'{layout}/{order}'] = structure(path)
                print(layout, order, len(layouts[f'{layout}/{order}']), 'entries')
    write_json(FIXTURES / 'keras_layouts.json', {
        'recorded_by': 'scripts/record/keras_layouts.py',
        'versions': versions('keras', 'tensorflow', 'h5py'),
        'classes': CLASSES, 'size': SIZE,
        'layouts': layouts,
    })  # fmt: skip


if __name__ == '__main__':
    main()
