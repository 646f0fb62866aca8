# Records known answers of the generator for its TypeScript twin: test/fixtures/known_answers.json.
"""python scripts/record/known_answers.py (seconds)"""

import hashlib

from common import (
    CLASSES, FIXTURES, SEED, bits, digits, generate, sketch, smooth_images, versions, write_json,
    xception_weights,
)  # fmt: skip


def digest(*arrays):
    found = hashlib.sha256()
    for array in arrays:
        found.update(array.tobytes())
    return found.hexdigest()


def main():
    drawn = [('a', 0), ('a', 1), ('block1_conv1.weight', 1), ('é', 0xFFFFFFFF), ('', 7)]
    ranges = [('a', 1, 1.0, 0.0), ('a', 1, 0.1, 0.0), ('gamma', 2, 0.1, 1.0), ('b', 3, 1e-6, 0.0)]
    name, buckets = 'sketched', 64
    write_json(FIXTURES / 'known_answers.json', {
        'recorded_by': 'scripts/record/known_answers.py',
        'versions': versions(),
        'bits': [{'name': n, 'seed': s, 'values': bits(n, 8, s).tolist()} for n, s in drawn],
        'generate': [
            {
                'name': n, 'seed': s, 'limit': limit, 'offset': o,
                'values': digits(generate(n, (6,), s, limit, o)),
            }
            for n, s, limit, o in ranges
        ],
        'images': [{'size': s, 'sha256': digest(smooth_images(8, s))} for s in (71, 96, 150, 299)],
        'weights': {'seed': SEED, 'classes': CLASSES, 'sha256': digest(*xception_weights().values())},
        'sketch': {
            'name': name, 'buckets': buckets,
            'values': sketch(name, generate(name, (3, 3, 64, 32), SEED), buckets).tolist(),
        },
    })  # fmt: skip


if __name__ == '__main__':
    main()
