// Tests of lib/data/tar.ts: archives of GNU tar and Python, and what is refused.
import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { DataError } from '../../lib/core/errors.ts';
import { readTar, type TarEntry, tarEnd, tarHeader } from '../../lib/data/tar.ts';
import { skip } from '../support/skip.ts';
import { put, temporaryFolder } from './makeImages.ts';
import { gnuTar, has, inMemory, tarOf, withSum } from './makeShards.ts';

const folder = temporaryFolder();
after(() => folder.remove());

async function list(bytes: Uint8Array): Promise<TarEntry[]> {
  const entries: TarEntry[] = [];
  for await (const entry of readTar(inMemory(bytes), 'x.tar')) entries.push(entry);
  return entries;
}

/** Names and contents. */
const unpacked = async (bytes: Uint8Array) =>
  (await list(bytes)).map(({ name, offset, length }) => [
    name.replace(/^\.\//, ''),
    Buffer.from(bytes.subarray(offset, offset + length)).toString(),
  ]);

async function refusal(bytes: Uint8Array): Promise<DataError> {
  try {
    await list(bytes);
  } catch (error) {
    if (error instanceof DataError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

const long = `${'folder/'.repeat(20)}${'n'.repeat(90)}.jpg`;
/** Names of every kind: plain, with spaces and marks, of more than 100 bytes, of more than any header holds. */
const names = ['a.jpg', 'a.cls', 'b c/über.jpg', 'b c/über.cls', long, `${'x'.repeat(240)}.jpg`, 'empty.txt'];
const contents = (name: string) => (name === 'empty.txt' ? '' : `contents of ${name}`.repeat(60));
const dir = join(folder.path, 'files');
const ascii = (name: string) => /^[\x20-\x7e]*$/.test(name);

describe('tar archives', () => {
  before(() => {
    for (const name of names) put(join(dir, name), contents(name));
  });

  it('of our own headers are read back', async () => {
    const files = [
      ['000000.jpg', 'picture'],
      ['000000.cls', '7'],
      ['exact.jpg', 'x'.repeat(1024)],
      ['none.txt', ''],
    ] as const;
    expect(await unpacked(tarOf(files))).to.deep.equal(files.map((file) => [...file]));
  });

  for (const format of ['v7', 'ustar', 'gnu', 'oldgnu', 'pax']) {
    it(`of GNU tar are read: ${format}`, async function () {
      if (!has('tar')) skip(this, 'there is no tar');
      // What a format cannot hold is left to those that can.
      const fit = names.filter((name) =>
        format === 'v7' ? name.length < 100 : format === 'ustar' ? name.length < 240 : true,
      );
      const archive = gnuTar(
        join(folder.path, `${format}.tar`),
        dir,
        fit.map((name) => join(dir, name)),
        [`--format=${format}`],
      );
      expect(await unpacked(archive)).to.deep.equal(fit.map((name) => [name, contents(name)]));
    });
  }

  it('of GNU tar with folders, and of a whole folder, are read', async function () {
    if (!has('tar')) skip(this, 'there is no tar');
    const archive = gnuTar(join(folder.path, 'whole.tar'), dir, [dir], ['--sort=name']);
    const found = (await unpacked(archive)).map(([name]) => (name as string).replace(/^.*?files\//, ''));
    expect(found.sort()).to.deep.equal([...names].sort());
  });

  for (const format of ['USTAR_FORMAT', 'GNU_FORMAT', 'PAX_FORMAT']) {
    it(`of Python's tarfile are read: ${format}`, async function () {
      if (!has('python3')) skip(this, 'there is no python3');
      const fit = names.filter((name) => format !== 'USTAR_FORMAT' || (name.length < 240 && ascii(name)));
      const archive = join(folder.path, `${format}.tar`);
      const script = `import sys, tarfile
with tarfile.open(sys.argv[1], 'w', format=tarfile.${format}) as tar:
    for name in sys.argv[3:]:
        tar.add(sys.argv[2] + '/' + name, arcname=name)
`;
      execFileSync('python3', ['-c', script, archive, dir, ...fit]);
      expect(await unpacked(readFileSync(archive))).to.deep.equal(fit.map((name) => [name, contents(name)]));
    });
  }

  it('are read by GNU tar where we wrote them, byte for byte', function () {
    if (!has('tar')) skip(this, 'there is no tar');
    const archive = put(join(folder.path, 'ours.tar'), tarOf([['000000.jpg', contents('x')]]));
    const said = execFileSync('tar', ['-xOf', archive, '000000.jpg'], { encoding: 'utf8' });
    expect(said).to.equal(contents('x'));
    const listed = execFileSync('tar', ['-tvf', archive], { encoding: 'utf8' });
    expect(listed).to.match(/^-rw-r--r-- 0\/0 +780 1970-01-01/);
  });

  it('whose size is in binary, as those above 8 GiB have it, are read', async () => {
    const header = Buffer.from(tarHeader('a.jpg', 0));
    header.fill(0, 124, 136);
    header[124] = 0x80;
    header[135] = 5;
    const archive = Buffer.concat([withSum(header), Buffer.from('12345'), Buffer.alloc(507), tarEnd]);
    expect(await unpacked(archive)).to.deep.equal([['a.jpg', '12345']]);
    header[125] = 0xff;
    expect(await refusal(Buffer.concat([withSum(header), tarEnd]))).to.include({ code: 'TAR_NUMBER' });
  });
});

describe('tar archives that are refused', () => {
  const one = tarOf([
    ['a.jpg', 'first'],
    ['b.jpg', 'second'],
  ]);
  const changed = (change: (header: Buffer) => void): Buffer => {
    const header = Buffer.from(tarHeader('a.jpg', 0));
    change(header);
    return Buffer.concat([withSum(header), tarEnd]);
  };
  const typed = (type: string) => changed((header) => header.write(type, 156, 'latin1'));
  const pax = (records: string, type = 'x') => {
    const header = Buffer.from(tarHeader('pax', records.length));
    header.write(type, 156, 'latin1');
    const body = Buffer.alloc(512);
    body.write(records);
    return Buffer.concat([withSum(header), body, tarHeader('a.jpg', 0), tarEnd]);
  };

  for (const [what, bytes, code, says] of [
    ['what is no archive', Buffer.alloc(2048, 'text'), 'TAR_FORMAT', /^x\.tar: no tar archive$/],
    [
      'a compressed one',
      gzipSync(Buffer.alloc(4096, 'x'), { level: 0 }),
      'TAR_FORMAT',
      /compressed file; expected it unp/,
    ],
    [
      'a symbolic link',
      typed('2'),
      'TAR_LINK',
      /entry at byte 0 \(a\.jpg\) is a symbolic link, expected the file/,
    ],
    ['a hard link', typed('1'), 'TAR_LINK', /is a hard link/],
    ['a device', typed('3'), 'TAR_TYPE', /is a character device, expected files/],
    ['a type that is none', typed('\u001b'), 'TAR_TYPE', /is of type '\\u001b'/],
    ['a sparse file', typed('S'), 'TAR_SPARSE', /is a sparse file/],
    ['a sparse file of pax', pax('22 GNU.sparse.major=1\n'), 'TAR_SPARSE', /is a sparse file/],
    [
      'pax records without end',
      pax('99 path=a\n'),
      'TAR_PAX',
      /pax records that cannot be read, from byte 0/,
    ],
    ['pax records without length', pax('path=a\n'), 'TAR_PAX', /cannot be read/],
    ['a pax size that is none', pax('10 size=-\n'), 'TAR_PAX', /pax size '-'/],
    ['one name for all files', pax('10 path=a\n', 'g'), 'TAR_PAX', /one name or size to all files/],
    [
      'a size without digits',
      changed((header) => header.write('0000x000000', 124, 'latin1')),
      'TAR_NUMBER',
      /octal digits/,
    ],
    ['a file without name', changed((header) => header.fill(0, 0, 100)), 'TAR_NAME', /has no name/],
    [
      'two archives in one file',
      Buffer.concat([one, one]),
      'TAR_TRAILING',
      /ends at byte 2048, and something follows/,
    ],
    [
      'an archive without end',
      one.subarray(0, 2048),
      'TAR_TRUNCATED',
      /truncated at byte 2048: the archive has no end/,
    ],
    [
      'a file cut in two',
      one.subarray(0, 1540),
      'TAR_TRUNCATED',
      /needs the bytes up to 1542, truncated: the file ends at 1540/,
    ],
  ] as const) {
    it(what, async () => {
      const error = await refusal(bytes);
      expect(error.code).to.equal(code);
      expect(error.message).to.match(says);
      expect(error.file).to.equal('x.tar');
    });
  }

  it('with any bit of a header flipped', async () => {
    for (let bit = 0; bit < 512 * 8; bit += 7) {
      const damaged = Buffer.from(one);
      damaged[1024 + (bit >> 3)] = (damaged[1024 + (bit >> 3)] as number) ^ (1 << (bit & 7));
      const error = await list(damaged).then(
        () => undefined,
        (cause: unknown) => cause,
      );
      // The bytes behind the checksum's digits do not count.
      if (error === undefined) expect([1024 + 154, 1024 + 155]).to.include(1024 + (bit >> 3));
      else expect(error).to.be.instanceOf(DataError).with.property('code', 'TAR_CHECKSUM');
    }
  });

  it('made by GNU tar: links, and sparse files', async function () {
    if (!has('tar')) skip(this, 'there is no tar');
    const own = join(folder.path, 'odd');
    mkdirSync(own);
    const file = put(join(own, 'a.jpg'), 'contents');
    symlinkSync('a.jpg', join(own, 'b.jpg'));
    linkSync(file, join(own, 'c.jpg'));
    const sparse = join(own, 'd.jpg');
    writeFileSync(sparse, 'x');
    truncateSync(sparse, 2 ** 20);
    const pack = (paths: string[], ...flags: string[]) =>
      gnuTar(join(folder.path, 'odd.tar'), own, paths, flags);
    expect(await refusal(pack([join(own, 'b.jpg')]))).to.include({ code: 'TAR_LINK' });
    expect(await refusal(pack([file, join(own, 'c.jpg')]))).to.include({ code: 'TAR_LINK' });
    expect(await refusal(pack([sparse], '--sparse', '--format=gnu'))).to.include({ code: 'TAR_SPARSE' });
    expect(await refusal(pack([sparse], '--sparse', '--format=pax'))).to.include({ code: 'TAR_SPARSE' });
    expect(
      await list(pack([file, join(own, 'b.jpg')], '--dereference', '--hard-dereference')),
    ).to.have.length(2);
  });
});
