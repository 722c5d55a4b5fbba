// The map: points in WebGL, names that make room as one zooms, colours by any column, search, light and dark.

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const total = data.x.length;
const PALETTE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9"]; // Okabe and Ito: safe for colour blindness
// viridis without its end that vanishes on the ground: lightness alone tells more from less
const SCALES = { light: ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0b92a"],
  dark: ["#5b6fd8", "#3f93c4", "#2fb3a0", "#6cc55a", "#b7d33c", "#fde725"] };
const LABEL_PIXELS = { broad: 6.2, named: 8 }; // width of a letter of a name
const state = { color: data.color, picked: null, found: null, theme: "light" };
const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Create an element; text is never parsed as HTML. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** "Li3PO4" with subscripts, as nodes. */
const formula = (text) => text.split(/((?<=[A-Za-z)\]])\d+(?:\.\d+)?)/).filter(Boolean)
  .map((part, i) => (i % 2 && /^\d/.test(part) ? el("sub", {}, part) : part));

const column = (name) => data.columns.find((c) => c.name === name);
const count = (number) => number.toLocaleString("en");
const number = (value, digits) => value.toFixed(digits).replace("-", "\u2212");

/** A value of a column in words. */
function said(c, i) {
  const value = c.values[i];
  if (value === null) return null;
  if (c.words) return c.words[value];
  if (c.name.includes("hull")) return `${number(1000 * value, 0)} meV/atom`;
  if (c.name.includes("energy")) return `${number(value, 3)} eV/atom`;
  if (c.name.includes("probability") || c.name.startsWith("p_")) return `${Math.round(100 * value)} %`;
  return Number.isInteger(value) ? count(value) : number(value, 3);
}

// --- colour -------------------------------------------------------------------------------------------------------

/** Groups of the present colouring, the largest first: {name, size, of(i)}; null for a column of numbers. */
function groups() {
  const c = state.color === "cluster" ? null : column(state.color);
  if (c && !c.words) return null;
  const names = c ? c.words : data.clusters;
  const values = c ? c.values : data.cluster;
  const sizes = new Array(names.length).fill(0);
  for (let i = 0; i < data.known; i++) if (values[i] !== null && values[i] >= 0) sizes[values[i]] += 1;
  return { names, values, sizes };
}

