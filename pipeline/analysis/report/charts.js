
// Line charts: drawn to the width there is, drawn again when that changes.

function ticks(low, high, log, room) {
  if (log) {
    const found = [];
    const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
    const every = Math.max(1, Math.ceil((last - first) / Math.max(2, room)));
    for (let e = first; e <= last; e += every) if (10 ** e >= low * 0.999 && 10 ** e <= high * 1.001) found.push(10 ** e);
    if (found.length) return found;
  }
  const raw = (high - low) / Math.max(2, room);
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].find((times) => times * unit >= raw) * unit;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high * (1 + 1e-9); i++) found.push(+(i * step).toPrecision(10));
  return found;
}

// A series is { name, style, x, y } and may be dashed, faint (the noise behind a mean) or dotted (few points, each shown).
function chart({ label, series, xlabel, ylabel, xlog, ylog, zero, marks = [], height = 250 }) {
  const holder = el("div", { class: "chart", tabindex: "0", role: "group", "aria-label": `${label}; arrow keys read its values` });
  const points = series.map(({ x, y }) => x.map((value, i) => [value, y[i]])
    .filter(([a, b]) => a !== null && b !== null && (!xlog || a > 0) && (!ylog || b > 0)));
  const all = points.flat();
  if (!all.length) return el("p", { class: "soft" }, "No points.");
  const range = (i, log, more) => {
    let low = Infinity, high = -Infinity;
    for (const point of all) { low = Math.min(low, point[i]); high = Math.max(high, point[i]); }
    for (const value of more) { low = Math.min(low, value); high = Math.max(high, value); }
    if (low === high) return log ? [low / 2, high * 2] : [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
    const pad = log ? 0 : (high - low) * 0.05;
    return [low - pad, high + pad];
  };
  const xs = range(0, xlog, marks.filter((mark) => mark.x).map((mark) => mark.x));
  if (!xlog) { xs[0] = Math.min(...all.map((point) => point[0])); xs[1] = Math.max(...all.map((point) => point[0])); if (xs[0] === xs[1]) [xs[0], xs[1]] = [xs[0] / 2, xs[0] * 1.5 || 1]; }
  const ys = range(1, ylog, marks.filter((mark) => mark.y).map((mark) => mark.y));
  if (zero) ys[0] = 0;
  const scale = ([low, high], log, from, to) => (value) => from + (to - from) *
    (log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low));
  const tip = el("div", { class: "tip", hidden: "", "aria-live": "polite" });
  const read = series.map((_, i) => i).filter((i) => !series[i].faint); // what is told of a place
  let draw = () => {}, tell = () => {}, place = null;

  draw = () => {
    const width = holder.clientWidth || 320, left = 46, right = 12, top = 26, bottom = 40;
    const px = scale(xs, xlog, left, width - right), py = scale(ys, ylog, height - bottom, top);
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label });
    for (const value of ticks(...ys, ylog, height / 55)) picture.append(
      svg("line", { class: "grid", x1: left, x2: width - right, y1: py(value), y2: py(value) }),
      svg("text", { x: left - 6, y: py(value) + 4, "text-anchor": "end" }, short(value)));
    for (const value of ticks(...xs, xlog, width / 70)) picture.append(
      svg("text", { x: px(value), y: height - bottom + 16, "text-anchor": "middle" }, short(value)));
    picture.append(svg("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }),
      svg("text", { class: "name x", x: (left + width - right) / 2, y: height - 5, "text-anchor": "middle" }, xlabel),
      svg("text", { class: "name y", x: 0, y: 11 }, ylabel));
    for (const { x, y, text } of marks) {
      if (y) picture.append(svg("line", { class: "mark", x1: left, x2: width - right, y1: py(y), y2: py(y) }),
        svg("text", { x: left + 6, y: py(y) - 4 }, text));
      else picture.append(svg("line", { class: "mark", x1: px(x), x2: px(x), y1: top, y2: height - bottom }),
        svg("text", { x: px(x) - 5, y: top + 10, "text-anchor": "end" }, text));
    }
    series.forEach(({ style, dashed, faint, dotted }, i) => {
      picture.append(svg("path", {
        class: ["series", style, dashed && "dashed", faint && "faint"].filter(Boolean).join(" "),
        d: points[i].map(([a, b], n) => `${n ? "L" : "M"}${px(a).toFixed(1)} ${py(b).toFixed(1)}`).join(""),
      }));
      if (dotted || points[i].length === 1) picture.append(...points[i].map(([a, b]) => svg("circle", { class: `at ${style}`, cx: px(a), cy: py(b), r: 3 })));
    });
    const at = svg("g", {});
    picture.append(at);
    tell = () => {
      at.replaceChildren();
      tip.hidden = place === null;
      if (place === null) return;
      const lines = [];
      for (const i of read) {
        if (!points[i].length) continue;
        const best = points[i].reduce((a, b) => (Math.abs(px(b[0]) - place) < Math.abs(px(a[0]) - place) ? b : a));
        at.append(svg("circle", { class: `at ${series[i].style}`, cx: px(best[0]), cy: py(best[1]), r: 4 }));
        if (!lines.length) lines.push(el("div", { class: "soft" }, `${xlabel}: ${xlog ? whole(best[0]) : short(best[0])}`));
        lines.push(el("div", {}, `${series[i].name || ylabel}: ${short(best[1])}`));
      }
      tip.replaceChildren(...lines);
      tip.style.left = Math.max(0, Math.min(place + 14, width - tip.offsetWidth - 2)) + "px";
      tip.style.top = top + 4 + "px";
    };
    picture.addEventListener("pointermove", (event) => { place = event.clientX - picture.getBoundingClientRect().left; tell(); });
    picture.addEventListener("pointerleave", () => { place = null; tell(); });
    holder.onkeydown = (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (move) { place = Math.min(width - right, Math.max(left, place === null ? (left + width) / 2 : place + move * Math.max(4, width / 60))); event.preventDefault(); }
      else if (event.key === "Escape") place = null;
      else return;
      tell();
    };
    holder.replaceChildren(picture, tip);
  };
  holder.addEventListener("blur", () => { place = null; tell(); });
  whenSized(holder, () => { place = null; draw(); });
  return holder;
}
const drawings = [];
function whenSized(holder, draw) {
  let width = -1;
  const fit = () => {
    if (holder.clientWidth !== width) { width = holder.clientWidth; draw(); }
  };
  drawings.push(fit); // once at the end of this script, whatever the browser puts off
  new ResizeObserver(() => requestAnimationFrame(fit)).observe(holder);
}
