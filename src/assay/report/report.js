"use strict";
// Texts reach the page as text nodes only; plots are given numbers and our own words.
(async () => {
  const $ = (id) => document.getElementById(id);
  const ROW = 38, SPARE = 8, POINTS = 4000;
  const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
  const SHORT = { "\t": "\\t", "\n": "\\n", "\r": "\\r" };
  const COLUMNS = [
    ["rank", "rank"], ["row", "row"], ["flagged", "flag"], ["score", "score"],
    ["votes", "methods"], ["text", "text"], ["response", "response"],
  ];
  const meta = JSON.parse($("data").textContent);
  const rows = await unpack($("packed"));
  const total = rows.row.length;
  rows.id = rows.id || rows.row.map((row) => `row-${row}`);
  rows.count = rows.votes.map((bits) => bits.toString(2).replaceAll("0", "").length);
  const responseOf = (i) => rows.responses[rows.response[i]];
  const haystack = rows.text.map((t, i) => `${rows.id[i]}\n${t}\n${responseOf(i)}`.toLowerCase());
  const members = rows.members.map((found) => new Set(found));
  const inFinding = new Set(rows.members.flat());
  const state = { query: "", only: "", finding: "", method: "", picked: null, sort: "rank", down: false };
  let shown = [], chosen = -1, first = -1, focused = -1;

  async function unpack(node) {
    const bytes = Uint8Array.from(atob(node.textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  function make(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  function visible(text, lines) {
    return text.replace(HIDDEN, (c) => {
      if (c === "\n" && lines) return c;
      const code = c.codePointAt(0).toString(16);
      return SHORT[c] || (code.length < 3 ? `\\x${code.padStart(2, "0")}` : `\\u${code.padStart(4, "0")}`);
    });
  }

  // A text as nodes, with the words of findings marked; places count code points.
  function marked(i, whole) {
    const places = rows.marks[i] || [];
    const show = (part) => visible(part.join(""), whole);
    const text = places.length ? Array.from(rows.text[i]) : [rows.text[i]];
    const nodes = [];
    let at = 0;
    if (!whole && places.length && places[0][0] > 30) {
      at = places[0][0] - 20;
      nodes.push("…");
    }
    for (const [start, end] of places) {
      if (start < at || start >= text.length) continue;
      nodes.push(show(text.slice(at, start)), make("mark", {}, show(text.slice(start, end))));
      at = end;
    }
    nodes.push(show(text.slice(at)));
    return nodes;
  }

  // Filter and sort ---------------------------------------------------------------
  function passes(i) {
    return (!state.query || haystack[i].includes(state.query))
      && (!state.only || (state.only === "flagged") === Boolean(rows.flagged[i]))
      && (state.finding === "" || members[state.finding].has(i))
      && (state.method === "" || (rows.votes[i] >> state.method) & 1)
      && (!state.picked || state.picked.has(i));
  }
  const filtered = () => shown.length < total;
  const KEYS = { text: (i) => rows.text[i], response: responseOf, votes: (i) => rows.count[i] };

  // Plots named are left as they are: the one selected in, or all when rows are sorted.
  function update(...kept) {
    shown = [];
    for (let i = 0; i < total; i += 1) if (passes(i)) shown.push(i);
    const key = KEYS[state.sort] || ((i) => rows[state.sort][i] ?? -Infinity);
    const values = new Map(shown.map((i) => [i, key(i)]));
    const sign = state.down ? -1 : 1;
    shown.sort((a, b) => {
      const [u, v] = [values.get(a), values.get(b)];
      return (u < v ? -sign : u > v ? sign : a - b);
    });
    $("count").textContent = `${shown.length.toLocaleString("en")} of ${total.toLocaleString("en")} rows`
      + (state.picked ? ", selected in a plot" : "");
    for (const th of $("head").children) {
      const sorted = th.dataset.key === state.sort;
      th.setAttribute("aria-sort", sorted ? (state.down ? "descending" : "ascending") : "none");
      th.querySelector(".arrow").textContent = sorted ? (state.down ? "▼" : "▲") : "";
    }
    $("table").setAttribute("aria-rowcount", shown.length + 1);
    $("scroller").scrollTop = 0;
    first = focused = -1;
    draw();
    drawPlots(kept);
  }

  // The table holds the rows in view and a few more; spacers stand for the others. ---
  function draw(focus) {
    const keep = focus || $("body").contains(document.activeElement);
    const box = $("scroller");
    const from = Math.max(0, Math.floor(box.scrollTop / ROW) - SPARE);
    if (from === first) return;
    first = from;
    const to = Math.min(shown.length, from + Math.ceil(box.clientHeight / ROW) + 2 * SPARE);
    const space = (count) => {
      const row = make("tr", { class: "space", "aria-hidden": "true" });
      row.style.height = `${count * ROW}px`;
      return row;
    };
    const lines = shown.slice(from, to).map((i, k) => line(i, from + k));
    $("body").replaceChildren(space(from), ...lines, space(shown.length - to));
    if (keep) $("body").querySelector(`[data-place="${focused}"] button`)?.focus({ preventScroll: true });
  }

  const look = (name) => `c-${name === "flagged" ? "flag" : name}`
    + (["rank", "row", "score", "votes"].includes(name) ? " number" : "");

  function line(i, place) {
    const [sign, word] = rows.flagged[i] ? ["◆", " flagged"] : inFinding.has(i) ? ["▲", " finding"] : ["", ""];
    const flag = make("span", rows.flagged[i] ? { class: "flagged" } : {}, sign, make("span", { class: "word" }, word));
    const cells = {
      rank: [rows.rank[i]], row: [make("button", { type: "button", tabindex: place === Math.max(focused, 0) ? 0 : -1 }, rows.row[i])],
      flagged: [flag],
      score: [rows.score[i] === null ? "" : rows.score[i].toPrecision(4)], votes: [rows.count[i]],
      text: marked(i, false), response: [visible(responseOf(i))],
    };
    const node = make("tr", {
      "data-id": rows.id[i], "data-index": i, "data-place": place, "aria-rowindex": place + 2, role: "row",
      ...(i === chosen ? { class: "chosen" } : {}),
    });
    for (const [name] of COLUMNS) {
      node.append(make("td", { class: look(name) }, ...cells[name].map((c) => c instanceof Node ? c : String(c))));
    }
    return node;
  }

  function open(i) {
    chosen = i;
    first = -1;
    draw();
    const methods = meta.detectors.filter((_, bit) => (rows.votes[i] >> bit) & 1);
    const term = (name, ...value) => make("div", {}, make("dt", {}, name), make("dd", {}, ...value));
    const facts = make("dl", {},
      term("id", visible(rows.id[i])), term("rank", String(rows.rank[i])),
      term(`score by ${meta.detector}`, String(rows.score[i] ?? "none")),
      term("flagged by", methods.join(", ") || "no method"),
      term("text", make("bdi", {}, ...marked(i, true))),
      term("response", make("bdi", {}, visible(responseOf(i), true))));
    for (const [name, values] of Object.entries(rows.influence)) {
      facts.append(term(`influence: ${name}`, String(values[i] ?? "none")));
    }
    $("detail").replaceChildren(make("h3", {}, `Row ${rows.row[i]}`), facts);
    $("detail").hidden = false;
  }

  function move(step) {
    const at = Number(document.activeElement.closest("tr")?.dataset.place ?? -1);
    focused = Math.min(Math.max(at + step, 0), shown.length - 1);
    const box = $("scroller"), top = focused * ROW;
    if (top < box.scrollTop) box.scrollTop = top;
    if (top + 3 * ROW > box.scrollTop + box.clientHeight) box.scrollTop = top + 3 * ROW - box.clientHeight;
    first = -1;
    draw(true);
  }

  // Plots -------------------------------------------------------------------------
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  function layout(x, y, more) {
    const axis = (title) => ({ title: { text: title }, gridcolor: color("line"), zerolinecolor: color("line"), linecolor: color("line"), automargin: true });
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: "select", uirevision: "same",
      font: { color: color("ink"), family: "system-ui, sans-serif", size: 13 }, hovermode: "closest",
      margin: { l: 50, r: 10, t: 10, b: 40 }, legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
      xaxis: axis(x), yaxis: axis(y), ...more,
    };
  }
  const config = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["toImage"] };

  // Found rows come first by rank; of the others every k-th is enough for a picture.
  function thinned(list) {
    if (list.length <= POINTS) return list;
    const kept = list.slice(0, POINTS / 2), rest = list.slice(POINTS / 2);
    const step = rest.length / (POINTS / 2);
    for (let k = 0; k < POINTS / 2; k += 1) kept.push(rest[Math.floor(k * step)]);
    return kept;
  }

  function scatter(id, x, y, inside, look) {
    const all = [];
    for (let i = 0; i < total; i += 1) if (inside(i) && x[i] !== null && y[i] !== null) all.push(i);
    const drawn = thinned(all);
    const trace = (name, list, marker) => ({
      type: "scatter", mode: "markers", name, marker, x: list.map((i) => x[i]), y: list.map((i) => y[i]),
      customdata: list, text: list.map((i) => `row ${rows.row[i]}, score ${rows.score[i] ?? "none"}`), hoverinfo: "text+name",
    });
    const kind = (i) => (rows.flagged[i] ? 2 : inFinding.has(i) ? 1 : 0);
    const of = (k) => drawn.filter((i) => kind(i) === k);
    const traces = [
      trace("other", of(0), { symbol: "circle-open", size: 6, color: color("light"), opacity: 0.6 }),
      trace("in a finding, kept", of(1), { symbol: "triangle-up", size: 10, color: color("warn") }),
      trace("flagged", of(2), { symbol: "diamond", size: 10, color: color("flag") }),
    ].filter((t) => t.x.length);
    if (filtered()) {
      const among = new Set(shown);
      traces.push(trace("in the table", thinned(all.filter((i) => among.has(i))), { symbol: "circle-open", size: 13, color: color("accent"), line: { width: 1.5 } }));
    }
    $(id).dataset.points = drawn.length;
    const note = $(`${id}-drawn`);
    note.hidden = drawn.length === all.length;
    note.textContent = `Drawn are ${drawn.length.toLocaleString("en")} of ${all.length.toLocaleString("en")} rows: `
      + "the highest-ranked, and evenly many of the others.";
    $(id).dataset.highlighted = filtered() ? traces.at(-1).x.length : 0;
    return Plotly.react(id, traces, look, config).then(() => listen(id));
  }

  function listen(id) {
    const plot = $(id);
    if (plot.dataset.linked) return;
    plot.dataset.linked = "yes";
    plot.on("plotly_selected", (event) => {
      if (!event?.points) return;
      state.picked = new Set(event.points.map((p) => p.customdata));
      update(id);
    });
    plot.on("plotly_deselect", () => {
      // Drawing anew removes a selection, too.
      if (!state.picked) return;
      state.picked = null;
      update();
    });
    plot.on("plotly_click", (event) => open(event.points[0].customdata));
  }

  function drawPlots(kept = []) {
    if ($("map") && !kept.includes("map")) {
      const group = Number($("group").value);
      const look = layout("component 1", "component 2", { selections: [] });
      scatter("map", rows.x, rows.y, (i) => rows.group[i] === group, look);
    }
    if ($("influence") && !kept.includes("influence")) drawInfluence();
  }

  function drawInfluence() {
    const name = $("transform").value;
    const look = layout("before", `after: ${name}`, { selections: [] });
    scatter("influence", rows.influence.original, rows.influence[name], () => true, look);
    const counts = meta.distributions.find((d) => d.name === name);
    const plain = layout("influence in standard deviations", "rows (logarithmic)", { dragmode: false });
    plain.yaxis.type = "log";
    const steps = (title, key, shade, dash) => ({
      type: "scatter", mode: "lines", name: title, line: { shape: "hv", color: color(shade), dash, width: 2 },
      x: counts.edges.slice(0, -1), y: counts[key].map((n) => n || null), connectgaps: false, hoverinfo: "y+name",
    });
    Plotly.react("distribution", [
      steps("all, before", "before", "light", "solid"), steps("all, after", "after", "accent", "dash"),
      steps("flagged, before", "flagged_before", "flag", "solid"), steps("flagged, after", "flagged_after", "flag", "dot"),
    ], plain, { ...config, displayModeBar: false });
  }

  // Controls ----------------------------------------------------------------------
  for (const [key, title] of COLUMNS) {
    const button = make("button", { type: "button" }, title, " ", make("span", { class: "arrow", "aria-hidden": "true" }));
    button.addEventListener("click", () => {
      // Scores and votes are read from the highest down.
      state.down = state.sort === key ? !state.down : ["score", "votes", "flagged"].includes(key);
      state.sort = key;
      update("map", "influence");
    });
    const th = make("th", { scope: "col", class: look(key), "data-key": key }, button);
    $("head").append(th);
  }
  meta.detectors.forEach((name, bit) => $("method").append(make("option", { value: bit }, name)));
  if ($("map")) {
    meta.groups.forEach((name, k) => $("group").append(make("option", { value: k }, name)));
    $("group").value = total ? rows.group[0] : 0;
    $("group").addEventListener("change", () => drawPlots());
  }
  if ($("influence")) {
    for (const { name } of meta.distributions) $("transform").append(make("option", { value: name }, name));
    $("transform").addEventListener("change", () => drawPlots());
  }
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  let waiting = 0;
  $("query").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { state.query = $("query").value.toLowerCase(); update(); }, 150);
  });
  for (const name of ["only", "finding", "method"]) {
    $(name).addEventListener("change", () => { state[name] = $(name).value; update(); });
  }
  $("clear").addEventListener("click", () => {
    $("filters").reset();
    Object.assign(state, { query: "", only: "", finding: "", method: "", picked: null });
    update();
  });
  for (const button of document.querySelectorAll("button[data-finding]")) {
    button.addEventListener("click", () => {
      $("clear").click();
      $("finding").value = state.finding = button.dataset.finding;
      update();
      $("scroller").scrollIntoView({ block: "center" });
      $("scroller").focus({ preventScroll: true });
    });
  }
  $("scroller").addEventListener("scroll", () => draw(), { passive: true });
  $("body").addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-index]");
    if (!row) return;
    focused = Number(row.dataset.place);
    open(Number(row.dataset.index));
  });
  $("scroller").addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    move(step);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawPlots());
  addEventListener("resize", () => { first = -1; draw(); });
  addEventListener("beforeprint", () => {
    for (const node of document.querySelectorAll("details")) node.open = true;
  });
  update();
  document.documentElement.dataset.ready = "yes";
})();
