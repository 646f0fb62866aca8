// Makes examples/data: a small, shrunken part of a folder of clothing photographs.
//
//   node --import tsx scripts/make-example-data.ts [SOURCE]
//
// SOURCE has train/ and validation/ with a folder per class (default: ../shared/data/clothing). Files are
// taken in the order of their names, which are random, so the choice is arbitrary and always the same. The
// held-out images come from SOURCE's validation/, behind those taken for validation: they are in neither part.
import { copyFileSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import sharp from 'sharp';
import { imageFolder } from '../lib/data/imageFolder.ts';

const SHORTER_EDGE = 120; // room for random crops at 96 pixels
const QUALITY = 78;
const PER_CLASS = { train: 60, validation: 10 } as const;
const HELD_OUT_PER_CLASS = 1;
const MOST_BYTES = 3_000_000;

const source = process.argv[2] ?? join(import.meta.dirname, '..', '..', 'shared', 'data', 'clothing');
const examples = join(import.meta.dirname, '..', 'examples', 'data');
let bytes = 0;

async function shrink(from: string, to: string): Promise<void> {
  mkdirSync(join(to, '..'), { recursive: true });
  await sharp(from)
    .autoOrient()
    .resize(SHORTER_EDGE, SHORTER_EDGE, { fit: 'outside', withoutEnlargement: true })
    .jpeg({ quality: QUALITY, mozjpeg: true })
    .toFile(to);
  bytes += statSync(to).size;
}

for (const part of ['train', 'validation'] as const) {
  const { classes, files, labels } = imageFolder(join(source, part), { size: SHORTER_EDGE });
  rmSync(join(examples, 'clothing', part), { recursive: true, force: true });
  if (part === 'validation') rmSync(join(examples, 'held-out'), { recursive: true, force: true });
  for (const [label, name] of classes.entries()) {
    const ofClass = files.filter((_, at) => labels[at] === label);
    const taken = ofClass.slice(0, PER_CLASS[part]);
    for (const file of taken) await shrink(file, join(examples, 'clothing', part, name, basename(file)));
    if (part !== 'validation') continue;
    const heldOut = ofClass.slice(taken.length, taken.length + HELD_OUT_PER_CLASS);
    for (const file of heldOut) await shrink(file, join(examples, 'held-out', `${name}.jpg`));
  }
}
copyFileSync(join(source, 'LICENSE'), join(examples, 'clothing', 'LICENSE'));
if (bytes > MOST_BYTES) throw new Error(`${bytes} bytes of images, more than ${MOST_BYTES}`);
console.log(`${bytes} bytes of images`);
