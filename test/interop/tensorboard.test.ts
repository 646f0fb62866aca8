// The format of TensorBoard's event files: checksums by published vectors, framing, messages byte for byte.

import { expect } from 'chai';
import { decodeEvent, startEvent, summaryEvent, versionEvent } from '../../lib/interop/tensorboard/events.ts';
import { crc32c, encodeRecord, maskedCrc32c } from '../../lib/interop/tensorboard/records.ts';
import { readRecords } from '../support/eventFile.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe("TensorBoard's event files", () => {
  it('have the checksum of RFC 3720, appendix B.4', () => {
    const rising = Uint8Array.from({ length: 32 }, (_, i) => i);
    const vectors: [Uint8Array, number][] = [
      [new Uint8Array(0), 0],
      [new TextEncoder().encode('123456789'), 0xe3069283],
      [new Uint8Array(32), 0x8a9136aa],
      [new Uint8Array(32).fill(0xff), 0x62a8ab43],
      [rising, 0x46dd794e],
      [rising.toReversed(), 0x113fdb5c],
    ];
    for (const [bytes, crc] of vectors) expect(crc32c(bytes)).to.equal(crc);
  });

  it('mask it', () => {
    // By hand: 0x8a9136aa turned right by 15 bits is 0x6d551522; plus 0xa282ead8.
    expect(maskedCrc32c(new Uint8Array(32))).to.equal(0x0fd7fffa);
  });

  it('frame what they hold, an empty record too', () => {
    const contents = [new Uint8Array(0), Uint8Array.of(1, 2, 3), new Uint8Array(70_000).fill(7)];
    const bytes = Buffer.concat(contents.map(encodeRecord));
    expect(readRecords(bytes).map(hex)).to.deep.equal(contents.map(hex));
    const damaged = Uint8Array.from(bytes);
    damaged[16 + 13] = 9;
    expect(() => readRecords(damaged)).to.throw();
  });

  it('hold the messages of the standard, byte for byte', () => {
    // wall_time 1: 09 and a double; file_version 3: 1a.
    expect(hex(versionEvent(2))).to.equal(
      `090000000000000040${'1a'}0d${Buffer.from('brain.Event:2').toString('hex')}`,
    );
    // step 2: 10; session_log 7: 3a with status 1: 08 01.
    expect(hex(startEvent(2, 300))).to.equal('090000000000000040' + '10ac02' + '3a020801');
    // summary 5: 2a with value 1: 0a with tag 1: 0a and simple_value 2: 15 and a float.
    expect(hex(summaryEvent(2, 3, [{ tag: 'a', scalar: 1 }]))).to.equal(
      '090000000000000040' + '1003' + '2a0a' + '0a08' + '0a0161' + '150000803f',
    );
  });

  it('hold text, pictures and histograms', () => {
    const histogram = { min: -1, max: 2, count: 3, sum: 1, sumOfSquares: 5, limits: [0, 2], counts: [1, 2] };
    const png = Uint8Array.of(9);
    const event = decodeEvent(
      summaryEvent(0, 1, [
        { tag: 't', text: '| a |' },
        { tag: 'h', histogram },
        { tag: 'i', png, width: 4, height: 5 },
      ]),
    );
    const stringVal = [Buffer.from('| a |')];
    expect(event.summary).to.deep.equal({
      value: [
        {
          tag: 't',
          tensor: { dtype: 7, tensorShape: { dim: [{ size: 1 }] }, stringVal },
          metadata: { pluginData: { pluginName: 'text' } },
        },
        {
          tag: 'h',
          histo: { min: -1, max: 2, num: 3, sum: 1, sumSquares: 5, bucketLimit: [0, 2], bucket: [1, 2] },
        },
        { tag: 'i', image: { width: 4, height: 5, colorspace: 3, encodedImageString: Buffer.from(png) } },
      ],
    });
  });
});
