// `info`: a network's layers, parameters, multiply-adds and activation memory.

import { Command } from 'commander';
import { architecture, summarize } from '../index.ts';
import {
  type CommonFlags,
  checkSize,
  type ModelFlags,
  type VariantFlags,
  variantOf,
  withCommonFlags,
  withModelFlags,
  withVariantFlags,
} from './flags.ts';
import { print, table, withCommas } from './output.ts';

export function infoCommand(): Command {
  return withCommonFlags(withVariantFlags(withModelFlags(new Command('info'))))
    .description('layer table, parameters, multiply-adds, activation memory')
    .action((flags: CommonFlags & ModelFlags & VariantFlags) => {
      const { arch = 'xception', classes = 1000 } = flags;
      const variant = variantOf(arch, flags);
      checkSize(arch, flags.size, variant);
      const known = architecture(arch);
      const size = flags.size ?? known.size;
      const network = known.build({ classes, variant });
      const { layers, parameters, multiplyAdds, activationBytes } = summarize(network, [size, size, 3]);
      if (flags.json) {
        print({
          arch,
          classes,
          size,
          parameters,
          multiply_adds: multiplyAdds,
          activation_bytes: activationBytes,
          layers: layers.map(({ multiplyAdds: multiply_adds, ...layer }) => ({ ...layer, multiply_adds })),
        });
        return;
      }
      const rows = layers.map((layer) => [
        layer.name,
        layer.type,
        layer.output.join(' x '),
        withCommas(layer.parameters),
        withCommas(layer.multiplyAdds),
      ]);
      print(table([['layer', 'type', 'output', 'parameters', 'multiply-adds'], ...rows]));
      const { trainable, total } = parameters;
      print('');
      const chosen = flags.archOption.map((option) => `, ${option}`).join('');
      print(`${arch}${chosen}, ${withCommas(classes)} classes, ${size} x ${size} pixels`);
      print(`parameters: ${withCommas(trainable)} trainable, ${withCommas(total)} with running statistics`);
      print(`multiply-adds: ${(multiplyAdds / 1e9).toFixed(2)} G per image`);
      print(`activations: ${(activationBytes / 1e6).toFixed(1)} MB per image (outputs of all layers, fp32)`);
    });
}
