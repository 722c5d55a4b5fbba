// Helpers shared by all page scripts: elements, numbers, chemical typography, theme.

const $ = (id) => document.getElementById(id);

/** Create an element: el("p", {class: "x", onclick: f}, "text", node, …). Text is never parsed as HTML. */
function el(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "circle", "line", "path", "defs", "radialGradient", "stop", "text", "title"].includes(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

const data = JSON.parse($("report-data").textContent);
const rows = data.rows.map((values, index) => {
  const row = Object.fromEntries(data.columns.map((name, i) => [name, values[i]]));
  row.index = index;
  return row;
});

const MINUS = "\u2212";

/** Number with a fixed count of decimals and a true minus sign; a dash when unknown. */
function number(value, decimals) {
  if (value === null || value === undefined) return "–";
  const text = value.toFixed(decimals);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", MINUS);
}

/** Energy in eV/atom as a string in meV/atom. */
const mev = (value) => (value === null || value === undefined ? "–" : number(1000 * value, 0));

/** "Li3PO4" with subscripts, as nodes. Digits count as subscripts after a letter or a closing bracket. */
function formula(text) {
  const parts = String(text || "unknown").split(/((?<=[A-Za-z)\]])\d+(?:\.\d+)?)/);
  return parts.filter(Boolean).map((part, i) => (i % 2 && /^\d/.test(part) ? el("sub", {}, part) : part));
}

/** "0.50 BaO + 0.50 TiO2" as nodes; one phase alone, which has the candidate's own composition, as "the known BaO". */
function decomposition(text) {
  if (/^1\.0*\s/.test(text) && !text.includes(" + ")) return ["the known ", ...formula(text.replace(/^\S+\s+/, ""))];
  return text.split(" + ").flatMap((term, i) => {
    const [, amount, phase] = term.match(/^([\d.]+)\s+(.+)$/) || [null, "", term];
    return [i ? " + " : "", amount ? `${amount} ` : "", ...formula(phase)];
  });
}

/** Space-group number as its symbol, italic, with overlines for inversion and subscripts for screw axes. */
function spacegroup(value) {
  if (!value) return ["–"];
  const symbol = data.spacegroups[value] || String(value);
  const parts = symbol.split(/(-\d|_\d)/).filter(Boolean);
  return [
    el("span", { class: "sg" }, parts.map((part) => {
      if (part[0] === "-") return el("span", { class: "bar" }, el("span", { class: "sr" }, "-"), part[1]);
      return part[0] === "_" ? el("sub", {}, part[1]) : part;
    })),
  ];
}

/** Plain-text symbol for places that take no markup. */
const spacegroupText = (value) => (value ? (data.spacegroups[value] || String(value)).replace("_", "") : "–");

/** What a candidate is, in words: never colour alone. */
function status(row) {
  if (row.failure) return { key: "failed", label: "Failed", mark: "×" };
  if (row.shortlisted) return { key: "short", label: "Shortlist", mark: "★" };
  if (row.unique === false) return { key: "known", label: "Duplicate", mark: "≡" };
  if (row.novel === false) return { key: "known", label: "Known", mark: "≡" };
  if (row.doubt && row.e_above_hull <= data.near) return { key: "open", label: "Doubted", mark: "?" };
  if (row.e_above_hull === null) return { key: "open", label: "No energy", mark: "○" };
  return { key: "alive", label: "Above", mark: "△" };
}

const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Text for Plotly, which reads a little HTML: make sure user text stays text. */
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

/** Formula for Plotly labels, with its own <sub>. */
const plotFormula = (text) => plain(text).replace(/([A-Za-z)\]])(\d+(?:\.\d+)?)/g, "$1<sub>$2</sub>");

const themeListeners = [];
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  const dark = theme === "dark";
  $("theme").setAttribute("aria-pressed", String(dark));
  themeListeners.forEach((listener) => listener());
}

/** Offer a text (or a Blob) as a file. */
function download(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/** Run once when the element comes near the viewport. */
function whenNear(node, run) {
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    run();
  }, { rootMargin: "150px" });
  observer.observe(node);
}
