"use strict";
const { runs, comparison } = JSON.parse(document.getElementById("data").textContent);
const page = document.getElementById("page");
const two = runs.length === 2;
const names = two ? ["first", "second"] : [""];

// Building blocks. Text always goes in as text, so words may hold any character.

function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  return filled(made, attributes, children);
}
function svg(tag, attributes, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}
function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}
const whole = (value) => Math.round(value).toLocaleString("en");
const short = (value) => {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 1e9) return +(value / 1e9).toPrecision(3) + "G";
  if (size >= 1e6) return +(value / 1e6).toPrecision(3) + "M";
  if (size >= 1e4) return +(value / 1e3).toPrecision(3) + "k";
  if (size && size < 1e-3) return value.toExponential(1).replace(".0e", "e").replace("e-", "e−");
  return String(+value.toPrecision(4));
};
const shown = (value) => (value === null || value === undefined || value === "" ? "not set" : String(value));
const percent = (value) => (value === null ? "–" : (100 * value).toFixed(1) + " %");
const seconds = (value) => (value >= 120 ? (value / 60).toFixed(1) + " min" : value.toFixed(1) + " s");
function section(title, ...children) {
  page.append(el("section", {}, el("h2", {}, title), ...children));
}
function table(head, rows, numbers = [], differs = () => false) {
  const cell = (tag, value, i) => el(tag, numbers.includes(i) ? { class: "number" } : {}, value instanceof Node ? value : String(value));
  return el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, head.map((value, i) => cell("th", value, i)))),
    el("tbody", {}, rows.map((row) => el("tr", differs(row) ? { class: "differs" } : {}, row.map((value, i) => cell("td", value, i)))))));
}
function card(title, ...children) {
  return el("div", { class: "card" }, title ? el("h3", {}, title) : null, ...children);
}
function each(make) {
  return el("div", { class: two ? "two" : "" }, runs.map((run, i) => {
    const made = make(run, i);
    return two ? el("div", {}, el("h3", { class: "s" + i }, `${names[i]}: `, el("span", { class: "mono" }, run.uri)), made) : made;
  }));
}
function key(items) {
  return el("div", {}, items.map(([name, style, dashed]) =>
    el("span", { class: `key ${style}${dashed ? " dashed" : ""}` }, el("i"), el("span", {}, name))));
}

// Line charts: drawn to the width there is, drawn again when that changes.

function ticks(low, high, log, room) {
  if (log) {
    const found = [];
    const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
    const every = Math.max(1, Math.ceil((last - first) / Math.max(2, room)));
    for (let e = first; e <= last; e += every) if (10 ** e >= low * 0.999 && 10 ** e <= high * 1.001) found.push(10 ** e);
    return found;
  }
  const raw = (high - low) / Math.max(2, room);
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((times) => times * unit >= raw) * unit;
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high * (1 + 1e-9); i++) found.push(+(i * step).toPrecision(10));
  return found;
}

