// The live page: what the server sends once, and the script's own look. Numbers and curves come later, by themselves.

import { charting } from '../client.ts';
import { type Html, html } from '../html.ts';
import { colorOf, tile } from '../runSections.ts';
import { style } from '../style.ts';
import { liveClient } from './client.ts';

export const liveScript = charting + liveClient;

export const liveStyle = `${style}
header { display: flex; flex-wrap: wrap; gap: .3rem 1.5rem; align-items: baseline; justify-content: space-between; }
#link { display: flex; gap: .8rem; align-items: center; color: var(--soft); font-size: .875rem; margin: 0; }
button { font: inherit; font-size: .875rem; color: var(--text); background: var(--card); border: 1px solid var(--line); border-radius: .4rem; padding: .25rem .8rem; cursor: pointer; }
button:hover { border-color: var(--soft); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.run { margin: 1.25rem 0 0; }
.run h2 { border: 0; padding: 0; margin: 1.5rem 0 .25rem; }
.state { margin: .25rem 0 .6rem; max-width: none; }
.badge { display: inline-block; font-size: .8rem; font-weight: 600; border: 1px solid currentColor; border-radius: 1rem; padding: 0 .65rem; margin-right: .6rem; color: var(--soft); }
.badge[data-state=training], .badge[data-state=evaluating], .badge[data-state=starting] { color: var(--accent); }
.badge[data-state=finished] { color: var(--good); }
.badge[data-state=failed], .badge[data-state=killed], .badge[data-state=silent] { color: var(--bad); }
.progress { display: flex; flex-wrap: wrap; gap: .2rem 1rem; align-items: center; font-variant-numeric: tabular-nums; }
progress { flex: 1 1 16rem; height: .6rem; appearance: none; border: 0; border-radius: .3rem; overflow: hidden; background: var(--grid); }
progress::-webkit-progress-bar { background: var(--grid); }
progress::-webkit-progress-value { background: var(--series-1); }
progress::-moz-progress-bar { background: var(--series-1); }
.run .tiles { margin: .9rem 0 .5rem; }
.plot { min-height: 17rem; }
.chart[hidden], section[hidden] { display: none; }
.samples { display: grid; grid-template-columns: repeat(auto-fill, minmax(6.5rem, 1fr)); gap: .75rem; padding: 0; margin: .75rem 0; list-style: none; max-width: none; }
.samples div { aspect-ratio: var(--shape, 1); background-repeat: no-repeat; background-size: 100% auto; border-radius: .35rem; border: 1px solid var(--line); }
.samples span { display: block; font-size: .8rem; color: var(--soft); overflow-wrap: anywhere; }
.coarse div { image-rendering: pixelated; }
.lost #link { color: var(--bad); }
ul.files { list-style: none; padding: 0; font-size: .875rem; max-width: none; }
ul.files li { padding: .2rem 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
ul.files span { color: var(--soft); }
@media (max-width: 30rem) { .samples { grid-template-columns: repeat(3, 1fr); } }
@media (prefers-reduced-motion: no-preference) { progress::-webkit-progress-value { transition: inline-size .4s; } }
`;

/** A value that the script fills in. */
const blank = (field: string): Html => html`<span data-field="${field}">–</span>`;

function runSection(name: string, i: number, several: boolean): Html {
  const key = several ? html`<span class="key key-${colorOf(i)}"></span>` : undefined;
  return html`<section class="run" data-run="${i}" data-name="${name}" data-color="${colorOf(i)}" aria-label="${name}">
${several ? html`<h2>${key}${name}</h2>` : undefined}
<p class="state" role="status"><span class="badge" data-field="state">…</span>${blank('sentence')}</p>
<div class="progress"><progress max="1" value="0" aria-label="done"></progress>${blank('done')}</div>
<dl class="tiles">
${tile('Time left', blank('left'), blank('of'))}
${tile('Speed', blank('speed'), blank('step-time'))}
${tile('Loss', blank('loss'), 'of the epoch so far')}
${tile('Top-1', blank('top1'), 'of the epoch so far')}
${tile('Data wait', blank('wait'), 'of the training time')}
${tile('Memory', blank('memory'), blank('device'))}
</dl>
<p class="note" data-field="brake"></p>
</section>
`;
}

const chart = (id: string, title: string, detail: string): Html =>
  html`<figure class="chart" hidden><figcaption>${title} <small>${detail}</small></figcaption>
<div class="plot" id="${id}" role="img" aria-label="${title}"></div></figure>
`;

/** The page for runs of these names. */
export function livePage(names: readonly string[]): string {
  const several = names.length > 1;
  const title = several ? `${names.length} runs` : `${names[0]}`;
  const sampled = names.map(
    (
      name,
      i,
    ) => html`<section data-samples="${i}" hidden><h3>${several ? `${name}, step ` : 'Step '}<span></span></h3>
<ul class="samples"></ul></section>
`,
  );
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/style.css">
</head>
<body>
<header><h1>${title}</h1>
<div id="link"><span id="connection" role="status">connecting</span><button type="button" id="pause" aria-pressed="false">Pause</button></div></header>
<main>
<noscript><p>This page needs JavaScript.</p></noscript>
${names.map((name, i) => runSection(name, i, several))}
<h2>Curves</h2>
<p class="note" id="empty">Nothing is recorded yet: a line is written every few steps (--log-every).</p>
<div class="charts">
${chart('loss', 'Loss', 'training smoothed; validation after each epoch')}
${chart('top1', 'Top-1 accuracy', 'training smoothed; validation after each epoch')}
${chart('speed', 'Images per second', 'between logged steps')}
${chart('wait', 'Data wait', 'share of the time in which the device waited')}
${chart('lr', 'Learning rate', 'of logged steps')}
</div>
<p class="note">Drag across a chart to enlarge a part of it, click twice to see all of it again; click a name to hide its curve.</p>
<section id="seen" hidden><h2>What the network sees</h2>
<p class="note">Some images of a batch as they went to the device, changed at random as the training asks for, with their labels.</p>
${sampled}</section>
<section id="skipped" hidden><h2>Images left out</h2><p class="note">They cannot be read.</p><ul class="files"></ul></section>
<section id="notices" hidden><h2>Notices</h2><ul class="files"></ul></section>
<section id="checkpoints" hidden><h2>Checkpoints</h2><ul class="files"></ul></section>
<section id="settings"></section>
</main>
<footer>Served on this machine only, by <code>depthwise train --dashboard</code> or <code>depthwise watch</code>.</footer>
<script src="/page.js"></script>
</body>
</html>
`.text;
}
