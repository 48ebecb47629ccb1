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
// A word keeps its own direction of writing, and only a very long one is broken.
const wordOf = (text) => el("bdi", text.length > 20 ? { class: "long" } : {}, text);
const joined = (parts) => el("span", {}, parts.flatMap((part, i) => (i ? [", ", part] : [part])));
const listed = (words) => joined(words.map(wordOf));
const valued = (rows) => joined(rows.map(([word, value]) => el("span", {}, wordOf(word), " ", value)));
const overlay = (pick) => runs.map((run, i) => ({ name: names[i], style: "s" + i, ...pick(run) }));
const runsKey = () => (two ? key(names.map((name, i) => [name, "s" + i])) : null);
const mostFrequent = (words) => (words === 1 ? "most frequent word" : `${whole(words)} most frequent words`);
const base = (file) => file.split("/").pop();
