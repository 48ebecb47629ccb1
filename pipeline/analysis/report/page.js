// The page, from top to bottom.

const title = two ? "Two runs compared" : "Word vectors: report";
document.title = two ? title : `Word vectors: ${runs[0].uri}`;
page.append(el("h1", {}, title));
page.append(each((run) => {
  const f = run.facts;
  const tiles = [
    [f.model, `${f.dims} dims, ${f.epochs} epoch${f.epochs === 1 ? "" : "s"}`], [whole(f.words), "words"],
    [short(f.tokens), `tokens of ${short(f.corpus_tokens)} in the text`],
    [f.loss === null ? "–" : f.loss.toFixed(4), `loss per pair at ${f.step === f.steps ? "the end" : "this step"}`],
    [whole(f.step), f.steps === null ? "training steps" : `of ${whole(f.steps)} training steps`],
  ];
  return el("div", {}, two ? null : el("p", { class: "mono soft" }, run.uri),
    el("div", { class: "tiles" }, tiles.map(([value, text]) => el("div", { class: "tile" }, el("b", {}, value), el("span", {}, text)))),
    el("p", { class: "soft" }, `Shown are the ${f.vectors}.`),
    el("p", { class: "soft" }, "digest: ", el("span", { class: "digest" }, f.digest)),
    run.warnings.length ? el("div", { class: "card warnings" }, el("h3", {}, run.warnings.length === 1 ? "1 warning" : `${run.warnings.length} warnings`),
      el("ul", {}, run.warnings.map((line) => el("li", {}, line)))) : null);
}));
if (comparison) {
  const c = comparison, n = c.neighborhoods;
  const options = c.config.map(([name, ...values]) => `${name} (${values.map(shown).join(", ")})`).join("; ");
  section("Same or not",
    el("p", {}, "Digests: ", el("b", { class: c.same_digest ? "good" : "bad" }, c.same_digest ? "agree, the models are the same to the bit" : "differ"),
      ". Input: ", el("b", {}, c.same_input ? "the same" : "differs"), "."),
    el("p", {}, "Options that differ: ", el("b", {}, options || "none"), "."),
    n ? el("p", {}, `Neighbourhoods of ${whole(n.words)} shared frequent words: rank correlation ${n.correlation} on average (quartiles ${n.quartiles.join(", ")}); `,
      `${percent(n.overlap)} of the ten nearest words are nearest in both.`) : el("p", { class: "soft" }, "Neighbourhoods are not compared: too few words are shared, or all their cosines are equal."),
    n ? el("p", { class: "soft" }, "Least alike: ", valued(n.least), ". Most alike: ", valued(n.most), ".") : null);
  const m = c.movement;
  if (m.problem) section("What moved", el("p", { class: "soft" }, `Words are not compared one by one: ${m.problem}.`));
  else {
    const newest = (part) => el("p", {}, `${whole(part.words)} words`, part.words ? [": ", listed(part.most_frequent.map(([word]) => word))] : "");
    const share = (value) => (value === null ? "–" : percent(value));
    section("What moved",
      el("p", { class: "soft" }, `From the second run to the first: ${whole(m.shared)} shared words, mean cosine ${m.cosine}` +
        (m.aligned ? ", after the second was turned onto the first, since they lie in spaces of their own." : ".")),
      el("div", { class: "columns" },
        el("div", {},
          card("By frequency", table(["shared words", "cosine", "10 % below", "half below", "90 % below", "neighbours kept"],
            m.bands.map((b) => [`${whole(b.first)} to ${whole(b.last)}`, b.cosine.toFixed(3), ...b.quantiles.map((q) => q.toFixed(3)), share(b.neighbors_kept)]), [1, 2, 3, 4, 5])), el("br"),
          card("New", newest(m.new)), el("br"),
          card("Gone", newest(m.gone))),
        card("Moved most", table(["word", "cosine", "nearest before", "nearest now"],
          m.moved_most.map((w) => [wordOf(w.word), w.cosine.toFixed(3), listed(w.before), listed(w.after)]), [1]))));
  }
}
const tokensPassed = "tokens passed over, all epochs";
const kept = (run) => run.curve.holdout;
section("Training",
  el("div", { class: "columns" },
    card("Loss per pair", runsKey(),
      key(two ? [["solid: training, a running mean", "s0"], ...(runs.some(kept) ? [["dashed: text kept back", "s0", true]] : [])]
        : [["training, a running mean", "s0"], ...(kept(runs[0]) ? [["text kept back", "s1"]] : [])]),
      chart({
        label: "loss by tokens", xlabel: tokensPassed, ylabel: "loss per pair",
        series: [
          ...overlay((run) => ({ faint: true, x: run.curve.tokens, y: run.curve.loss })),
          ...overlay((run) => ({ ...(two ? {} : { name: "training" }), x: run.curve.tokens, y: run.curve.mean })),
          ...runs.flatMap((run, i) => (kept(run)
            ? [{ name: two ? `${names[i]}, kept back` : "kept back", style: two ? "s" + i : "s1", dashed: two, x: run.curve.tokens, y: run.curve.holdout }] : []))],
      })),
    card("Learning rate", runsKey(), chart({ label: "learning rate by tokens", xlabel: tokensPassed, ylabel: "learning rate", zero: true,
      series: overlay((run) => ({ x: run.curve.tokens, y: run.curve.rate })) })),
    card("Words per second", runsKey(), key([["a running mean over a tenth of the time", "s0"]]), chart({ label: "words per second by tokens", xlabel: tokensPassed, ylabel: "words per second", zero: true,
      series: overlay((run) => ({ x: run.speed.tokens, y: run.speed.words })) }))));
