
// The map of words.

const maps = [];
const ruler = document.createElement("canvas").getContext("2d");
function wordMap(data) {
  const size = data.words.length;
  const method = { tsne: ["t-SNE", "t-SNE, first axis", "t-SNE, second axis"], pca: ["principal components", "first component", "second component"] }[data.method];
  const picture = svg("svg", { role: "application", "aria-label": `map of the ${mostFrequent(size)} by ${method[0]}; arrow keys go from word to word, + and − zoom, Escape shows all`, tabindex: "0" });
  const about = el("p", { class: "soft about", "aria-live": "polite" }, "Point at a word, search for one, or go from word to word with the arrow keys.");
  const holder = el("div", { class: "map" }, picture, about);
  const lowest = Math.log(Math.min(...data.counts) + 1), highest = Math.log(Math.max(...data.counts) + 1);
  const radius = (i) => 2 + 2.5 * (Math.log(data.counts[i] + 1) - lowest) / Math.max(1e-9, highest - lowest);
  const dots = data.words.map((word, i) => svg("circle", { "data-i": i }));
  const labels = svg("g", {}), axes = svg("g", {}), pointer = svg("circle", { class: "chosen", r: 9, visibility: "hidden" });
  picture.append(axes, svg("g", {}, dots), pointer, labels);
  const middle = (values) => (Math.max(...values) + Math.min(...values)) / 2;
  const reach = (values) => Math.max(1e-9, (Math.max(...values) - Math.min(...values)) / 2);
  const center = size ? { x: middle(data.x), y: middle(data.y) } : { x: 0, y: 0 };
  let view = { x: 0, y: 0, k: 1 }, base = { x: 1, y: 1 }, width = 0, height = 0, found = new Set(), near = new Set(), chosen = null;
  const index = new Map(data.words.map((word, i) => [word, i]));
  const flat = (i) => [(data.x[i] - center.x) * base.x, (center.y - data.y[i]) * base.y];
  const at = (i) => { const [x, y] = flat(i); return [width / 2 + (x - view.x) * view.k, height / 2 + (y - view.y) * view.k]; };

  // A label goes where it meets no other one, right of its dot if it can, and stays within the plot.
  function placed(words) {
    const family = getComputedStyle(document.body).fontFamily;
    const cells = new Map(), boxes = [];
    const overlaps = (box) => box.cells.some((cell) => (cells.get(cell) || []).some((other) =>
      box.left < other.right && other.left < box.right && box.top < other.bottom && other.top < box.bottom));
    const made = [];
    for (const [i, style] of words) {
      const [x, y] = at(i), large = style === "found", font = large ? 13 : 11.5;
      ruler.font = `${large ? 700 : style ? 600 : 400} ${font}px ${family}`;
      const text = data.words[i].length > 40 ? data.words[i].slice(0, 39) + "…" : data.words[i];
      const wide = ruler.measureText(text).width, gap = radius(i) + 3, high = font * 1.2;
      for (const [left, middle] of [[x + gap, y], [x - gap - wide, y], [x - wide / 2, y - gap - high / 2], [x - wide / 2, y + gap + high / 2]]) {
        const box = { left: left - 3, right: left + wide + 3, top: middle - high / 2 - 2, bottom: middle + high / 2 + 2, cells: [] };
        if (box.left < 0 || box.right > width || box.top < 0 || box.bottom > height - 18) continue;
        for (let cx = Math.floor(box.left / 40); cx <= Math.floor(box.right / 40); cx++)
          for (let cy = Math.floor(box.top / 20); cy <= Math.floor(box.bottom / 20); cy++) box.cells.push(cx + ":" + cy);
        if (overlaps(box)) continue;
        box.cells.forEach((cell) => cells.set(cell, [...(cells.get(cell) || []), box]));
        boxes.push(box);
        made.push(svg("text", { x: left.toFixed(1), y: (middle + font * 0.35).toFixed(1), "data-i": i, ...(style ? { class: style } : {}) }, text));
        break;
      }
    }
    return made;
  }
  function draw() {
    if (!width) return;
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    dots.forEach((dot, i) => {
      const [x, y] = at(i);
      dot.setAttribute("cx", x.toFixed(1));
      dot.setAttribute("cy", y.toFixed(1));
      const style = found.has(i) ? "found" : near.has(i) ? "near" : "";
      if (dot.getAttribute("class") !== style) dot.setAttribute("class", style);
      dot.setAttribute("r", (found.has(i) ? 6 : near.has(i) ? 4.5 : radius(i) * Math.min(1.6, 0.9 + 0.1 * view.k)).toFixed(1));
    });
    pointer.setAttribute("visibility", chosen === null ? "hidden" : "visible");
    if (chosen !== null) { const [x, y] = at(chosen); pointer.setAttribute("cx", x.toFixed(1)); pointer.setAttribute("cy", y.toFixed(1)); }
    const inside = (i) => { const [x, y] = at(i); return x >= 0 && y >= 0 && x <= width && y <= height; };
    const room = (width * height) / 4000;
    const first = chosen !== null && !found.has(chosen) ? [[chosen, "chosen"]] : [];
    const wanted = [...first, ...[...found].map((i) => [i, "found"]), ...[...near].filter((i) => !found.has(i)).map((i) => [i, "near"])];
    const taken = new Set(wanted.map(([i]) => i));
    for (let i = 0; i < size && wanted.length < 4 * room; i++) if (!taken.has(i)) wanted.push([i, ""]);
    labels.replaceChildren(...placed(wanted.filter(([i]) => inside(i))).slice(0, Math.ceil(room)));
    axes.replaceChildren(
      svg("text", { class: "name x", x: width - 8, y: height - 6, "text-anchor": "end" }, method[1] + " →"),
      svg("text", { class: "name y", x: 8, y: height - 6 }, "↑ " + method[2]));
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
    base = { x: (width / 2 - 24) / reach(data.x), y: (height / 2 - 26) / reach(data.y) };
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
    if (i === chosen) return;
    chosen = i;
    near = new Set(i === null ? [] : data.near[i].map((word) => index.get(word)).filter((n) => n !== undefined));
    if (i !== null) about.replaceChildren(el("b", {}, wordOf(data.words[i])), `, ${whole(data.counts[i])} times; nearest: `, listed(data.near[i]));
    redraw();
  }
  function bringIntoView(i) {
    const [x, y] = at(i);
    if (x < 20 || y < 20 || x > width - 20 || y > height - 20) [view.x, view.y] = flat(i);
  }
  // The nearest word that lies more ahead than aside.
  function step([right, down]) {
    if (!size) return;
    if (chosen === null) { show(0); bringIntoView(0); return; }
    const [x, y] = at(chosen);
    let best = null, distance = Infinity;
    for (let i = 0; i < size; i++) {
      const [a, b] = at(i), ahead = (a - x) * right + (b - y) * down, aside = Math.abs((a - x) * down) + Math.abs((b - y) * right);
      if (i !== chosen && ahead > 0 && aside <= ahead && ahead + 2 * aside < distance) { distance = ahead + 2 * aside; best = i; }
    }
    if (best !== null) { show(best); bringIntoView(best); }
  }
  function all() { view = { x: 0, y: 0, k: 1 }; found = new Set(); show(null); redraw(); }
  picture.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey && !holder.contains(document.activeElement) && view.k === 1) return; // the page scrolls
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
    if (move) step(move);
    else if (event.key === "+" || event.key === "=") zoom(1.5, ...(chosen === null ? [] : at(chosen)));
    else if (event.key === "-") zoom(1 / 1.5, ...(chosen === null ? [] : at(chosen)));
    else if (event.key === "Escape") all();
    else return;
    event.preventDefault();
  });
  maps.push({
    zoom,
    all,
    search(text) {
      const wanted = text.toLowerCase();
      const rows = wanted ? data.words.map((_, i) => i).filter((i) => data.words[i].toLowerCase().startsWith(wanted)) : [];
      const exact = rows.filter((i) => data.words[i].toLowerCase() === wanted);
      if (!rows.length) { all(); return 0; }
      found = new Set(exact.length ? exact : rows);
      view = { k: 3, x: 0, y: 0 };
      [view.x, view.y] = flat([...found][0]);
      show([...found][0]);
      redraw();
      return found.size;
    },
  });
  return holder;
}

