// TFRecord, the framing of TensorBoard's event files: length, checksum, bytes, checksum. Knows no event.

/** Castagnoli's polynomial, reflected: the CRC-32C of RFC 3720, appendix B.4. zlib has another polynomial. */
const polynomial = 0x82f63b78;

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ polynomial : crc >>> 1;
  return crc;
});

/** CRC-32C, from 0 to 2^32 - 1. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ (table[(crc ^ byte) & 0xff] as number);
  return (crc ^ 0xffffffff) >>> 0;
}

/** The checksum as records keep it, so that a checksum over bytes that hold checksums is none of a kind: rotated, plus a constant. */
export function maskedCrc32c(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** Bytes before and after the contents of a record. */
const [headBytes, tailBytes] = [12, 4];

/** Contents as a record: u64 length, u32 checksum of the length, the bytes, u32 checksum of them; little-endian. */
export function encodeRecord(contents: Uint8Array): Uint8Array {
  const record = new Uint8Array(headBytes + contents.byteLength + tailBytes);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(contents.byteLength), true);
  view.setUint32(8, maskedCrc32c(record.subarray(0, 8)), true);
  record.set(contents, headBytes);
  view.setUint32(headBytes + contents.byteLength, maskedCrc32c(contents), true);
  return record;
}
