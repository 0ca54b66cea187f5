// A unit's readings on one shared time axis: voltage, battery, load, temperature; times on battery
// shaded, alarms marked where they were raised.
"use strict";

(() => {
  const root = document.getElementById("charts");
  if (!root) return;
  const words = JSON.parse(root.dataset.words);
  const zone = root.dataset.zone;
  const language = document.documentElement.lang;
  const SPANS = { "6h": 6 * 3600, "24h": 86400, "7d": 7 * 86400, "90d": 90 * 86400, "1y": 365 * 86400 };
  const PLOTS = [
    { title: words.voltage, unit: "V", columns: ["input_voltage", "output_voltage"] },
    { title: words.battery, unit: "%", columns: ["battery_charge"], range: [0, 100] },
    { title: words.load, unit: "%", columns: ["ups_load"], range: [0, null] },
    { title: words.temperature, unit: "°C", columns: ["battery_temperature"] },
  ];
  const DIGITS = { V: 1, "%": 0, "°C": 1 };
  const sync = window.uPlot.sync("device");
  // The server's clock, not this machine's: a wrong clock here must not empty the charts.
  const loadedAt = performance.now();
  const clock = () => Number(root.dataset.now) * 1000 + performance.now() - loadedAt;
  let plots = [];
  let asked = 0;

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const say = (text) => {
    const line = document.createElement("p");
    line.className = "muted";
    line.textContent = text;
    root.replaceChildren(line);
  };

  // A line must not bridge the time in which nothing was read.
  const withGaps = (seconds, series) => {
    const steps = seconds.slice(1).map((at, place) => at - seconds[place]).sort((a, b) => a - b);
    const usual = steps.length ? steps[Math.floor(steps.length / 2)] : 0;
    const at = [];
    const columns = series.map(() => ({ values: [], low: [], high: [] }));
    seconds.forEach((second, place) => {
      if (place && second - seconds[place - 1] > 4 * usual + 1) {
        at.push(seconds[place - 1] + usual);
        columns.forEach((column) => { column.values.push(null); column.low.push(null); column.high.push(null); });
      }
      at.push(second);
      columns.forEach((column, which) => {
        for (const part of ["values", "low", "high"]) column[part].push(series[which][part][place]);
      });
    });
    return { at, columns };
  };

  const onBattery = (at, flags) => {
    const spans = [];
    flags.forEach((share, place) => {
      if (!(share > 0)) return;
      const end = at[place + 1] ?? at[place];
      const last = spans[spans.length - 1];
      if (last && last[1] >= at[place]) last[1] = end;
      else spans.push([at[place], end]);
    });
    return spans;
  };

  const marks = (spans, alarms) => ({
    hooks: {
      drawClear: (plot) => {
        const { ctx, bbox } = plot;
        ctx.save();
        ctx.fillStyle = css("--major");
        ctx.globalAlpha = 0.22;
        for (const [start, end] of spans) {
          const left = Math.max(bbox.left, plot.valToPos(start, "x", true));
          const right = Math.min(bbox.left + bbox.width, plot.valToPos(end, "x", true));
          if (right >= bbox.left && left <= bbox.left + bbox.width) ctx.fillRect(left, bbox.top, Math.max(2, right - left), bbox.height);
        }
        ctx.restore();
      },
      draw: (plot) => {
        const { ctx, bbox } = plot;
        ctx.save();
        for (const alarm of alarms) {
          const x = plot.valToPos(alarm.at, "x", true);
          if (x < bbox.left || x > bbox.left + bbox.width) continue;
          ctx.strokeStyle = ctx.fillStyle = css(`--${alarm.severity}`);
          ctx.lineWidth = window.devicePixelRatio;
          ctx.beginPath();
          ctx.moveTo(x, bbox.top);
          ctx.lineTo(x, bbox.top + bbox.height);
          ctx.stroke();
          const size = 4 * window.devicePixelRatio;
          ctx.beginPath();
          ctx.moveTo(x, bbox.top + 2 * size);
          ctx.lineTo(x - size, bbox.top);
          ctx.lineTo(x + size, bbox.top);
          ctx.fill();
        }
        ctx.restore();
      },
    },
  });

  const title = (spec, series) => {
    const line = document.createElement("p");
    line.className = "chart-title";
    const name = document.createElement("b");
    name.textContent = `${spec.title} (${spec.unit})`;
    line.append(name);
    series.forEach((one, place) => {
      const part = document.createElement("span");
      const swatch = document.createElement("span");
      swatch.className = place ? "swatch swatch-second" : "swatch";
      const value = document.createElement("span");
      value.className = "chart-value";
      value.dataset.place = place;
      if (series.length > 1) part.append(swatch, language.startsWith("zh") ? one.zh : one.en, " ");
      part.append(value);
      line.append(part);
    });
    return line;
  };

  const draw = (data, alarms) => {
    const seconds = data.at.map((at) => Date.parse(at) / 1000);
    const flag = data.series.find((one) => one.column === "status_on_battery");
    const spans = flag ? onBattery(seconds, flag.values) : [];
    const range = [Date.parse(data.start_at) / 1000, Date.parse(data.end_at) / 1000];
    root.replaceChildren();
    plots.forEach((plot) => plot.destroy());
    plots = [];
    const shown = PLOTS.map((spec) => ({
      spec,
      series: data.series.filter((one) => spec.columns.includes(one.column) && one.values.some((value) => value !== null)),
    })).filter(({ series }) => series.length);
    if (!shown.length) {
      say(words.empty);
      return;
    }
    shown.forEach(({ spec, series }, which) => {
      const { at, columns } = withGaps(seconds, series);
      const holder = document.createElement("div");
      holder.className = "chart";
      const head = title(spec, series);
      holder.append(head);
      root.append(holder);
      const isLast = which === shown.length - 1;
      const axis = { stroke: css("--muted"), font: "12px system-ui", grid: { stroke: css("--line"), width: 1 }, ticks: { show: false } };
      const lines = [];
      const rows = [at];
      const bands = [];
      series.forEach((one, place) => {
        const isBanded = columns[place].low.some((low, index) => low !== columns[place].high[index]);
        const stroke = css(place ? "--muted" : "--accent");
        lines.push({ label: one.en, stroke, width: 1.5, dash: place ? [5, 4] : undefined, points: { show: at.length < 3, size: 5 } });
        rows.push(columns[place].values);
        if (isBanded) {
          lines.push({ stroke: "transparent", width: 0, points: { show: false } }, { stroke: "transparent", width: 0, points: { show: false } });
          bands.push({ series: [rows.length, rows.length + 1], fill: `${stroke}2e` });
          rows.push(columns[place].high, columns[place].low);
        }
      });
      const drawn = lines.map((line, index) => (line.label ? index + 1 : 0)).filter(Boolean);
      const plot = new window.uPlot({
        width: root.clientWidth,
        height: isLast ? 136 : 108,
        padding: [8, 8, isLast ? 0 : 4, 0],
        tzDate: (stamp) => window.uPlot.tzDate(new Date(stamp * 1000), zone),
        cursor: { sync: { key: sync.key }, drag: { x: false, y: false }, y: false },
        legend: { show: false },
        scales: {
          x: { time: true, range: () => range },
          y: { range: (_plot, low, high) => {
            if (low === null) return [0, 1];
            const pad = Math.max((high - low) * 0.15, Math.abs(high) * 0.01, 0.5);
            const [from, to] = spec.range ?? [null, null];
            return [from ?? low - pad, to ?? high + pad];
          } },
        },
        series: [{}, ...lines],
        bands,
        axes: [
          { ...axis, show: isLast, values: [
            [3600 * 24 * 28, "{YYYY}-{MM}", null, null, null, null, null, null, 1],
            [3600 * 24, "{MM}-{DD}", null, null, null, null, null, null, 1],
            [60, "{HH}:{mm}", "\n{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1],
            [1, "{HH}:{mm}:{ss}", "\n{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1],
          ] },
          { ...axis, size: 44, splits: undefined, values: (_plot, ticks) => ticks.map((tick) => `${tick}`) },
        ],
        plugins: [marks(spans, alarms)],
        hooks: {
          setCursor: [(self) => {
            const index = self.cursor.idx;
            head.querySelectorAll(".chart-value").forEach((value, place) => {
              const reading = index === null || index === undefined ? null : self.data[drawn[place]][index];
              value.textContent = reading === null || reading === undefined ? "" :
                `${reading.toFixed(DIGITS[spec.unit])} ${spec.unit}` +
                (place === series.length - 1 ? ` · ${new Date(self.data[0][index] * 1000).toLocaleString(language, { timeZone: zone, month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" })}` : "");
            });
          }],
        },
      }, rows, holder);
      plots.push(plot);
    });
  };

  const load = async (span) => {
    const mine = ++asked;
    const end = new Date(clock());
    const start = new Date(end.getTime() - SPANS[span] * 1000);
    const base = `/api/v1/devices/${root.dataset.device}`;
    const when = `from=${encodeURIComponent(start.toISOString())}&to=${encodeURIComponent(end.toISOString())}`;
    root.setAttribute("aria-busy", "true");
    try {
      const [readings, history] = await Promise.all([
        fetch(`${base}/telemetry?${when}`), fetch(`${base}/history?${when}&limit=500`)]);
      if (!readings.ok || !history.ok) throw new Error(`${readings.status} ${history.status}`);
      const [data, past] = await Promise.all([readings.json(), history.json()]);
      if (mine !== asked) return;
      const alarms = past.items.filter((entry) => entry.about === "alarm" && entry.kind === "raised")
        .map((entry) => ({ at: Date.parse(entry.at) / 1000, severity: entry.severity }));
      draw(data, alarms);
    } catch (error) {
      if (mine === asked) say(`${words.failed} (${error.message})`);
    } finally {
      root.removeAttribute("aria-busy");
    }
  };

  let span = "24h";
  document.querySelectorAll("[data-span]").forEach((button) => {
    button.addEventListener("click", () => {
      span = button.dataset.span;
      document.querySelectorAll("[data-span]").forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      load(span);
    });
  });
  let width = root.clientWidth;
  new ResizeObserver(() => {
    if (root.clientWidth === width) return;
    width = root.clientWidth;
    plots.forEach((plot) => plot.setSize({ width, height: plot.height }));
  }).observe(root);
  setInterval(() => { if (!document.hidden && (span === "6h" || span === "24h")) load(span); }, 60000);
  load(span);
})();