if (runs.some((run) => run.evaluations.length)) {
  const kinds = [["pairs", "Word pairs", "Spearman correlation"], ["analogies", "Analogies", "share answered right"]];
  section("Evaluation, checkpoint by checkpoint", each((run) => !run.evaluations.length
    ? el("p", { class: "soft" }, "There is no earlier checkpoint: --keep_checkpoints keeps several.") : el("div", { class: "columns" }, kinds.map(([kind, title, ylabel]) => {
    const files = run.evaluations.filter((one) => one.kind === kind);
    return files.length ? card(title, key(files.map((one, i) => [base(one.file), "s" + i % 6])), chart({ label: `${title.toLowerCase()} by training step`,
      xlabel: "training step", ylabel, series: files.map((one, i) => ({ name: base(one.file), style: "s" + i % 6, dotted: true, x: one.steps, y: one.scores })) })) : null;
  }))));
}
section("Words and their counts",
  el("p", { class: "soft" }, "On logarithmic axes text lies near a falling line (Zipf). " + runs.map((run, i) => `${two ? names[i] + ": " : ""}` +
    (run.zipf.whole ? `${whole(run.zipf.kept)} of ${whole(run.zipf.words)} different words are in the vocabulary` : "words below the cut-off are not shown: there are too many to add up again")).join("; ") + "."),
  el("div", { class: "columns" },
    card("Occurrences by rank", runsKey(), chart({ label: "occurrences by rank", xlabel: "rank of the word", ylabel: "occurrences", xlog: true, ylog: true,
      series: overlay((run) => ({ x: run.zipf.rank, y: run.zipf.count })),
      marks: [...new Set(runs.map((run) => run.zipf.min_count))].map((y) => ({ y, text: `min_count ${y}` })).concat(
        [...new Set(runs.map((run) => run.zipf.max_vocabulary).filter(Boolean))].map((x) => ({ x, text: `max_vocabulary ${x}` }))) })),
    runs.map((run, i) => card(`Share of a rank${two ? ", " + names[i] : ""}`, key([["in the text", "s0"], [`among negatives (power ${run.unigram.power})`, "s1"]]),
      chart({ label: "probability by rank before and after the power", xlabel: "rank of the word", ylabel: "share of all words", xlog: true, ylog: true, series: [
        { name: "text", style: "s0", x: run.unigram.rank, y: run.unigram.before },
        { name: "negatives", style: "s1", x: run.unigram.rank, y: run.unigram.after }] }))),
    card("Tokens kept by subsampling", runsKey(), el("p", { class: "soft" }, runs.map((run, i) =>
      `${two ? names[i] + ": " : ""}subsample ${run.unigram.subsample} keeps ${percent(run.unigram.kept_tokens)} of all tokens`).join("; ") + "."),
      chart({ label: "share of tokens kept by rank", xlabel: "rank of the word", ylabel: "share kept", xlog: true, zero: true,
        series: overlay((run) => ({ x: run.unigram.rank, y: run.unigram.keep })) }))));
{
  const count = el("span", { class: "soft", id: "matches", "aria-live": "polite" });
  const search = el("input", { type: "search", id: "search", placeholder: "Search a word", "aria-label": "Search a word on the map", autocomplete: "off", spellcheck: "false" });
  search.addEventListener("input", () => {
    const sizes = maps.map((map) => map.search(search.value.trim()));
    count.textContent = search.value.trim() ? (Math.max(...sizes) ? `${sizes.join(" and ")} found` : "not on the map") : "";
  });
  const button = (text, name, act) => { const made = el("button", { type: "button", "aria-label": name }, text); made.addEventListener("click", act); return made; };
  const texts = {
    tsne: "t-SNE: words of similar vectors lie close together. Distances between far groups, and directions, mean nothing. The same model has the same map on one machine with one version of scikit-learn; it is in no digest.",
    pca: "The two directions in which the words' vectors, taken at length 1, differ most (principal components), each on a scale of its own. Words that lie close together may still differ in what the plane leaves out.",
  };
  const { method, remedy } = runs[0].map;
  section(`Map of the ${mostFrequent(Math.max(...runs.map((run) => run.map.words.length)))}`,
    el("p", { class: "soft" }, texts[method]),
    method === "pca" && remedy ? el("p", { class: "soft" }, "A map by t-SNE, which keeps neighbours together, needs scikit-learn: ", el("code", {}, remedy), ", then beam2vec report.") : null,
    el("div", { class: "tools" }, search,
      button("+", "zoom in", () => maps.forEach((map) => map.zoom(1.6))), button("−", "zoom out", () => maps.forEach((map) => map.zoom(1 / 1.6))),
      button("All", "show the whole map", () => { search.value = ""; count.textContent = ""; maps.forEach((map) => map.all()); }), count),
    each((run) => el("div", { class: "card" }, wordMap(run.map))));
}
section("Nearest words", each((run) => el("div", { class: two ? "" : "columns" }, [["frequent", "Of frequent words"], ["rare", "Of rare words"]].map(([name, text]) =>
  card(text, table(["word", "times", "nearest, with cosine"], run.neighbors[name].map(({ word, count, near }) =>
    [el("b", {}, wordOf(word)), whole(count), valued(near.map(([other, cosine]) => [other, cosine.toFixed(2)]))]), [1]))))));
