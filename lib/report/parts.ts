// What pages are made of, for whoever writes one of their own.

export { type Chart, figure, type Point, type Series } from './chart.ts';
export { bar, type Column, decimal, type Html, html, type Part, percent, table, whole } from './html.ts';
export { type Page, pageText } from './page.ts';
