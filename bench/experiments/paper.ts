// What the paper reports (Chollet 2017, arXiv 1610.02357), experiment by experiment: numbers of its tables, and in words what
// its figures show, since those are published as pictures only.

/** The experiments that can be repeated. */
export const experimentNames = ['figure6', 'figure9', 'figure10', 'table3', 'segments'] as const;

export type ExperimentName = (typeof experimentNames)[number];

/** A table of the paper; the first row is its head. Numbers below 1 are shares. */
export interface PaperTable {
  readonly caption: string;
  readonly rows: readonly (readonly (string | number)[])[];
}

/** What the paper has about an experiment. */
export interface PaperAccount {
  readonly title: string;
  /** Its section. */
  readonly section: string;
  /** What it says. */
  readonly says: readonly string[];
  readonly tables: readonly PaperTable[];
}

export const paper: Readonly<Record<ExperimentName, PaperAccount>> = {
  figure6: {
    title: 'Figure 6: Xception and Inception V3',
    section: 'section 4.5.1, figure 6 and table 1',
    says: [
      'On ImageNet, Xception is a little better than Inception V3 by the end, with nearly as many parameters. ' +
        'The figure shows top-1 accuracy on the validation images over gradient steps.',
      'Both were trained with the recipe that had been tuned for Inception V3, apart from weight decay.',
    ],
    tables: [
      {
        caption: 'Table 1: ImageNet, one crop, one model',
        rows: [
          ['network', 'top-1', 'top-5'],
          ['VGG-16', 0.715, 0.901],
          ['ResNet-152', 0.77, 0.933],
          ['Inception V3', 0.782, 0.941],
          ['Xception', 0.79, 0.945],
        ],
      },
    ],
  },
  figure9: {
    title: 'Figure 9: with and without residual connections',
    section: 'section 4.6 and figure 9',
    says: [
      'On ImageNet, residual connections are essential for convergence, in speed and in final accuracy.',
      'The comparison may be uncharitable, the paper adds: the model without them was trained with the recipe of the one ' +
        'with them.',
      'They are a matter of this architecture: a stack of separable convolutions in the style of VGG did well without.',
    ],
    tables: [],
  },
  figure10: {
    title: 'Figure 10: activations between depthwise and pointwise convolution',
    section: 'section 4.7 and figure 10',
    says: [
      'On ImageNet, no activation converges faster and ends better than ReLU or ELU between the two convolutions.',
      'That is contrary to what Szegedy et al. found for Inception modules; the paper supposes that the depth of the ' +
        'features matters: for shallow ones, of one channel as here, an activation loses information.',
    ],
    tables: [],
  },
  table3: {
    title: 'Table 3: size and speed',
    section: 'section 4.5.2 and table 3',
    says: [
      'Training on ImageNet with synchronous gradient descent on 60 NVIDIA K80 GPUs.',
      'The paper expects the difference in speed to go with better depthwise convolutions.',
    ],
    tables: [
      {
        caption: 'Table 3',
        rows: [
          ['network', 'parameters', 'steps/s'],
          ['Inception V3', 23_626_728, 31],
          ['Xception', 22_855_952, 28],
        ],
      },
    ],
  },
  segments: {
    title: 'The continuum between regular and depthwise convolution',
    section: 'sections 1.2 and 5',
    says: [
      'Between a regular convolution, one segment of all channels, and a depthwise one, a segment for each channel, there is ' +
        'a spectrum of which Inception modules are a point. The paper names it, reports no numbers, and leaves it to future work.',
    ],
    tables: [],
  },
};

/** How the paper trained on ImageNet, for the list of what is different here: words and value. */
export const paperConditions: readonly (readonly [words: string, value: string])[] = [
  ['images', 'ImageNet, 1,000 classes'],
  ['validation', 'ImageNet, 50,000 images'],
  ['image size', '299 pixels'],
  ['hardware', '60 NVIDIA K80 GPUs, synchronous (section 4.4)'],
  ['optimizer', 'SGD, momentum 0.9 (section 4.2)'],
  ['learning rate', '0.045, times 0.94 every 2 epochs (section 4.2)'],
  ['weight decay', '1e-5 for Xception, 4e-5 for Inception V3 (section 4.3)'],
  ['dropout', '0.5 before the classifier (section 4.3)'],
  ['evaluation', 'Polyak average (section 4.2)'],
  ['images per step', 'not said'],
  ['length', 'about 3 days (section 4.4)'],
  ['seeds', 'one run each'],
];
