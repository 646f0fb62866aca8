// The look of a report: one style for light and dark, wide and narrow. Colours of series tell apart in both, also for people
// who see red and green alike (after Okabe and Ito 2008), and come with dashes.

export const style = `
:root {
  color-scheme: light dark;
  --ground: #ffffff; --card: #f6f7f9; --line: #d9dde3; --text: #1b1f24; --soft: #59626e; --accent: #0b62b8;
  --grid: #e6e9ee; --heat: 11, 98, 184; --wrong: 200, 70, 20; --good: #1a7f4b; --bad: #b3400f;
  --series-1: #0b62b8; --series-2: #d1600a; --series-3: #148a5f; --series-4: #a83e86; --series-5: #7a6a00;
  --series-6: #2b90c9; --series-7: #8a4b2a; --series-8: #5b5f66;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --card: #1c2026; --line: #343b45; --text: #e7eaee; --soft: #9aa5b1; --accent: #6cb1f5;
    --grid: #2a3038; --heat: 90, 165, 240; --wrong: 235, 125, 70; --good: #5fcf97; --bad: #f39a6b;
    --series-1: #62aef5; --series-2: #f39449; --series-3: #4fc795; --series-4: #e087c4; --series-5: #d5c04a;
    --series-6: #8fd3f5; --series-7: #cf9877; --series-8: #aab2bc;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 1.5rem clamp(1rem, 4vw, 2.5rem) 4rem; max-width: 76rem;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  background: var(--ground); color: var(--text);
}
h1 { font-size: clamp(1.4rem, 1rem + 1.6vw, 2rem); line-height: 1.2; margin: 0 0 .35rem; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.75rem 0 .75rem; padding-top: 1rem; border-top: 1px solid var(--line); overflow-wrap: anywhere; }
ul { padding-left: 1.2rem; max-width: 75ch; }
ul.note { color: var(--soft); }
h3 { font-size: 1rem; margin: 1.75rem 0 .6rem; }
p { max-width: 70ch; margin: .5rem 0; }
a { color: var(--accent); }
code { font: .9em/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.lead, .note, figcaption { color: var(--soft); }
.note { font-size: .875rem; }
figcaption.note { max-width: 70ch; margin-bottom: .4rem; }
.lead { margin: 0 0 1.25rem; max-width: none; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1.25rem 0; padding: 0; }
.tiles > div { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .7rem .9rem; }
.tiles dt { color: var(--soft); font-size: .8rem; }
.tiles dd { margin: 0; font-size: 1.45rem; font-weight: 600; font-variant-numeric: tabular-nums; line-height: 1.25; }
.tiles dd small { display: block; font-size: .8rem; font-weight: 400; color: var(--soft); }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .32rem .7rem; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { border-bottom: 2px solid var(--line); font-weight: 600; font-size: .82rem; color: var(--soft); vertical-align: bottom; }
tbody th { font-weight: 500; }
tbody th:has(.key) { white-space: nowrap; }
.n { text-align: right; white-space: nowrap; }
tr.differs td { font-weight: 600; }
.key { display: inline-block; width: .75em; height: .75em; border-radius: .2em; margin-right: .45em; }
${[1, 2, 3, 4, 5, 6, 7, 8].map((i) => `.key-${i} { background: var(--series-${i}); }`).join(' ')}
.bar { display: inline-block; vertical-align: middle; width: 5.5rem; height: .55rem; border-radius: .3rem; background: var(--grid); overflow: hidden; margin-right: .5rem; }
.bar i { display: block; height: 100%; background: var(--series-1); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1rem; }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1.5rem; align-items: start; }
.uneven { grid-template-columns: minmax(0, 1fr); }
@media (min-width: 60rem) { .uneven { grid-template-columns: minmax(0, 1fr) minmax(0, 2fr); } }
figure { margin: 0; min-width: 0; }
figure.chart { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .8rem .8rem .5rem; }
figure.chart figcaption { font-size: .9rem; margin: 0 .2rem .4rem; color: var(--text); font-weight: 600; }
figure.chart figcaption small { font-weight: 400; color: var(--soft); }
.plot { min-height: 16rem; }
.uplot, .uplot *, .uplot *::before, .uplot *::after { box-sizing: border-box; }
.uplot .u-legend { text-align: left; margin: .3rem 0 0; font-size: .8rem; line-height: 1.35; }
.uplot .u-legend th, .uplot .u-legend td { border: 0; padding: .05rem .2rem; vertical-align: middle; }
.uplot .u-legend .u-series { padding-right: .6rem; }
.uplot .u-legend th { font-weight: 500; }
.uplot .u-legend .u-inline .u-label::after, .uplot .u-inline .u-series th::after { content: ""; }
.uplot .u-legend .u-value { color: var(--soft); min-width: 2.6rem; display: inline-block; }
.uplot .u-select { background: rgba(128, 140, 155, .18); }
.uplot .u-cursor-x, .uplot .u-cursor-y { border-color: var(--soft); }
table.confusion { border-collapse: separate; border-spacing: 2px; }
table.confusion th, table.confusion td { border: 0; font-size: .8rem; }
table.confusion td { min-width: 2.5rem; padding: .35rem .3rem; text-align: center; border-radius: .25rem; }
table.confusion thead th { padding: .25rem .3rem; text-align: center; vertical-align: bottom; white-space: nowrap; }
table.confusion thead th.turn { height: 5.6rem; }
table.confusion thead th.turn span { writing-mode: vertical-rl; transform: rotate(180deg); }
table.confusion tbody th { text-align: right; white-space: nowrap; }
table.confusion .zero { color: var(--soft); opacity: .55; }
table.confusion .over { color: #fff; font-weight: 600; }
@media (prefers-color-scheme: dark) { table.confusion .over { color: #10141a; } }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(13.5rem, 1fr)); gap: 1rem; margin-top: 1rem; }
.gallery figure { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; overflow: hidden; display: flex; flex-direction: column; }
.gallery .pair { display: grid; grid-template-columns: 1fr 1fr; background: var(--line); gap: 1px; }
.gallery .pair img { width: 100%; height: 9.5rem; object-fit: cover; display: block; background: var(--card); }
.gallery .one { grid-template-columns: 1fr; }
.gallery figcaption { padding: .55rem .75rem .7rem; font-size: .85rem; line-height: 1.4; color: var(--text); overflow-wrap: anywhere; }
.gallery figcaption .file { color: var(--soft); font-size: .75rem; display: block; margin-top: .25rem; }
.wrong { color: var(--bad); font-weight: 600; }
.right { color: var(--good); font-weight: 600; }
details > summary { cursor: pointer; color: var(--accent); margin: 1rem 0 .5rem; }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--soft); font-size: .85rem; }
@media (max-width: 30rem) {
  tbody th:has(.key) { white-space: normal; min-width: 8rem; }
  .bar { display: block; width: 3.6rem; margin: .3rem 0 .1rem; }
  table.confusion { border-spacing: 1px; }
  table.confusion th, table.confusion td { font-size: .7rem; }
  table.confusion td { min-width: 1.55rem; padding: .3rem .1rem; }
  table.confusion tbody th { padding: 0 .3rem 0 0; }
  body { padding-top: 1rem; }
  .gallery { grid-template-columns: 1fr; }
  .gallery .pair img { height: 11rem; }
  th, td { padding: .3rem .45rem; }
  .tiles { grid-template-columns: 1fr 1fr; }
}
@media print { body { max-width: none; } h2 { break-after: avoid; } figure { break-inside: avoid; } }
`;
