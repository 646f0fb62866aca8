// The script of the live page, as text: asks for what is new, keeps the curves' rows, and writes numbers into the page.
// It runs in browsers, so it is plain JavaScript, and it asks nobody but the server that it came from.

export const liveClient = `
(() => {
  'use strict';
  const $ = (selector, within = document) => within.querySelector(selector);
  const between = 1000; // milliseconds between questions
  const betweenHidden = 15000; // the same while nobody looks
  const patience = 10000; // milliseconds for an answer

  const runs = [...document.querySelectorAll('[data-run]')].map((section, i) => ({
    section, i, name: section.dataset.name, color: Number(section.dataset.color),
    generation: '', steps: [], epochs: [], view: undefined, drawn: '',
    samples: null, samplesAsked: null,
  }));
  const title = document.title;
  let settingsOf = '';
  let page;

  // Numbers as people read them.
  const percent = (v) => (100 * v).toFixed(1) + ' %';
  const whole = (v) => Math.round(v).toLocaleString('en-US');
  const bytes = (v) => (v < 1e9 ? (v / 1e6).toFixed(0) + ' MB' : (v / 1e9).toFixed(2) + ' GB');
  const rate = (v) => v.toFixed(v < 100 ? 1 : 0);
  const duration = (seconds) => {
    const s = Math.round(seconds);
    const [h, m] = [Math.floor(s / 3600), Math.floor((s % 3600) / 60)];
    if (h >= 48) return Math.floor(h / 24) + ' d ' + (h % 24) + ' h';
    if (h > 0) return h + ' h ' + m + ' min';
    return m > 0 ? m + ' min ' + (s % 60) + ' s' : s + ' s';
  };
  const clock = (time) => new Date(time).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'short' });

  function set(run, field, text) {
    const place = $('[data-field="' + field + '"]', run.section);
    if (place.textContent !== text) place.textContent = text;
  }

  function showRun(run) {
    const { view } = run;
    const { status } = view;
    set(run, 'state', view.state);
    $('.badge', run.section).dataset.state = view.state;
    set(run, 'sentence', view.sentence);
    set(run, 'brake', view.brake ?? '');
    if (status === null) return;
    const { step, totalSteps, stepsPerEpoch, epoch, imagesPerSecond, secondsLeft, memory } = status;
    const begun = step > 0;
    const epochs = stepsPerEpoch && totalSteps ? ' of ' + Math.ceil(totalSteps / stepsPerEpoch) : '';
    const share = totalSteps ? step / totalSteps : 0;
    const bar = $('progress', run.section);
    if (totalSteps) bar.value = share;
    else bar.removeAttribute('value');
    set(run, 'done', begun ? 'step ' + whole(step) + (totalSteps ? ' of ' + whole(totalSteps) : '') + ', epoch ' + epoch + epochs : '–');
    const ended = view.state === 'finished';
    set(run, 'left', ended ? 'none' : secondsLeft === null ? '–' : duration(secondsLeft));
    set(run, 'of', ended ? '' : 'of training, without evaluations');
    set(run, 'speed', begun ? rate(imagesPerSecond) : '–');
    set(run, 'step-time', 'images/s over the epoch');
    set(run, 'loss', begun ? status.loss.toFixed(4) : '–');
    set(run, 'top1', begun ? percent(status.top1) : '–');
    set(run, 'wait', begun ? percent(status.dataWait) : '–');
    set(run, 'memory', bytes(memory.resident));
    set(run, 'device', 'process; ' + status.device + ' at most ' + bytes(memory.devicePeak));
  }

  /** Exponential moving average over about as many rows, as the report has it. */
  function smoothed(ys, span) {
    const keep = span <= 1 ? 0 : 1 - 1 / span;
    let [sum, weight] = [0, 0];
    return ys.map((y) => {
      if (y === null) return null;
      sum = keep * sum + (1 - keep) * y;
      weight = keep * weight + (1 - keep);
      return sum / weight;
    });
  }

  const curve = (label, color, line, rows, column, smooth) => {
    const known = rows.filter((row) => row[column] !== null);
    const ys = known.map((row) => row[column]);
    return { label, color, line, xs: known.map((row) => row[0]), ys: smooth ? smoothed(ys, ys.length / 40) : ys };
  };

  /** The curves of a chart: for one run each in a colour of its own, for several in the run's. */
  function curvesOf(run, name, columns) {
    const alone = runs.length === 1;
    const rows = run.unfinished.steps ? [...run.steps, run.unfinished.steps] : run.steps;
    const epochRows = run.unfinished.epochs ? [...run.epochs, run.unfinished.epochs] : run.epochs;
    if (columns.epochs === undefined) {
      return [curve(alone ? name : run.name, run.color, 'solid', rows, columns.step)];
    }
    const [raw, average] = columns.epochs;
    const own = (text) => (alone ? text : run.name + ', ' + text);
    return [
      ...(alone ? [curve('training', 1, 'faint', rows, columns.step)] : []),
      curve(alone ? 'smoothed' : run.name, run.color, 'solid', rows, columns.step, true),
      curve(own('validation'), alone ? 2 : run.color, 'dashed', epochRows, raw),
      curve(own('Polyak average'), alone ? 3 : run.color, 'dashed', epochRows, average),
    ];
  }

  const charted = [
    { id: 'loss', name: 'loss', format: 'number', step: 1, epochs: [3, 5] },
    { id: 'top1', name: 'top-1', format: 'percent', step: 2, epochs: [2, 4] },
    { id: 'speed', name: 'images/s', format: 'number', step: 4 },
    { id: 'wait', name: 'data wait', format: 'percent', step: 5 },
    { id: 'lr', name: 'learning rate', format: 'rate', step: 3 },
  ];

  function drawCharts() {
    let any = false;
    for (const { id, name, format, ...columns } of charted) {
      const curves = runs.flatMap((run) => (run.view ? curvesOf(run, name, columns) : [])).filter(({ xs }) => xs.length > 0);
      const place = document.getElementById(id);
      place.closest('figure').hidden = curves.length === 0;
      if (curves.length === 0) continue;
      any = true;
      const last = curves.map(({ label, ys }) => label + ' ' + (format === 'percent' ? percent(ys.at(-1)) : String(Number(ys.at(-1).toPrecision(4)))));
      place.setAttribute('aria-label', place.closest('figure').querySelector('figcaption').firstChild.textContent.trim() + ', newest values: ' + last.join('; '));
      charts.put(place, {
        xLabel: 'step', format, scale: 'linear', bands: [],
        series: curves.map(({ label, color, line }) => ({ label, color, line })),
        data: uPlot.join(curves.map(({ xs, ys }) => [xs, ys])),
      });
    }
    $('#empty').hidden = any;
  }

  async function showSamples(run) {
    run.samplesAsked = run.samples;
    const path = '/api/runs/' + run.i + '/samples';
    const answer = await fetch(path + '.json', { cache: 'no-store', signal: AbortSignal.timeout(patience) });
    if (!answer.ok) return;
    const { step, width, height, labels } = await answer.json();
    const image = new Image();
    image.src = path + '.png?at=' + run.samples;
    await image.decode();
    const section = $('[data-samples="' + run.i + '"]');
    $('h3 span', section).textContent = whole(step);
    const list = $('ul', section);
    list.classList.toggle('coarse', width < 150);
    list.replaceChildren(...labels.map((label, i) => {
      const item = document.createElement('li');
      const picture = document.createElement('div');
      const words = document.createElement('span');
      picture.setAttribute('role', 'img');
      picture.setAttribute('aria-label', 'an image labelled ' + label);
      picture.style.setProperty('--shape', width + '/' + height);
      picture.style.backgroundImage = 'url("' + image.src + '")';
      picture.style.backgroundPosition = '0 ' + (labels.length === 1 ? 0 : (100 * i) / (labels.length - 1)) + '%';
      words.textContent = label;
      item.append(picture, words);
      return item;
    }));
    section.hidden = false;
    $('#seen').hidden = false;
  }

  /** A list of [text, what is said of it]; its section is there only if it has any. */
  function list(id, items) {
    const section = document.getElementById(id);
    section.hidden = items.length === 0;
    const key = JSON.stringify(items);
    if (section.dataset.shown === key) return;
    section.dataset.shown = key;
    $('ul', section).replaceChildren(...items.map(([text, words]) => {
      const item = document.createElement('li');
      const aside = document.createElement('span');
      aside.textContent = words === '' ? '' : ' ' + words;
      item.append(text, aside);
      return item;
    }));
  }

  function showLists() {
    const of = (read) => runs.flatMap((run) => (run.view ? read(run.view, runs.length === 1 ? '' : run.name + ': ') : []));
    list('skipped', of(({ status }, name) => {
      if (!status || status.skipped.count === 0) return [];
      const rest = status.skipped.count - status.skipped.some.length;
      return [
        ...status.skipped.some.map(([file, reason]) => [name + file, reason.startsWith(file) ? reason.slice(file.length).replace(/^[: ]+/, '') : reason]),
        ...(rest > 0 ? [[name + 'and ' + whole(rest) + ' more', '']] : []),
      ];
    }));
    list('notices', of(({ status }, name) => (status ? status.notices : []).map((text) => [name + text, ''])));
    list('checkpoints', of(({ checkpoints }, name) => checkpoints.map(({ step, time }) => [name + 'step ' + whole(step), clock(time)])));
  }

  async function showSettings() {
    const key = runs.map(({ view }) => view?.configured).join();
    if (key === settingsOf) return;
    const answer = await fetch('/api/settings', { cache: 'no-store', signal: AbortSignal.timeout(patience) });
    if (!answer.ok) return;
    $('#settings').innerHTML = await answer.text(); // its text is escaped where it is made
    settingsOf = key;
  }

  async function ask(run) {
    const query = new URLSearchParams({ generation: run.generation, steps: run.steps.length, epochs: run.epochs.length });
    const answer = await fetch('/api/runs/' + run.i + '?' + query, { cache: 'no-store', signal: AbortSignal.timeout(patience) });
    if (!answer.ok) throw new Error(await answer.text());
    const view = await answer.json();
    page ??= view.page;
    if (view.page !== page) location.reload(); // another server, of other runs
    if (view.generation !== run.generation) {
      run.generation = view.generation;
      run.steps = [];
      run.epochs = [];
    }
    run.steps.push(...view.steps.rows);
    run.epochs.push(...view.epochs.rows);
    run.unfinished = { steps: view.steps.unfinished, epochs: view.epochs.unfinished };
    run.view = view;
    run.samples = view.samples;
  }

  function showTitle() {
    const [{ view }] = runs;
    const status = view?.status;
    const share = runs.length === 1 && status?.totalSteps ? Math.floor((100 * status.step) / status.totalSteps) + ' % · ' : '';
    document.title = share + title;
  }

  function connected(text, lost) {
    document.body.classList.toggle('lost', lost);
    const place = $('#connection');
    if (place.textContent !== text) place.textContent = text;
  }

  let failures = 0;
  let timer;
  let paused = false;
  let asking = false;
  async function look() {
    clearTimeout(timer);
    if (asking || paused) return;
    asking = true;
    try {
      for (const run of runs) await ask(run);
      failures = 0;
      const key = runs.map((run) => [run.generation, run.steps.length, run.epochs.length, run.unfinished.steps?.[0]]).join();
      runs.forEach(showRun);
      if (drawCharts.key !== key) drawCharts();
      drawCharts.key = key;
      showLists();
      showTitle();
      await showSettings();
      for (const run of runs) {
        if (run.samples !== null && run.samples !== run.samplesAsked) await showSamples(run).catch(() => undefined);
      }
      const going = runs.some(({ view }) => view.going);
      connected(going ? 'live' : 'up to date', false);
    } catch {
      failures += 1;
      if (failures > 1) {
        const ended = runs.every(({ view }) => view && !view.going);
        connected(ended ? 'the server has ended' : 'no answer; trying again (the training may have ended: depthwise watch RUN)', !ended);
      }
    } finally {
      asking = false;
      const wait = document.hidden ? betweenHidden : Math.min(between * 2 ** Math.min(failures, 3), 5000);
      timer = setTimeout(look, wait);
    }
  }
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) look();
  });
  addEventListener('online', look);
  $('#pause').addEventListener('click', (event) => {
    paused = !paused;
    event.currentTarget.setAttribute('aria-pressed', String(paused));
    event.currentTarget.textContent = paused ? 'Go on' : 'Pause';
    if (paused) connected('paused', false);
    else look();
  });
  look();
})();
`;