/** Least and greatest of a column, without the outermost on both sides: energies have a long tail. */
function range(c) {
  const sorted = c.values.slice(0, data.known).filter((v) => v !== null).sort((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  return [at(0.02), at(0.95)];
}

function shade(t) {
  const SCALE = SCALES[state.theme];
  const at = Math.max(0, Math.min(1, t)) * (SCALE.length - 1);
  const low = Math.min(SCALE.length - 2, Math.floor(at));
  const part = at - low;
  const byte = (hex, k) => parseInt(hex.slice(1 + 2 * k, 3 + 2 * k), 16);
  return `rgb(${[0, 1, 2].map((k) => Math.round(byte(SCALE[low], k) * (1 - part) + byte(SCALE[low + 1], k) * part))})`;
}

/** Colour of every known point; what is not looked for fades into the rest. */
function colors() {
  const rest = token("--rest");
  const g = groups();
  const c = g ? null : column(state.color);
  const [low, high] = c ? range(c) : [];
  return Array.from({ length: data.known }, (_, i) => {
    if (state.found && !state.found.has(i)) return rest;
    const value = g ? g.values[i] : c.values[i];
    if (value === null || value < 0 && g) return rest;
    if (!g) return shade(high > low ? (value - low) / (high - low) : 0.5);
    return state.picked === null || state.picked === value ? PALETTE[value % PALETTE.length] : rest;
  });
}

function drawLegend() {
  const g = groups();
  if (!g) {
    const c = column(state.color);
    const ends = range(c).map((v) => said({ ...c, values: [v] }, 0));
    const unknown = c.values.slice(0, data.known).filter((v) => v === null).length;
    $("legend").replaceChildren(
      el("div", { class: "scale", style: `background: linear-gradient(90deg, ${SCALES[state.theme].join(", ")})` }),
      el("div", { class: "ends quiet" }, el("span", {}, `≤ ${ends[0]}`), el("span", {}, `≥ ${ends[1]}`)),
      unknown ? el("p", { class: "quiet" }, `${count(unknown)} without a value are grey.`) : "");
    return;
  }
  const order = g.names.map((_, k) => k).sort((a, b) => g.sizes[b] - g.sizes[a]);
  $("legend").replaceChildren(...order.map((k) => el("button", {
    type: "button", "aria-pressed": String(state.picked === k),
    onclick: () => { state.picked = state.picked === k ? null : k; recolor(); drawLegend(); },
  }, el("span", { class: "dot", style: `background:${PALETTE[k % PALETTE.length]}` }), el("span", {}, g.names[k]),
  el("span", {}, count(g.sizes[k])))));
}

// --- drawing ------------------------------------------------------------------------------------------------------

const hasGl = (() => { const probe = document.createElement("canvas"); return Boolean(probe.getContext("webgl2") || probe.getContext("webgl")); })();
const drawn = Math.min(data.known, hasGl ? data.known : 6000); // without WebGL fewer points, drawn as SVG

function traces() {
  const kind = hasGl ? "scattergl" : "scatter";
  const known = { type: kind, mode: "markers", x: data.x.slice(0, drawn), y: data.y.slice(0, drawn), hoverinfo: "none",
    marker: { size: drawn > 15000 ? 3.5 : drawn > 4000 ? 5 : 7, color: colors(), opacity: 0.85 } };
  const stars = { type: kind, mode: "markers", x: data.x.slice(data.known), y: data.y.slice(data.known), hoverinfo: "none",
    marker: { size: 15, symbol: "star", color: token("--ink"), line: { width: 1.2, color: token("--card") } } };
  return data.known < total ? [known, stars] : [known];
}

/** Where each cluster's name stands: its point nearest to the middle of the cluster. */
const anchors = (() => {
  const members = data.clusters.map(() => []);
  for (let i = 0; i < data.known; i++) if (data.cluster[i] >= 0) members[data.cluster[i]].push(i);
  const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];
  return members.map((list) => {
    const [mx, my] = [median(list.map((i) => data.x[i])), median(list.map((i) => data.y[i]))];
    return list.reduce((best, i) => (Math.hypot(data.x[i] - mx, data.y[i] - my) < Math.hypot(data.x[best] - mx, data.y[best] - my) ? i : best), list[0]);
  });
})();

/** Names of clusters, the largest first, wherever none is there yet: more of them as one zooms in. */
function names(layout) {
  const box = $("plot").getBoundingClientRect();
  const [[x0, x1], [y0, y1]] = [layout.xaxis.range, layout.yaxis.range];
  const taken = [];
  const shown = [];
  for (let k = 0; k < anchors.length && shown.length < 40; k++) {
    const i = anchors[k];
    const broad = !data.clusters[k].endsWith(")"); // a named prototype has its key behind
    const text = data.clusters[k].replace(/ (\(|of ).*/, "");
    const [px, py] = [(data.x[i] - x0) / (x1 - x0) * box.width, (data.y[i] - y0) / (y1 - y0) * box.height];
    const half = text.length * LABEL_PIXELS[broad ? "broad" : "named"] / 2 + 6;
    const inside = px > half && px < box.width - half && py > 14 && py < box.height - 14;
    if (!inside || taken.some(([x, y, w]) => Math.abs(x - px) < w + half + 10 && Math.abs(y - py) < 26)) continue;
    taken.push([px, py, half]);
    shown.push({ x: data.x[i], y: data.y[i], text, showarrow: false,
      font: { color: token(broad ? "--muted" : "--ink"), size: broad ? 11.5 : 13, weight: broad ? 400 : 600 }, captureevents: false });
  }
  return shown;
}

let view = null; // {xaxis: {range}, yaxis: {range}}
function whole() {
  const box = $("plot").getBoundingClientRect();
  const side = 2.16 / Math.min(box.width, box.height); // the picture lies between -1 and 1
  return { xaxis: { range: [-side * box.width / 2, side * box.width / 2] }, yaxis: { range: [-side * box.height / 2, side * box.height / 2] } };
}

function draw() {
  view = view || whole();
  const axis = { visible: false, zeroline: false, showgrid: false };
  const layout = { margin: { l: 0, r: 0, t: 0, b: 0 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    xaxis: { ...axis, range: [...view.xaxis.range] }, yaxis: { ...axis, range: [...view.yaxis.range] }, showlegend: false, dragmode: "pan",
    hovermode: "closest", hoverdistance: 12, annotations: names(view), font: { family: "system-ui, sans-serif" } };
  return window.Plotly.react($("plot"), traces(), layout, { displayModeBar: false, scrollZoom: true, responsive: true, doubleClick: false });
}

const recolor = () => window.Plotly.restyle($("plot"), { "marker.color": [colors()] }, [0]);

let renaming = false;
function moved(event) {
  const range = (name) => event[`${name}.range`] || (event[`${name}.range[0]`] !== undefined ? [event[`${name}.range[0]`], event[`${name}.range[1]`]] : null);
  if (renaming || !(range("xaxis") || range("yaxis"))) return;
  view = { xaxis: { range: range("xaxis") || view.xaxis.range }, yaxis: { range: range("yaxis") || view.yaxis.range } };
  renaming = true;
  window.Plotly.relayout($("plot"), { annotations: names(view) }).then(() => { renaming = false; });
}

function zoom(factor) {
  const scaled = ([a, b]) => [(a + b) / 2 - (b - a) / 2 * factor, (a + b) / 2 + (b - a) / 2 * factor];
  view = { xaxis: { range: scaled(view.xaxis.range) }, yaxis: { range: scaled(view.yaxis.range) } };
  draw();
}

// --- telling ------------------------------------------------------------------------------------------------------

const TIP = ["e_above_hull", "formation_energy_per_atom", "disorder_probability"];
const SHORT = { e_above_hull: "above hull", formation_energy_per_atom: "formation", disorder_probability: "disordered" };

function place(event) {
  const point = event.points[0];
  return point.curveNumber ? data.known + point.pointNumber : point.pointNumber;
}

function hover(event) {
  const i = place(event);
  const tip = $("tip");
  const facts = TIP.map((name) => [name, column(name)]).filter(([, c]) => c && c.values[i] !== null)
    .map(([name, c]) => el("div", {}, `${SHORT[name]} ${said(c, i)}`));
  tip.replaceChildren(el("b", {}, i >= data.known ? "★ " : "", ...formula(data.formula[i])), ` ${data.symbols[data.spacegroup[i]]}`, ...facts);
  tip.hidden = false;
  const box = $("plot").getBoundingClientRect();
  const [x, y] = [event.event.clientX - box.left, event.event.clientY - box.top];
  tip.style.left = `${Math.max(4, Math.min(x + 14, box.width - tip.offsetWidth - 8))}px`;
  tip.style.top = `${Math.max(4, Math.min(y + 14, box.height - tip.offsetHeight - 8))}px`;
}

function show(i) {
  const cluster = data.cluster[i] >= 0 ? data.clusters[data.cluster[i]] : "none";
  const facts = [["Id", data.id[i]], ["Space group", `${data.symbols[data.spacegroup[i]]} (${data.spacegroup[i]})`],
    ["Prototype", data.prototypes[data.prototype[i]]], ["Cluster", cluster],
    ...data.columns.filter((c) => c.name !== "spacegroup").map((c) => [c.heading.replace(/ \(.*/, ""), said(c, i)])];
  $("card").replaceChildren(
    el("button", { type: "button", class: "close small", onclick: () => { $("card").hidden = true; } }, "Close"),
    el("h2", {}, i >= data.known ? "★ " : "", ...formula(data.formula[i])),
    el("dl", {}, facts.filter(([, value]) => value !== null).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
    i < data.known ? el("p", { class: "quiet" }, "Its neighbours: ", el("code", {}, `genmat explore near ${data.id[i]} --map …`)) : "");
  $("card").hidden = false;
}

/** Rows a text asks for: an id, a formula, a prototype key, or a chemical system such as Li-P-S. */
function find(text) {
  const wanted = text.trim();
  if (!wanted) return null;
  const elements = (value) => new Set(value.match(/[A-Z][a-z]?/g) || []);
  const system = /^[A-Z][a-z]?(-[A-Z][a-z]?)*$/.test(wanted) ? new Set(wanted.split("-")) : null;
  const lower = wanted.toLowerCase();
  const kinds = new Set(data.prototypes.flatMap((key, k) => (key === wanted ? [k] : [])));
  const found = new Set();
  for (let i = 0; i < total; i++) {
    const own = system && elements(data.formula[i]);
    if (data.formula[i] === wanted || data.id[i].toLowerCase() === lower || kinds.has(data.prototype[i]) ||
      (own && (system.size > 1 ? own.size === system.size && [...own].every((e) => system.has(e)) : own.has(wanted)))) found.add(i);
  }
  return found;
}

// --- start --------------------------------------------------------------------------------------------------------

function setTheme(theme) {
  state.theme = theme;
  document.documentElement.dataset.theme = theme;
  $("theme").setAttribute("aria-pressed", String(theme === "dark"));
  drawLegend();
  draw();
}

$("color").append(el("option", { value: "cluster" }, "Cluster"), ...data.columns.map((c) => el("option", { value: c.name }, c.heading)));
$("color").value = state.color;
$("color").onchange = () => { state.color = $("color").value; state.picked = null; recolor(); drawLegend(); };
$("search").oninput = () => {
  state.found = find($("search").value);
  const found = state.found;
  $("found").textContent = found === null ? "" : found.size ? `${count(found.size)} found, the others are grey` : "none among those drawn";
  recolor();
  if (found && found.size === 1) show([...found][0]);
};
$("theme").onclick = () => setTheme(state.theme === "dark" ? "light" : "dark");
$("in").onclick = () => zoom(0.7);
$("out").onclick = () => zoom(1 / 0.7);
$("home").onclick = () => { view = whole(); draw(); };
setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
$("plot").on("plotly_relayout", moved);
$("plot").on("plotly_hover", hover);
$("plot").on("plotly_unhover", () => { $("tip").hidden = true; });
$("plot").on("plotly_click", (event) => show(place(event)));
new ResizeObserver(() => { view = null; draw(); }).observe($("plot"));