if (runs.some((run) => run.evaluation.pairs.length || run.evaluation.analogies.length)) {
  section("Evaluation", each((run) => {
    const e = run.evaluation;
    const rows = e.pairs.map((one) => [base(one.file), "Spearman", one.spearman === null ? "–" : one.spearman.toFixed(4), whole(one.pairs), whole(one.unknown), whole(one.invalid_lines)]);
    e.analogies.forEach((one) => rows.push([base(one.file), `analogies right, ${one.method}`, percent(one.total.accuracy), whole(one.total.questions), whole(one.total.unknown), whole(one.invalid_lines)]));
    return card("", table(["file", "", "result", "asked", "out of vocabulary", "lines left out"], rows, [2, 3, 4, 5]), e.analogies.map((one) =>
      el("details", {}, el("summary", {}, `sections of ${base(one.file)}`),
        table(["section", "right", "asked"], one.sections.filter((s) => s.questions).map((s) => [s.name, percent(s.accuracy), whole(s.questions)]), [1, 2]))));
  }));
}
const longest = Math.max(1e-9, ...runs.flatMap((run) => run.stages.map((stage) => stage.seconds)));
section("Time", el("p", { class: "soft" }, "The first run on a machine compiles its kernels within these times."), each((run) => {
  if (!run.stages.length) return el("p", { class: "soft" }, "None are kept: the command that trains keeps them where it stays to the end.");
  return card("", el("div", { class: "bars" }, run.stages.flatMap(({ name, seconds: took }) => {
    const bar = el("i");
    bar.style.width = (100 * took) / longest + "%";
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
  const plain = (row) => !differs(row) && runs.every((run) => run.defaults.includes(row[0]));
  const chosen = rowsOf("config").filter((row) => !plain(row)), others = rowsOf("config").filter(plain);
  section("What was run",
    el("div", { class: "columns" },
      card("Options", chosen.length ? table(head("option"), chosen, [], differs) : null,
        others.length ? el("details", {}, el("summary", {}, `${others.length} options with their default values`), table(head("option"), others)) : null),
      el("div", {}, card("Versions", table(head("package"), rowsOf("versions"), [], differs)),
        runs.flatMap((run, i) => [el("br"), card(two ? `Input, ${names[i]}` : "Input", el("p", { class: "soft" }, `${whole(run.inputs.files)} file${run.inputs.files === 1 ? "" : "s"}, ${short(run.inputs.bytes)}B`),
          table(["file", "bytes"], run.inputs.first.map((file) => [el("span", { class: "mono" }, file.uri), whole(file.size)]), [1]))]))));
}
drawings.forEach((fit) => fit());
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
