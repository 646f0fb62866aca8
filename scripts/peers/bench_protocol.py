# The Python side of the benchmarks' protocol: flags, a loop that runs steps when told, a JSON object a line.
"""Twin of bench/support/protocol.ts. A peer's script says `serve(prepare)`, where `prepare(options)` imports
what it needs, builds the model and returns (versions, step), and more where it can: what to ask for memory, or None, and
how many trainable parameters the network has. `step()` runs one step and waits for its result, `memory()` gives what a
reply says of a GPU's memory, by name."""

import argparse
import ctypes
import gc
import json
import os
import sys
import time


class MissingError(Exception):
    """What this peer needs is not on this machine: no failure, but something to say."""


def flags(**more):
    """The flags of every contender; `more` are switches of this one, by name."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--mode', choices=('train', 'infer', 'load'), required=True)
    for name in ('batch', 'size', 'threads', 'warmup'):
        parser.add_argument(f'--{name}', type=int, required=True)
    parser.add_argument('--arch', choices=('xception', 'inception_v3'), default='xception')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--data', help='a folder per class, for load')
    parser.add_argument('--precision', choices=('fp32', 'bf16', 'fp16'), default='fp32')
    for name, text in more.items():
        parser.add_argument(f'--{name}', action='store_true', help=text)
    return parser.parse_args()


def give_back():
    """Returns free memory to the system, so that five contenders fit beside each other. Never timed."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
    if trim is not None:
        trim(0)


def serve(prepare, **more):
    """Runs a peer until stdin ends. Only protocol lines go to stdout; what libraries print goes to stderr."""
    options = flags(**more)
    out = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)

    def say(**reply):
        print(json.dumps(reply), file=out, flush=True)

    try:
        versions, step, *rest = prepare(options)
    except ImportError as error:
        say(missing=f'its Python packages are not all installed: {error}')
        return
    except MissingError as error:
        say(missing=str(error))
        return
    memory = (rest[0] if rest else None) or dict
    told = {'parameters': rest[1]} if len(rest) > 1 else {}

    def run(steps):
        times = []
        for _ in range(steps):
            start = time.perf_counter()
            step()
            times.append((time.perf_counter() - start) * 1000)
        give_back()
        return times

    run(options.warmup)
    memory()  # what the first steps took, which try algorithms, is not the network's
    say(ready=versions, **told)
    for line in sys.stdin:
        times = run(json.loads(line)['run'])
        say(milliseconds=times, **memory())