function chart({ label, series, xlabel, ylabel, xlog, ylog, zero, marks = [], height = 230 }) {
  const holder = el("div", { class: "chart" });
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
  if (!xlog) { xs[0] = Math.min(...all.map((point) => point[0])); xs[1] = Math.max(...all.map((point) => point[0])); if (xs[0] === xs[1]) xs[1] += 1; }
  const ys = range(1, ylog, marks.filter((mark) => mark.y).map((mark) => mark.y));
  if (zero) ys[0] = 0;
  const scale = ([low, high], log, from, to) => (value) => from + (to - from) *
    (log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low));
  const tip = el("div", { class: "tip", hidden: "" });

  function draw() {
    const width = holder.clientWidth || 320, left = 46, right = 10, top = 8, bottom = 38;
    const px = scale(xs, xlog, left, width - right), py = scale(ys, ylog, height - bottom, top);
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label });
    for (const value of ticks(...ys, ylog, height / 50)) picture.append(
      svg("line", { class: "grid", x1: left, x2: width - right, y1: py(value), y2: py(value) }),
      svg("text", { x: left - 6, y: py(value) + 4, "text-anchor": "end" }, short(value)));
    for (const value of ticks(...xs, xlog, width / 90)) picture.append(
      svg("text", { x: px(value), y: height - bottom + 16, "text-anchor": "middle" }, short(value)));
    picture.append(svg("line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }));
    picture.append(svg("text", { x: width - right, y: height - 4, "text-anchor": "end" }, xlabel));
    for (const { x, y, text } of marks) {
      if (y) picture.append(svg("line", { class: "mark", x1: left, x2: width - right, y1: py(y), y2: py(y) }),
        svg("text", { x: left + 6, y: py(y) - 4 }, text));
      else picture.append(svg("line", { class: "mark", x1: px(x), x2: px(x), y1: top, y2: height - bottom }),
        svg("text", { x: px(x) - 5, y: top + 10, "text-anchor": "end" }, text));
    }
    series.forEach(({ style, dashed }, i) => picture.append(svg("path", {
      class: `series ${style}${dashed ? " dashed" : ""}`,
      d: points[i].map(([a, b], n) => `${n ? "L" : "M"}${px(a).toFixed(1)} ${py(b).toFixed(1)}`).join(""),
    })));
    const at = svg("g", {});
    picture.append(at);
    picture.addEventListener("pointermove", (event) => {
      const place = event.clientX - picture.getBoundingClientRect().left;
      at.replaceChildren();
      const lines = [];
      points.forEach((one, i) => {
        if (!one.length) return;
        const best = one.reduce((a, b) => (Math.abs(px(b[0]) - place) < Math.abs(px(a[0]) - place) ? b : a));
        at.append(svg("circle", { class: `at ${series[i].style}`, cx: px(best[0]), cy: py(best[1]), r: 4 }));
        if (!lines.length) lines.push(el("div", { class: "soft" }, `${xlabel}: ${xlog ? whole(best[0]) : short(best[0])}`));
        lines.push(el("div", {}, `${series[i].name || ylabel}: ${short(best[1])}`));
      });
      tip.replaceChildren(...lines);
      tip.hidden = false;
      tip.style.left = Math.max(0, Math.min(place + 14, width - tip.offsetWidth - 2)) + "px";
      tip.style.top = "12px";
    });
    picture.addEventListener("pointerleave", () => { tip.hidden = true; at.replaceChildren(); });
    holder.replaceChildren(picture, tip);
  }
  whenSized(holder, draw);
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
const overlay = (pick) => runs.map((run, i) => ({ name: names[i], style: "s" + i, ...pick(run) }));
const runsKey = () => (two ? key(names.map((name, i) => [name, "s" + i])) : null);

// The map of words.

const maps = [];
function wordMap(data) {
  const size = data.words.length;
  const picture = svg("svg", { role: "application", "aria-label": `map of the ${size} most frequent words`, tabindex: "0" });
  const about = el("p", { class: "soft about", "aria-live": "polite" }, "Point at a word, or search for one.");
  const holder = el("div", { class: "map" }, picture, about);
  const dots = data.words.map((word, i) => svg("circle", { r: 3, "data-i": i }));
  const labels = svg("g", {});
  picture.append(svg("g", {}, dots), labels);
  let view = { x: 0, y: 0, k: 1 }, base = { x: 1, y: 1 }, width = 0, height = 0, found = new Set(), near = new Set();
  const index = new Map(data.words.map((word, i) => [word, i]));
  const at = (i) => [width / 2 + (data.x[i] * base.x - view.x) * view.k, height / 2 + (-data.y[i] * base.y - view.y) * view.k];

  function draw() {
    const places = data.words.map((_, i) => at(i));
    const taken = new Map();
    const words = [];
    const put = (i, style, always) => {
      const [x, y] = places[i];
      if (x < -20 || y < -10 || x > width + 20 || y > height + 10) return;
      const cells = [];
      for (let cx = Math.floor(x / 12); cx <= Math.floor((x + 8 + data.words[i].length * 6.4) / 12); cx++)
        for (const cy of [Math.floor((y - 8) / 13), Math.floor((y + 4) / 13)]) cells.push(cx + ":" + cy);
      if (!always && cells.some((cell) => taken.has(cell))) return;
      cells.forEach((cell) => taken.set(cell, true));
      words.push(svg("text", { x: x + 5, y: y + 4, ...(style ? { class: style } : {}) }, data.words[i]));
    };
    dots.forEach((dot, i) => {
      dot.setAttribute("cx", places[i][0].toFixed(1));
      dot.setAttribute("cy", places[i][1].toFixed(1));
      const style = found.has(i) ? "found" : near.has(i) ? "near" : "";
      if (dot.getAttribute("class") !== style) dot.setAttribute("class", style);
      dot.setAttribute("r", found.has(i) ? 6 : near.has(i) ? 4.5 : Math.min(5, 2 + 0.5 * view.k));
    });
    [...found].slice(0, 40).forEach((i) => put(i, "found", true));
    near.forEach((i) => { if (!found.has(i)) put(i, "near", false); });
    const room = (width * height) / 9000 * Math.min(3, view.k);
    for (let i = 0; i < size && words.length < room; i++) if (!found.has(i) && !near.has(i)) put(i, "", false);
    const last = words.filter((word) => word.getAttribute("class") === "found");
    labels.replaceChildren(...words.filter((word) => !last.includes(word)), ...last);
    holder.classList.toggle("zoomed", view.k > 1.001);
  }
  let asked = false;
  const redraw = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; draw(); });
  };
  whenSized(picture, () => {
    width = picture.clientWidth; height = picture.clientHeight;
    const far = (values) => Math.max(1e-9, ...values.map(Math.abs));
    base = { x: (width / 2 - 24) / far(data.x), y: (height / 2 - 16) / far(data.y) };
    draw();
  });
  function zoom(times, x = width / 2, y = height / 2) {
    const k = Math.min(40, Math.max(1, view.k * times));
    const keep = (offset, middle, place) => offset + (place - middle) * (1 / view.k - 1 / k);
    view = { k, x: keep(view.x, width / 2, x), y: keep(view.y, height / 2, y) };
    if (k === 1) view = { x: 0, y: 0, k };
    redraw();
  }
  function show(i) {
    near = new Set(i === null ? [] : data.near[i].map((word) => index.get(word)).filter((n) => n !== undefined));
    if (i !== null) about.replaceChildren(el("b", {}, data.words[i]), `, ${whole(data.counts[i])} times; nearest: ${data.near[i].join(", ")}`);
    redraw();
  }
  picture.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 300), event.offsetX, event.offsetY);
  }, { passive: false });
  const held = new Map();
  picture.addEventListener("pointerdown", (event) => { held.set(event.pointerId, [event.clientX, event.clientY]); });
  addEventListener("pointerup", (event) => held.delete(event.pointerId));
  addEventListener("pointercancel", (event) => held.delete(event.pointerId));
  const spread = () => { const [a, b] = [...held.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]); };
  picture.addEventListener("pointermove", (event) => {
    const before = held.get(event.pointerId);
    if (before && held.size === 2) {
      const wide = spread();
      held.set(event.pointerId, [event.clientX, event.clientY]);
      zoom(spread() / (wide || 1));
    } else if (before && view.k > 1) {
      view.x -= (event.clientX - before[0]) / view.k;
      view.y -= (event.clientY - before[1]) / view.k;
      held.set(event.pointerId, [event.clientX, event.clientY]);
      redraw();
    } else {
      const box = picture.getBoundingClientRect();
      const x = event.clientX - box.left, y = event.clientY - box.top;
      let best = null, distance = 144;
      for (let i = 0; i < size; i++) {
        const [a, b] = at(i), d = (a - x) ** 2 + (b - y) ** 2;
        if (d < distance) { distance = d; best = i; }
      }
      if (best !== null) show(best);
    }
  });
  picture.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "+") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (move && view.k > 1) { view.x += move[0] * 40 / view.k; view.y += move[1] * 40 / view.k; redraw(); event.preventDefault(); }
  });
  maps.push({
    zoom,
    search(text) {
      const wanted = text.toLowerCase();
      const rows = wanted ? data.words.map((_, i) => i).filter((i) => data.words[i].toLowerCase().startsWith(wanted)) : [];
      const exact = rows.filter((i) => data.words[i].toLowerCase() === wanted);
      found = new Set(exact.length ? exact : rows);
      near = new Set();
      const first = [...found][0];
      if (first === undefined) view = { x: 0, y: 0, k: 1 };
      else {
        view = { k: 3, x: data.x[first] * base.x, y: -data.y[first] * base.y };
        show(first);
      }
      redraw();
      return found.size;
    },
  });
  return holder;
}

