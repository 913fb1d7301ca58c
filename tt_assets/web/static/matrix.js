// The matrix of partitions: one line per instrument, one column per session. A click, or Enter, opens the partition.
"use strict";
(() => {
  const root = document.getElementById("matrix");
  if (!root) return;
  const told = JSON.parse(document.getElementById("matrix-told").textContent);
  const canvas = root.querySelector("canvas");
  const said = root.querySelector("output");
  const colours = () => Object.fromEntries(Object.keys(told.states).map((sign) => [sign, getComputedStyle(document.documentElement).getPropertyValue(`--state-${sign}`).trim()]));
  const names = told.instruments, dates = told.dates, lines = told.lines;
  const tall = names.length > 40 ? 7 : 18, left = names.length > 40 ? 0 : 70;
  let wide = 1, at = [0, dates.length - 1];
  function draw() {
    const room = root.querySelector(".scroll").clientWidth - left - 2;
    wide = room / dates.length;
    const scale = window.devicePixelRatio || 1;
    const width = Math.ceil(left + wide * dates.length), height = names.length * tall + 16;
    canvas.width = width * scale;
    canvas.height = height * scale;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const inks = colours(), quiet = getComputedStyle(document.documentElement).getPropertyValue("--quiet").trim();
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    names.forEach((name, row) => {
      if (left) { pen.fillStyle = quiet; pen.fillText(name, 0, row * tall + tall / 2, left - 6); }
      for (let from = 0; from < dates.length;) {
        let to = from;
        while (to < dates.length && lines[row][to] === lines[row][from]) to += 1;
        const ink = inks[lines[row][from]];
        if (ink) { pen.fillStyle = ink; pen.fillRect(left + from * wide, row * tall + 1, (to - from) * wide, tall - 2); }
        from = to;
      }
      // What is rare must not vanish between pixels: failures and restatements are drawn last, two pixels wide at least.
      for (let place = 0; place < dates.length; place += 1) {
        if ("fs".includes(lines[row][place])) { pen.fillStyle = inks[lines[row][place]]; pen.fillRect(left + place * wide, row * tall + 1, Math.max(wide, 2), tall - 2); }
      }
    });
    pen.fillStyle = quiet;
    let year = "", free = 0;
    dates.forEach((day, place) => {
      if (day.slice(0, 4) === year) return;
      year = day.slice(0, 4);
      // The last year may be too short for its name, which then ends where the matrix does.
      const long = pen.measureText(year).width, x = Math.min(left + place * wide, width - long);
      if (x < free) return;
      pen.fillText(year, x, names.length * tall + 9);
      free = x + long + 8;
    });
    pen.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--text").trim();
    pen.lineWidth = 1.5;
    if (document.activeElement === canvas) pen.strokeRect(left + at[1] * wide - 1, at[0] * tall, Math.max(wide, 3) + 2, tall);
  }
  const where = () => { const [row, place] = at; return `${dates[place]}|${names[row]}`; };
  const say = () => { const [row, place] = at; said.textContent = `${where()}: ${told.states[lines[row][place]]}`; };
  const open = () => { location.href = `/tt/partition/${told.table}?key=${encodeURIComponent(where())}`; };
  function under(event) {
    const box = canvas.getBoundingClientRect();
    const row = Math.floor((event.clientY - box.top) / tall), place = Math.floor((event.clientX - box.left - left) / wide);
    if (row < 0 || row >= names.length || place < 0 || place >= dates.length) return false;
    at = [row, place];
    return true;
  }
  canvas.addEventListener("mousemove", (event) => { if (under(event)) say(); });
  canvas.addEventListener("click", (event) => { if (under(event)) open(); });
  canvas.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 21 : 1;
    const moves = { ArrowLeft: [0, -step], ArrowRight: [0, step], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    if (event.key === "Enter") return open();
    if (!(event.key in moves)) return undefined;
    const [down, across] = moves[event.key];
    at = [Math.max(0, Math.min(names.length - 1, at[0] + down)), Math.max(0, Math.min(dates.length - 1, at[1] + across))];
    event.preventDefault();
    draw();
    say();
    return undefined;
  });
  canvas.addEventListener("focus", draw);
  canvas.addEventListener("blur", draw);
  window.addEventListener("resize", draw);
  document.addEventListener("theme", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
})();
