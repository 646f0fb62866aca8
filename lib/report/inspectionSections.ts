// The sections of a report about one model's answers: confusion matrix, scores per class, the worst mistakes.

import { bar, type Html, html, type Part, percent, table, whole } from './html.ts';
import type { Inspection, Mistake } from './inspect.ts';

/** The most classes whose confusion matrix is shown whole. */
const widestMatrix = 40;

/** The most classes whose scores are shown. */
const longestTable = 200;

/** A cell of the matrix: its share of its row as colour, right answers in one, wrong ones in another. */
function cell(count: number, images: number, row: number, column: number, names: readonly string[]): Html {
  if (count === 0) return html`<td class="zero" title="${names[row]} as ${names[column]}: 0">·</td>`;
  const share = images === 0 ? 0 : count / images;
  const strength = (0.12 + 0.88 * Math.sqrt(share)).toFixed(2);
  const over = Number(strength) > 0.6 ? ' over' : '';
  const hue = row === column ? 'heat' : 'wrong'; // names of colours in the style
  const words = `${names[row]} as ${names[column]}: ${count} of ${images} (${percent(share)})`;
  return html`<td class="some${over}" style="background:rgba(var(--${hue}),${strength})" title="${words}">${count}</td>`;
}

function matrix({ evaluation, classes }: Inspection): Html {
  const { confusion } = evaluation;
  if (confusion.length > widestMatrix) return confusedPairs(confusion, classes);
  const head = classes.map((name) => html`<th scope="col" class="turn"><span>${name}</span></th>`);
  const rows = confusion.map((counts, row) => {
    const images = counts.reduce((sum, count) => sum + count, 0);
    const cells = counts.map((count, column) => cell(count, images, row, column, classes));
    return html`<tr><th scope="row">${classes[row]}</th>${cells}</tr>\n`;
  });
  return html`<h3>Confusion matrix</h3>
<p class="note">Rows: what the images are; columns: what they were taken for. Colour is the share of the row.</p>
<div class="scroll"><table class="confusion"><thead><tr><td></td>${head}</tr></thead><tbody>${rows}</tbody></table></div>`;
}

/** In place of a matrix too large to read: the pairs that are confused most. */
function confusedPairs(confusion: readonly (readonly number[])[], classes: readonly string[]): Html {
  const pairs = confusion
    .flatMap((counts, row) =>
      counts.map((count, column) => ({ row, column, count, images: counts.reduce((a, b) => a + b, 0) })),
    )
    .filter(({ row, column, count }) => row !== column && count > 0)
    .sort((a, b) => b.count - a.count)
    .slice(0, widestMatrix);
  return html`<h3>Most confused</h3>
${table(
  [
    { title: 'is' },
    { title: 'taken for' },
    { title: 'images', number: true },
    { title: 'share', number: true },
  ],
  pairs.map(({ row, column, count, images }) => [
    classes[row],
    classes[column],
    count,
    percent(count / images),
  ]),
  { caption: `${classes.length} classes: too many for a matrix; eval --json prints it.` },
)}`;
}

function perClass({ evaluation }: Inspection): Html {
  const rows = evaluation.perClass
    .toSorted((a, b) => (a.top1 ?? 2) - (b.top1 ?? 2))
    .slice(0, longestTable)
    .map(({ class: name, images, top1, precision }) => [name, images, bar(top1), bar(precision)]);
  const more = evaluation.perClass.length - rows.length;
  return html`<h3>Classes</h3>
${table(
  [{ title: 'class' }, { title: 'images', number: true }, { title: 'recognized' }, { title: 'precision' }],
  rows,
  { caption: `Worst recognized first${more > 0 ? `; ${more} more are left out` : ''}.` },
)}`;
}

const jpeg = (bytes: Uint8Array): string => `data:image/jpeg;base64,${Buffer.from(bytes).toString('base64')}`;

function mistakeFigure(mistake: Mistake, classes: readonly string[]): Html {
  const { file, label, answer, labelProbability, answerProbability, picture, explained } = mistake;
  const [is, called] = [classes[label], classes[answer]];
  const second =
    explained === undefined
      ? undefined
      : html`<img src="${jpeg(explained)}" alt="where ${called} was seen" loading="lazy">`;
  return html`<figure><div class="pair${explained === undefined ? ' one' : ''}">
<img src="${jpeg(picture)}" alt="${is}: ${file}" loading="lazy">${second}</div>
<figcaption><span class="wrong">${called}</span> ${percent(answerProbability, 0)}, is
<span class="right">${is}</span> ${percent(labelProbability, labelProbability < 0.01 ? 2 : 0)}
<span class="file">${file}</span></figcaption></figure>
`;
}

function gallery({ mistakes, classes, wrong, evaluation }: Inspection): Html {
  if (wrong === 0) return html`<h3>Mistakes</h3><p>None: every image was recognized.</p>`;
  const beside = mistakes.some(({ explained }) => explained !== undefined)
    ? ' The right half shows where the network saw its answer (Grad-CAM, Selvaraju et al. 2017): from violet, little, to yellow, most.'
    : '';
  return html`<h3>Worst mistakes</h3>
<p class="note">${whole(wrong)} of ${whole(evaluation.images)} images are taken for something else; these got the least
probability for what they are.${beside}</p>
<div class="gallery">${mistakes.map((mistake) => mistakeFigure(mistake, classes))}</div>`;
}

/** What one model answers. */
export function inspectionSection(title: Part, inspection: Inspection, of: string): Html {
  const { images, top1, top5, loss } = inspection.evaluation;
  return html`<h2>${title}</h2>
<p>${whole(images)} validation images, ${of}: top-1 ${percent(top1)}, top-5 ${percent(top5)}, loss ${loss.toFixed(3)}.</p>
<div class="beside"><div>${matrix(inspection)}</div><div>${perClass(inspection)}</div></div>
${gallery(inspection)}`;
}
