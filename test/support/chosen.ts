// Which devices tests are to run on: DEVICES=cuda, or several separated by commas. Default: all that are there.

const chosen = (process.env.DEVICES ?? 'cpu,cudasim,cuda').split(',').filter((name) => name !== '');

/** The names, as `openDevice` takes them. */
export const chosenDevices: readonly string[] = chosen;

/** Whether one of them is of this kind: `cpu`, `cudasim`, `cuda`. */
export const isChosen = (kind: string): boolean => chosen.some((name) => name.split(':')[0] === kind);
