// What holds a training back: its data or its device, by how much, and what to do about it.

/** What is known of how a training goes. */
export interface BrakeFigures {
  /** Fraction of the training time in which the device had nothing to do because it waited for a batch. */
  readonly dataWait: number;
  readonly imagesPerSecond: number;
  /** Name of the device, `cpu` or `cuda:0`. */
  readonly device: string;
}

/** Below this the data are quick enough: measuring better would not pay. */
const negligible = 0.05;

const percent = (share: number): string => `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
const rate = (value: number): string => value.toFixed(value < 100 ? 1 : 0);

/** Which of the two is the brake. Data that cost less than a twentieth of the time are none. */
export const brakeOf = ({ dataWait }: BrakeFigures): 'data' | 'device' =>
  dataWait < negligible ? 'device' : 'data';

/** The same in words for people, with what would be gained and how. */
export function brakeSentence(figures: BrakeFigures): string {
  const { dataWait, imagesPerSecond, device } = figures;
  const waited = `${device} waited for data ${percent(dataWait)} of the training time`;
  if (brakeOf(figures) === 'device') {
    const faster =
      device === 'cpu' ? 'more cores, a smaller --size' : 'a larger --batch, bf16, a smaller --size';
    const shared = device === 'cpu' ? ' (decoding takes its share of the same cores)' : '';
    return `The device is the brake: ${waited}${shared}. What helps is less work for it: ${faster}.`;
  }
  const without = imagesPerSecond / Math.max(1 - dataWait, 0.01);
  const gain = `${rate(without)} images/s in place of ${rate(imagesPerSecond)}`;
  const remedy =
    'more --workers, images packed at about the size of training (depthwise pack), a faster disk';
  return `The data are the brake: ${waited}; without that it would train up to ${gain}. What helps: ${remedy}.`;
}