// The page, from top to bottom.

const title = two ? "Two runs compared" : "Word vectors: report";
document.title = two ? title : `Word vectors: ${runs[0].uri}`;
page.append(el("h1", {}, title));
page.append(each((run) => {
  const f = run.facts;
  const tiles = [
    [f.model, `${f.dims} dims, ${f.epochs} epoch${f.epochs === 1 ? "" : "s"}`], [whole(f.words), "words"],
    [short(f.tokens), `tokens of ${short(f.corpus_tokens)} in the text`],
    [f.loss === null ? "–" : f.loss.toFixed(4), "loss at the end"],
    [f.place, "checkpoint"],
  ];
  return el("div", {}, two ? null : el("p", { class: "mono soft" }, run.uri),
    el("div", { class: "tiles" }, tiles.map(([value, text]) => el("div", { class: "tile" }, el("b", {}, value), el("span", {}, text)))),
    el("p", { class: "soft" }, `Shown are the ${f.vectors}.`),
    el("p", { class: "soft" }, "digest: ", el("span", { class: "digest" }, f.digest)));
}));
if (comparison) {
  const c = comparison, n = c.neighborhoods;
  const listed = (rows) => rows.map(([word, value]) => `${word} ${value}`).join(", ");
  const options = c.config.map(([name, ...values]) => `${name} (${values.map(shown).join(", ")})`).join("; ");
  section("Same or not",
    el("p", {}, "Digests: ", el("b", { class: c.same_digest ? "good" : "bad" }, c.same_digest ? "agree, the models are the same to the bit" : "differ"),
      ". Input: ", el("b", {}, c.same_input ? "the same" : "differs"), "."),
    el("p", {}, "Options that differ: ", el("b", {}, options || "none"), "."),
    n ? el("p", {}, `Neighbourhoods of ${whole(n.words)} shared frequent words: rank correlation ${n.correlation} on average (quartiles ${n.quartiles.join(", ")}); `,
      `${percent(n.overlap)} of the ten nearest words are nearest in both.`) : el("p", { class: "soft" }, "Too few shared words to compare neighbourhoods."),
    n ? el("p", { class: "soft" }, "Least alike: ", listed(n.least), ". Most alike: ", listed(n.most), ".") : null);
  const m = c.movement;
  if (m) {
    const words = (rows) => rows.map(([word]) => word).join(", ");
    const share = (value) => (value === null ? "–" : percent(value));
    section("What moved",
      el("p", { class: "soft" }, `From the second run to the first: ${whole(m.shared)} shared words, mean cosine ${m.cosine}` +
        (m.aligned ? ", after the second was turned onto the first, since they lie in spaces of their own." : ".")),
      el("div", { class: "columns" },
        el("div", {},
          card("By frequency", table(["shared words", "cosine", "10 % below", "half below", "90 % below", "neighbours kept"],
            m.bands.map((b) => [`${whole(b.first)} to ${whole(b.last)}`, b.cosine.toFixed(3), ...b.quantiles.map((q) => q.toFixed(3)), share(b.neighbors_kept)]), [1, 2, 3, 4, 5])), el("br"),
          card("New", el("p", {}, `${whole(m.new.words)} words`, m.new.words ? `: ${words(m.new.most_frequent)}` : "")), el("br"),
          card("Gone", el("p", {}, `${whole(m.gone.words)} words`, m.gone.words ? `: ${words(m.gone.most_frequent)}` : ""))),
        card("Moved most", table(["word", "cosine", "nearest before", "nearest now"],
          m.moved_most.map((w) => [w.word, w.cosine.toFixed(3), w.before.join(", "), w.after.join(", ")]), [1]))));
  }
}
section("Training",
  el("div", { class: "columns" },
    card("Loss per pair", runsKey(), runs.some((run) => run.curve.holdout) ? key(two ? [["dashed: text kept back", "s0", true]] : [["training", "s0"], ["text kept back", "s1"]]) : null, chart({
      label: "loss by tokens", xlabel: "tokens passed over", ylabel: "loss",
      series: runs.map((run, i) => ({ name: two ? names[i] : "training", style: "s" + i, x: run.curve.tokens, y: run.curve.loss })).concat(runs.flatMap((run, i) => run.curve.holdout
        ? [{ name: two ? `${names[i]}, kept back` : "kept back", style: two ? "s" + i : "s1", dashed: two, x: run.curve.tokens, y: run.curve.holdout }] : [])),
    })),
    card("Learning rate", runsKey(), chart({ label: "learning rate by tokens", xlabel: "tokens passed over", ylabel: "rate", zero: true,
      series: overlay((run) => ({ x: run.curve.tokens, y: run.curve.rate })) })),
    card("Words per second", runsKey(), chart({ label: "words per second by tokens", xlabel: "tokens passed over", ylabel: "words/s", zero: true,
      series: overlay((run) => ({ x: run.speed.tokens, y: run.speed.words })) }))));
