// Draws every <figure class="chart">: its data is the JSON beside it. The same values stand in a table on request.
// A chart has the focus like a link: arrows walk through the sessions, + and - zoom, Home and End jump.
"use strict";
(() => {
  const library = window.LightweightCharts;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const faint = (hex, alpha) => hex + Math.round(alpha * 255).toString(16).padStart(2, "0");
  const kinds = { line: library.LineSeries, area: library.AreaSeries, histogram: library.HistogramSeries, candles: library.CandlestickSeries };
  const drawn = [];
  const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" "), MANY = 60;
  const dated = (time) => (typeof time === "string" ? time : time && `${time.year}-${String(time.month).padStart(2, "0")}-${String(time.day).padStart(2, "0")}`);

  const text = (value, digits) => (value === null || value === undefined ? "–"
    : value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  const cells = (own, value, digits) => own.kind === "candles"
    ? (value ? value.map((part) => text(part, digits)).join(" / ") : "–") : text(value, digits);

  function element(tag, name, content) {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (content !== undefined) made.textContent = content;
    return made;
  }

  // Parts of a whole are drawn as areas, the sum of all first, so that each covers what is below it.
  function levels(told) {
    if (!told.stacked) return told.series.map((own) => own.values);
    const sums = told.times.map(() => 0);
    return told.series.map((own) => own.values.map((value, place) => (sums[place] += value || 0)));
  }

  function points(told, own, values) {
    return told.times.map((time, place) => {
      const value = values[place];
      if (value === null) return { time };
      if (own.kind === "candles") return { time, open: value[0], high: value[1], low: value[2], close: value[3] };
      return { time, value };
    });
  }

  function options(told, own) {
    const common = { priceLineVisible: false, lastValueVisible: false, visible: own.shown,
      priceFormat: { type: "custom", minMove: 10 ** -Math.max(told.digits, 1) / 10, formatter: (value) => text(value, told.digits) } };
    if (own.kind === "candles") {
      const falling = colour("--falling");
      return { ...common, upColor: own.colour, borderUpColor: own.colour, wickUpColor: own.colour, downColor: falling, borderDownColor: falling, wickDownColor: falling };
    }
    if (own.kind === "histogram") return { ...common, color: faint(own.colour, 0.7), priceFormat: { type: "volume" } };
    if (told.stacked) return { ...common, lineColor: own.colour, lineWidth: 1, topColor: own.colour, bottomColor: own.colour, crosshairMarkerVisible: false };
    if (own.kind === "area") return { ...common, lineColor: own.colour, lineWidth: own.width, topColor: faint(own.colour, 0.05), bottomColor: faint(own.colour, 0.35), invertFilledArea: true, crosshairMarkerVisible: false };
    return { ...common, color: own.colour, lineWidth: own.width, lineStyle: own.style, crosshairMarkerRadius: 3 };
  }

  function looks() {
    return { layout: { background: { color: "transparent" }, textColor: colour("--quiet"), attributionLogo: false, fontFamily: "system-ui, sans-serif", fontSize: 11, panes: { separatorColor: colour("--line") } },
      grid: { vertLines: { visible: false }, horzLines: { color: colour("--grid") } },
      rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.08, bottom: 0.06 } },
      timeScale: { borderColor: colour("--line"), minBarSpacing: 0.05, fixLeftEdge: true, fixRightEdge: true },
      crosshair: { horzLine: { visible: false, labelVisible: false }, vertLine: { color: colour("--quiet"), labelVisible: false } } };
  }

  // A bare number among months is no date: with many sessions in view days go without a label, with few they have their month.
  function namedTicks(chart) {
    let many;
    const follow = (range) => {
      const now = Boolean(range) && range.to - range.from > MANY;
      if (now === many) return;
      many = now;
      chart.applyOptions({ timeScale: { tickMarkFormatter: (time, kind) => {
        if (kind !== library.TickMarkType.DayOfMonth) return null;
        const [, month, day] = dated(time).split("-").map(Number);
        return now ? "" : `${day} ${MONTHS[month - 1]}`;
      } } });
    };
    chart.timeScale().subscribeVisibleLogicalRangeChange(follow);
    follow(chart.timeScale().getVisibleLogicalRange());
  }

  // The words of a marker stand beside it where nothing is in their way; the legend has those of every marker.
  function markersOf(chart, series, told) {
    const place = new Map(told.times.map((time, index) => [time, index]));
    const edge = (index, above) => {
      const value = told.series[0].values[index];
      return value === null || value === undefined ? null : series.priceToCoordinate(Array.isArray(value) ? value[above ? 1 : 2] : value);
    };
    const hasRoom = (own, others) => {
      const scale = chart.timeScale(), here = place.get(own.time), x = scale.timeToCoordinate(own.time), half = own.text.length * 3.2 + 4;
      if (x === null || x < half || x + half > scale.width()) return false;
      if (others.some((other) => Math.abs(scale.timeToCoordinate(other.time) - x) < half + other.text.length * 3.2 + 4)) return false;
      const wide = Math.max(scale.logicalToCoordinate(1) - scale.logicalToCoordinate(0), 0.5), reach = Math.ceil(half / wide), y = edge(here, own.above);
      for (let index = Math.max(0, here - reach); index <= Math.min(told.times.length - 1, here + reach); index += 1) {
        const beside = edge(index, own.above);
        if (beside !== null && y !== null && (own.above ? y - beside : beside - y) > 12) return false;
      }
      return true;
    };
    const sides = [true, false].map((above) => told.markers.filter((own) => own.above === above));
    const list = () => told.markers.map((own) => {
      const side = sides[own.above ? 0 : 1], at = side.indexOf(own);
      const room = hasRoom(own, [side[at - 1], side[at + 1]].filter(Boolean));
      return { time: own.time, position: own.above ? "aboveBar" : "belowBar", color: own.colour, shape: own.above ? "arrowDown" : "arrowUp", text: room ? own.text : undefined };
    });
    let shown = null;
    const made = library.createSeriesMarkers(series, []);
    const show = () => {
      const next = list(), sign = next.map((own) => own.text || "").join("|");
      if (sign !== shown) made.setMarkers(next);
      shown = sign;
    };
    let waits = 0;
    const later = () => { cancelAnimationFrame(waits); waits = requestAnimationFrame(show); };
    chart.timeScale().subscribeVisibleLogicalRangeChange(later);
    chart.timeScale().subscribeSizeChange(later);
    show();
  }

  function draw(figure) {
    const told = JSON.parse(figure.querySelector('script[type="application/json"]').textContent);
    const place = figure.querySelector(".canvas");
    const legend = figure.querySelector(".legend");
    const chart = library.createChart(place, { autoSize: true, handleScroll: { mouseWheel: false, vertTouchDrag: false }, handleScale: { mouseWheel: false }, ...looks() });
    const heights = levels(told);
    const order = told.series.map((_, index) => index);
    if (told.stacked) order.reverse();
    const made = [];
    for (const index of order) {
      const own = told.series[index];
      made[index] = chart.addSeries(kinds[told.stacked ? "area" : own.kind], options(told, own), own.pane);
      made[index].setData(points(told, told.stacked ? { kind: "area" } : own, heights[index]));
    }
    if (chart.panes().length > 1) chart.panes()[0].setStretchFactor(3);
    if (told.zero) made[0].createPriceLine({ price: 0, color: colour("--quiet"), lineWidth: 1, lineStyle: 2, axisLabelVisible: false });
    if (told.markers.length) markersOf(chart, made[0], told);
    const happened = new Map();
    for (const own of told.markers) happened.set(own.time, [...(happened.get(own.time) || []), own.text]);
    const said = element("time", "at");
    const event = element("span", "event");
    legend.append(said);
    const values = told.series.map((own, index) => {
      const toggle = element("button", "key");
      toggle.type = "button";
      toggle.setAttribute("aria-pressed", String(own.shown));
      const sign = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      sign.setAttribute("viewBox", "0 0 18 10");
      sign.setAttribute("class", "sign");
      sign.setAttribute("aria-hidden", "true");
      const line = document.createElementNS("http://www.w3.org/2000/svg", own.kind === "line" && !told.stacked ? "line" : "rect");
      const shape = line.tagName === "line"
        ? { x1: 0, y1: 5, x2: 18, y2: 5, stroke: own.colour, "stroke-width": 2.5, "stroke-dasharray": ["none", "2 2", "5 3"][own.style] || "none" }
        : { x: 3, y: 0, width: 12, height: 10, fill: own.colour };
      Object.entries(shape).forEach(([name, value]) => line.setAttribute(name, value));
      sign.append(line);
      const number = element("b", "value");
      toggle.append(sign, own.name, number);
      toggle.addEventListener("click", () => {
        own.shown = !own.shown;
        toggle.setAttribute("aria-pressed", String(own.shown));
        made[index].applyOptions({ visible: own.shown });
      });
      toggle.disabled = told.stacked || told.series.length === 1;
      legend.append(toggle);
      return number;
    });
    if (told.markers.length) legend.append(event);
    let at = told.times.length - 1;
    function say(index) {
      at = Math.max(0, Math.min(told.times.length - 1, index));
      said.textContent = told.times[at] || "";
      said.dateTime = said.textContent;
      event.textContent = (happened.get(told.times[at]) || []).join(", ");
      told.series.forEach((own, place_) => { values[place_].textContent = cells(own, own.values[at], told.digits); });
    }
    const indexOf = new Map(told.times.map((time, index) => [time, index]));
    chart.subscribeCrosshairMove((move) => {
      const named = dated(move.time);
      say(indexOf.has(named) ? indexOf.get(named) : told.times.length - 1);
    });
    const width = () => { const range = chart.timeScale().getVisibleLogicalRange(); return range ? [range.from, range.to] : [0, told.times.length]; };
    place.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 21 : 1;
      const moves = { ArrowLeft: at - step, ArrowRight: at + step, Home: 0, End: told.times.length - 1 };
      if (event.key in moves) {
        say(moves[event.key]);
        const own = told.series.findIndex((series, index) => series.shown && series.values[at] !== null);
        if (own >= 0) chart.setCrosshairPosition(told.stacked ? heights[own][at] : [].concat(told.series[own].values[at]).at(-1), told.times[at], made[own]);
      } else if (event.key === "+" || event.key === "-") {
        const [from, to] = width();
        const change = (to - from) * (event.key === "+" ? 0.2 : -0.3);
        chart.timeScale().setVisibleLogicalRange({ from: from + change, to: to - change });
      } else if (event.key === "0") chart.timeScale().fitContent();
      else return;
      event.preventDefault();
    });
    const details = figure.querySelector("details");
    details.addEventListener("toggle", () => {
      const into = details.querySelector(".scroll");
      if (!details.open || into.firstChild) return;
      const table = element("table");
      const head = table.createTHead().insertRow();
      for (const name of ["Date", ...told.series.map((own) => own.name)]) {
        const cell = element("th", "", name);
        cell.scope = "col";
        head.append(cell);
      }
      const body = table.createTBody();
      told.times.slice().reverse().forEach((time, back) => {
        const row = body.insertRow();
        const name = element("th", "", time);
        name.scope = "row";
        row.append(name);
        told.series.forEach((own) => { row.insertCell().textContent = cells(own, own.values[told.times.length - 1 - back], told.digits); });
      });
      into.append(table);
    });
    namedTicks(chart);
    chart.timeScale().fitContent();
    say(at);
    drawn.push([chart, made, told]);
  }

  document.querySelectorAll("figure.chart").forEach(draw);
  function repaint() {
    for (const [chart, made, told] of drawn) {
      chart.applyOptions(looks());
      made.forEach((series, index) => { const own = told.series[index]; if (own.kind === "candles") series.applyOptions({ ...options(told, own), visible: own.shown }); });
    }
  }
  dark.addEventListener("change", repaint);
  document.addEventListener("theme", repaint);
})();
