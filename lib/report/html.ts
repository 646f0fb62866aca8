// HTML as text: a template tag that escapes what is put in, numbers as people read them, and tables.

/** Text that is HTML already. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  toString(): string {
    return this.text;
  }
}

/** What may stand in a template: text is escaped, lists are joined, undefined is nothing. */
export type Part = Html | string | number | undefined | readonly Part[];

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

const escaped = (text: string): string => text.replace(/[&<>"']/g, (c) => entities[c] as string);

function textOf(part: Part): string {
  if (part === undefined) return '';
  if (part instanceof Html) return part.text;
  return typeof part === 'object' ? part.map(textOf).join('') : escaped(String(part));
}

/** A template whose parts are escaped unless they are HTML. */
export const html = (strings: TemplateStringsArray, ...parts: readonly Part[]): Html =>
  new Html(strings.reduce((text, string, i) => text + textOf(parts[i - 1]) + string));

/** JSON within a script element: no text in it can end the element. */
export const jsonScript = (id: string, value: unknown): Html =>
  new Html(
    `<script type="application/json" id="${escaped(id)}">${JSON.stringify(value).replace(/</g, '\\u003c')}</script>`,
  );

/** `93.1 %`, or a dash. */
export const percent = (value: number | undefined, digits = 1): string =>
  value === undefined || !Number.isFinite(value) ? '–' : `${(100 * value).toFixed(digits)} %`;

/** A number with some decimals, or a dash. */
export const decimal = (value: number | undefined, digits = 3): string =>
  value === undefined || !Number.isFinite(value) ? '–' : value.toFixed(digits);

/** `22,855,952`, or a dash. */
export const whole = (value: number | undefined): string =>
  value === undefined || !Number.isFinite(value) ? '–' : Math.round(value).toLocaleString('en-US');

/** A share as a bar beside its number, in one of the colours of series. */
export const bar = (share: number | undefined, color = 1): Part =>
  share === undefined || !Number.isFinite(share)
    ? '–'
    : html`<span class="bar"><i style="width:${(100 * share).toFixed(0)}%${
        color === 1 ? undefined : `;background:var(--series-${color})`
      }"></i></span>${percent(share)}`;

/** A column of a table. */
export interface Column {
  readonly title: Part;
  /** Numbers stand to the right. Default false. */
  readonly number?: boolean;
}

/** A table in a frame that scrolls where it is wider than the screen. The first cell of a row is its head. */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly Part[])[],
  options: { readonly caption?: Part } = {},
): Html {
  const side = (i: number): Html => new Html(columns[i]?.number === true ? ' class="n"' : '');
  const head = columns.map(({ title }, i) => html`<th scope="col"${side(i)}>${title}</th>`);
  const body = rows.map((cells) => {
    const [first, ...rest] = cells;
    return html`<tr><th scope="row"${side(0)}>${first}</th>${rest.map(
      (cell, i) => html`<td${side(i + 1)}>${cell}</td>`,
    )}</tr>\n`;
  });
  const framed = html`<div class="scroll"><table><thead><tr>${head}</tr></thead>
<tbody>${body}</tbody></table></div>`;
  // Not a caption of the table's own, which would scroll with it.
  return options.caption === undefined
    ? framed
    : html`<figure><figcaption class="note">${options.caption}</figcaption>${framed}</figure>`;
}