section("Words and their counts",
  el("p", { class: "soft" }, "On logarithmic axes text lies near a falling line (Zipf). " + runs.map((run, i) => `${two ? names[i] + ": " : ""}` +
    (run.zipf.whole ? `${whole(run.zipf.kept)} of ${whole(run.zipf.words)} different words are in the vocabulary` : "words below the cut-off are not shown: there are too many to add up again")).join("; ") + "."),
  el("div", { class: "columns" },
    card("Occurrences by rank", runsKey(), chart({ label: "occurrences by rank", xlabel: "rank", ylabel: "occurrences", xlog: true, ylog: true,
      series: overlay((run) => ({ x: run.zipf.rank, y: run.zipf.count })),
      marks: [...new Set(runs.map((run) => run.zipf.min_count))].map((y) => ({ y, text: `min_count ${y}` })).concat(
        [...new Set(runs.map((run) => run.zipf.max_vocabulary).filter(Boolean))].map((x) => ({ x, text: `max_vocabulary ${x}` }))) })),
    runs.map((run, i) => card(`Share of a rank${two ? ", " + names[i] : ""}`, key([["in the text", "s0"], [`among negatives (power ${run.unigram.power})`, "s1"]]),
      chart({ label: "probability by rank before and after the power", xlabel: "rank", ylabel: "share", xlog: true, ylog: true, series: [
        { name: "text", style: "s0", x: run.unigram.rank, y: run.unigram.before },
        { name: "negatives", style: "s1", x: run.unigram.rank, y: run.unigram.after }] }))),
    card("Tokens kept by subsampling", runsKey(), el("p", { class: "soft" }, runs.map((run, i) =>
      `${two ? names[i] + ": " : ""}subsample ${run.unigram.subsample} keeps ${percent(run.unigram.kept_tokens)} of all tokens`).join("; ") + "."),
      chart({ label: "share of tokens kept by rank", xlabel: "rank", ylabel: "kept", xlog: true, zero: true,
        series: overlay((run) => ({ x: run.unigram.rank, y: run.unigram.keep })) }))));
{
  const count = el("span", { class: "soft", id: "matches", "aria-live": "polite" });
  const search = el("input", { type: "search", id: "search", placeholder: "Search a word", "aria-label": "Search a word on the map", autocomplete: "off", spellcheck: "false" });
  search.addEventListener("input", () => {
    const sizes = maps.map((map) => map.search(search.value.trim()));
    count.textContent = search.value.trim() ? (Math.max(...sizes) ? `${sizes.join(" and ")} found` : "not on the map") : "";
  });
  const button = (text, name, act) => { const made = el("button", { type: "button", "aria-label": name }, text); made.addEventListener("click", act); return made; };
  section("Map of the most frequent words",
    el("p", { class: "soft" }, "The two directions in which the words' vectors, taken at length 1, differ most (PCA), each on a scale of its own. Words used alike lie close together; words that lie close together may still differ in what the plane leaves out."),
    el("div", { class: "tools" }, search,
      button("+", "zoom in", () => maps.forEach((map) => map.zoom(1.6))), button("−", "zoom out", () => maps.forEach((map) => map.zoom(1 / 1.6))),
      button("All", "show the whole map", () => { search.value = ""; count.textContent = ""; maps.forEach((map) => map.search("")); }), count),
    each((run) => el("div", { class: "card" }, wordMap(run.map))));
}
section("Nearest words", each((run) => el("div", { class: two ? "" : "columns" }, [["frequent", "Of frequent words"], ["rare", "Of rare words"]].map(([name, text]) =>
  card(text, table(["word", "times", "nearest, with cosine"], run.neighbors[name].map(({ word, count, near }) =>
    [el("b", {}, word), whole(count), near.map(([other, cosine]) => `${other} ${cosine.toFixed(2)}`).join(", ")]), [1]))))));
