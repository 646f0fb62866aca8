// The scripts of pages, as text: draw charts with uPlot in the page's colours, and again when those or the width change.
// They run in browsers, so they are plain JavaScript, and they load nothing.

/** `charts.put(place, chart)`: draws a chart (ChartData) into an element, or changes the one that is drawn there. */
export const charting = `
const charts = (() => {
  'use strict';
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const within = (rgb, share) => {
    const hex = /^#(..)(..)(..)$/.exec(rgb);
    return hex === null ? rgb : 'rgba(' + hex.slice(1).map((h) => parseInt(h, 16)).join(',') + ',' + share + ')';
  };
  const formats = {
    percent: (v) => (100 * v).toFixed(1) + ' %',
    number: (v) => (Math.abs(v) >= 100 ? v.toFixed(0) : v.toPrecision(4)),
    rate: (v) => (v !== 0 && v < 0.0001 ? v.toExponential(2) : String(Number(v.toPrecision(3)))),
  };
  const ticks = {
    percent: (v, step) => (100 * v).toFixed(step < 0.01 ? 1 : 0) + ' %',
    number: (v) => String(Number(v.toPrecision(4))),
    rate: (v) => (v !== 0 && v < 0.00001 ? v.toExponential(0) : String(Number(v.toPrecision(2)))),
  };

  const isShort = (values) => values.length <= 12 || values.filter((v) => v != null).length <= 12;
  const heightAt = (width) => (width < 420 ? 240 : 300);

  function options(chart, width) {
    const soft = color('--soft');
    const grid = { stroke: color('--grid'), width: 1 };
    const font = '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
    const axis = { stroke: soft, font, labelFont: font, grid, ticks: { stroke: color('--line'), width: 1, size: 5 } };
    const show = (v) => (v == null ? '' : formats[chart.format](v));
    return {
      width,
      height: heightAt(width),
      padding: [8, 16, 0, 0],
      cursor: { drag: { x: true, y: false }, points: { size: 6 } },
      legend: { live: true },
      scales: {
        x: { time: false },
        y: { distr: chart.scale === 'log' ? 3 : 1 },
      },
      axes: [
        { ...axis, label: chart.xLabel, labelSize: 20, size: 34 },
        {
          ...axis,
          size: chart.format === 'rate' ? 62 : 54,
          values: (u, splits) => {
            const step = splits.length > 1 ? splits[1] - splits[0] : 1;
            return splits.map((v) => (v == null ? '' : ticks[chart.format](v, step)));
          },
        },
      ],
      series: [
        { label: chart.xLabel, value: (u, v) => (v == null ? '' : String(Number(v.toFixed(2)))) },
        ...chart.series.map(({ label, color: number, line }) => {
          const stroke = color('--series-' + number);
          const edge = line === 'edge';
          return {
            label,
            stroke: edge ? 'transparent' : line === 'faint' ? within(stroke, 0.45) : stroke,
            width: edge ? 0 : line === 'faint' ? 1 : 2,
            ...(line === 'dashed' ? { dash: [6, 4] } : {}),
            spanGaps: true,
            points: { show: (u, i) => !edge && line !== 'faint' && isShort(u.data[i]), size: 6 },
            value: (u, v) => show(v),
          };
        }),
      ],
      bands: chart.bands.map((series) => ({
        series,
        fill: within(color('--series-' + chart.series[series[0] - 1].color), 0.16),
      })),
      hooks: {
        ready: [
          (u) => {
            const rows = u.root.querySelectorAll('.u-legend .u-series');
            chart.series.forEach(({ line }, i) => {
              if (line === 'edge' && rows[i + 1]) rows[i + 1].style.display = 'none';
            });
          },
        ],
      },
    };
  }

  const drawn = new Map();
  const observer = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      const plot = drawn.get(target)?.plot;
      const width = Math.floor(contentRect.width);
      if (plot && width > 0 && width !== plot.width) plot.setSize({ width, height: heightAt(width) });
    }
  });
  function draw(place, chart) {
    drawn.get(place)?.plot.destroy();
    place.textContent = '';
    const plot = new uPlot(options(chart, Math.floor(place.clientWidth)), chart.data, place);
    drawn.set(place, { chart, plot });
  }
  const kindOf = ({ data, ...kind }) => JSON.stringify(kind);
  const isEnlarged = ({ scales, data }) =>
    data[0].length > 1 && (scales.x.min > data[0][0] || scales.x.max < data[0][data[0].length - 1]);
  function put(place, chart) {
    const entry = drawn.get(place);
    if (!entry || kindOf(entry.chart) !== kindOf(chart)) {
      draw(place, chart);
      observer.observe(place);
      return;
    }
    // What a person looks at stays in view while points come in.
    const keep = isEnlarged(entry.plot);
    entry.chart = chart;
    entry.plot.setData(chart.data, !keep);
    if (keep) entry.plot.redraw();
  }
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    for (const [place, { chart }] of drawn) draw(place, chart);
  });
  return { put };
})();
`;

/** The script of a report: its charts are in it. */
export const client = `
for (const place of document.querySelectorAll('[data-chart]')) {
  charts.put(place, JSON.parse(document.getElementById(place.dataset.chart).textContent));
}
`;
