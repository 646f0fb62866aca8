// What a JPEG's markers say of its memory, so that no small file makes its decoder take much.

/** As in native/images/jpeg.cc: bytes that a decoder may keep, and more for each byte of the file. */
const maxMemory = 48 * 2 ** 20;
const maxMemoryPerByte = 64;

/** Coefficients of a pixel: two bytes of lightness, and two more for two kinds of colour of a quarter of the pixels each. */
const bytesPerPixel = 3;

/**
 * Throws where a JPEG that is decoded in several scans, all of whose coefficients its decoder keeps, is too large for its
 * bytes. Anything else passes, other formats too: it is for the decoder to say what is wrong with it.
 */
export function checkJpegMemory(bytes: Uint8Array): void {
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return;
  const u16 = (at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  let pixels = 0;
  let components = 0;
  let progressive = false;
  for (let at = 2; at + 9 < bytes.length; ) {
    if (bytes[at] !== 0xff) {
      at += 1; // fill, or garbage that libjpeg passes over
      continue;
    }
    const marker = bytes[at + 1] as number;
    if (isFrame(marker)) {
      progressive = (marker & 3) === 2;
      pixels = u16(at + 5) * u16(at + 7);
      components = bytes[at + 9] as number;
    } else if (marker === 0xda) {
      const severalScans = progressive || (bytes[at + 4] as number) < components;
      if (severalScans && pixels * bytesPerPixel > maxMemory + maxMemoryPerByte * bytes.length) {
        throw new Error('too large for a progressive JPEG of so few bytes');
      }
      return;
    }
    // Markers without a segment: fill, restarts, the start of an image.
    const alone = marker === 0xff || marker === 0 || marker === 1 || (marker >= 0xd0 && marker <= 0xd8);
    at += marker === 0xff ? 1 : alone ? 2 : 2 + u16(at + 2);
  }
}

/** SOF0 to SOF15, among which there are three other markers: tables, extensions, conditioning. */
const isFrame = (marker: number): boolean =>
  marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
