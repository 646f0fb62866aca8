# Live peer: TensorBoard's own reader on the folder of a run.
"""python scripts/peers/tensorboard_read.py RUN --output READ.json

Writes what TensorBoard would show: {"scalars": {tag: [[step, value], ...]}, "histograms": {tag: [[step, count], ...]},
"texts": {tag: [text, ...]}}."""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'record'))
from common import need  # noqa: E402


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('run')
    parser.add_argument('--output', required=True)
    options = parser.parse_args()
    need('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util import tensor_util

    everything = {'tensors': 0, 'histograms': 0, 'scalars': 0}
    read = EventAccumulator(options.run, size_guidance=everything).Reload()
    found = {'scalars': {}, 'histograms': {}, 'texts': {}}
    for tag in read.Tags()['scalars']:
        found['scalars'][tag] = [[it.step, it.value] for it in read.Scalars(tag)]
    for tag in read.Tags()['histograms']:
        found['histograms'][tag] = [[it.step, it.histogram_value.num] for it in read.Histograms(tag)]
    for tag in read.Tags()['tensors']:
        if read.SummaryMetadata(tag).plugin_data.plugin_name != 'text':
            continue
        arrays = [tensor_util.make_ndarray(it.tensor_proto) for it in read.Tensors(tag)]
        found['texts'][tag] = [array.reshape(-1)[0].decode() for array in arrays]
    Path(options.output).write_text(json.dumps(found))


if __name__ == '__main__':
    main()
