// The script of a report, as text: draws every chart with uPlot in the page's colours, and again when those or the width change.
// It runs in browsers, so it is plain JavaScript, and it loads nothing.

export const client = `
(() => {
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

  function options(chart, width) {
    const soft = color('--soft');
    const grid = { stroke: color('--grid'), width: 1 };
    const font = '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
    const axis = { stroke: soft, font, labelFont: font, grid, ticks: { stroke: color('--line'), width: 1, size: 5 } };
    const show = (v) => (v == null ? '' : formats[chart.format](v));
    return {
      width,
      height: width < 420 ? 240 : 300,
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
            points: { show: !edge && line !== 'faint' && chart.data[0].length <= 12, size: 6 },
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

  const drawn = [];
  function draw(place) {
    const chart = JSON.parse(document.getElementById(place.dataset.chart).textContent);
    place.textContent = '';
    return new uPlot(options(chart, Math.floor(place.clientWidth)), chart.data, place);
  }
  const observer = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      const entry = drawn.find(({ place }) => place === target);
      const width = Math.floor(contentRect.width);
      if (entry && width > 0 && width !== entry.plot.width) {
        entry.plot.setSize({ width, height: width < 420 ? 240 : 300 });
      }
    }
  });
  for (const place of document.querySelectorAll('[data-chart]')) {
    drawn.push({ place, plot: draw(place) });
    observer.observe(place);
  }
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    for (const entry of drawn) {
      entry.plot.destroy();
      entry.plot = draw(entry.place);
    }
  });
})();
`;