if (runs.some((run) => run.evaluation.pairs.length || run.evaluation.analogies.length)) {
  const base = (file) => file.split("/").pop();
  section("Evaluation", each((run) => {
    const e = run.evaluation;
    const rows = e.pairs.map((one) => [base(one.file), "Spearman", one.spearman === null ? "–" : one.spearman.toFixed(4), whole(one.pairs), whole(one.unknown), whole(one.invalid_lines)]);
    e.analogies.forEach((one) => rows.push([base(one.file), `analogies right, ${one.method}`, percent(one.total.accuracy), whole(one.total.questions), whole(one.total.unknown), whole(one.invalid_lines)]));
    return card("", table(["file", "", "result", "asked", "out of vocabulary", "lines left out"], rows, [2, 3, 4, 5]), e.analogies.map((one) =>
      el("details", {}, el("summary", {}, `sections of ${base(one.file)}`),
        table(["section", "right", "asked"], one.sections.filter((s) => s.questions).map((s) => [s.name, percent(s.accuracy), whole(s.questions)]), [1, 2]))));
  }));
}
section("Time", each((run) => {
  if (!run.stages.length) return el("p", { class: "soft" }, "The times of the stages were not kept (the driver did not stay to the end).");
  const most = Math.max(...run.stages.map((stage) => stage.seconds)) || 1;
  return card("", el("div", { class: "bars" }, run.stages.flatMap(({ name, seconds: took }) => {
    const bar = el("i");
    bar.style.width = (100 * took) / most + "%";
    return [el("span", {}, name), el("div", {}, bar), el("span", { class: "soft" }, seconds(took))];
  })));
}));
section("Lines that could not be read", each((run) => {
  const d = run.dead;
  if (!d.bad_lines) return el("p", { class: "soft" }, `None of ${whole(d.lines)} lines.`);
  return card("", el("p", {}, `${whole(d.bad_lines)} of ${whole(d.lines)} lines` + (d.rows.length < d.bad_lines ? `; the first ${d.rows.length}:` : ":")),
    table(["file", "byte", "why", "begins with"], d.rows.map((row) => [row.uri, whole(row.offset), row.reason, el("span", { class: "mono" }, row.sample)]), [1]));
}));
{
  const rowsOf = (part) => [...new Set(runs.flatMap((run) => Object.keys(run[part])))].map((name) => [name, ...runs.map((run) => (part === "versions" ? run[part][name] || "not installed" : shown(run[part][name])))]);
  const head = (first) => [first, ...(two ? names : ["value"])];
  const differs = (row) => two && row[1] !== row[2];
  section("What was run",
    el("div", { class: "columns" },
      card("Options", table(head("option"), rowsOf("config"), [], differs)),
      el("div", {}, card("Versions", table(head("package"), rowsOf("versions"), [], differs)), el("br"),
        runs.map((run, i) => card(two ? `Input, ${names[i]}` : "Input", el("p", { class: "soft" }, `${whole(run.inputs.files)} file${run.inputs.files === 1 ? "" : "s"}, ${short(run.inputs.bytes)}B`),
          table(["file", "bytes"], run.inputs.first.map((file) => [el("span", { class: "mono" }, file.uri), whole(file.size)]), [1]))))));
}
drawings.forEach((fit) => fit());
