// `npm run bench`: which benchmarks there are; with flags, `depthwise bench` with them.

import { main } from '../lib/cli/main.ts';
import { print } from '../lib/cli/output.ts';

const flags = process.argv.slice(2);
if (flags.length > 0) process.exitCode = await main(['bench', ...flags]);
else {
  print(`Benchmarks, each with --help; results go to bench/results:

  npm run bench:peers      speed and memory beside PyTorch, Keras and ONNX Runtime, which take turns in one run;
                           DEPTHWISE_PYTHON names the interpreter that has them (default: python3)
  npm run bench:growth     speed and memory by batch and size, as a table and a picture
  npm run bench:gpu        on a machine with a GPU: results, speed beside PyTorch, time of each kernel; in a bundle too
                           (npm run bundle), for machines that have nothing else
  npm run bench:overhead   JavaScript time per step and per eager op, time to compile

  npx depthwise bench      networks on this machine: training, inference, loading; npm run bench -- --arch inception_v3`);
}
