// Histogram and space-group charts. Colours come from the style sheet, so both themes redraw from the same code.

const PLOT_CONFIG = { displaylogo: false, responsive: true, displayModeBar: false };

function plotLayout(extra) {
  const axis = {
    gridcolor: token("--line"), zerolinecolor: token("--line"), linecolor: token("--line"), automargin: true,
    tickfont: { color: token("--muted"), size: 12 }, title: { font: { color: token("--muted"), size: 13 } },
    fixedrange: true,
  };
  const base = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest", dragmode: false,
    font: { family: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", color: token("--ink"), size: 13 },
    margin: { l: 56, r: 12, t: 8, b: 48 }, bargap: 0.12,
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { color: token("--ink") } },
    hoverlabel: { bgcolor: token("--card"), bordercolor: token("--line"), font: { color: token("--ink") } },
  };
  const titled = (name) => ({
    ...axis, ...extra[name], title: { ...axis.title, text: extra[name]?.label || "", standoff: 10 },
  });
  return { ...base, ...extra, xaxis: titled("xaxis"), yaxis: titled("yaxis") };
}

/** Draw and say in words what is drawn. */
function plot(id, traces, layout, description) {
  const node = $(id);
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", description);
  return window.Plotly.react(node, traces, plotLayout(layout), PLOT_CONFIG);
}

/** The numbers of a chart as a table, for readers who want or need them. */
function numbersTable(id, caption, head, lines) {
  $(id).replaceChildren(el("table", {},
    el("caption", { class: "sr" }, caption),
    el("thead", {}, el("tr", {}, head.map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, lines.map((line) => el("tr", {}, line.map((cell, i) =>
      (i ? el("td", {}, ...[cell].flat()) : el("th", { scope: "row" }, ...[cell].flat()))))))));
}

const HATCH = { shape: "/", size: 6, solidity: 0.3, fillmode: "overlay" };

/** Energies above the hull, 25 meV/atom per bar (10 where all are low); the last bar collects everything beyond. */
function drawHistogram() {
  const known = rows.filter((row) => row.e_above_hull !== null);
  const highest = known.reduce((most, row) => Math.max(most, row.e_above_hull), 0);
  const lowest = known.reduce((least, row) => Math.min(least, row.e_above_hull), 0);
  const [step, top] = highest < 0.14 ? [0.01, 0.14] : [0.025, 0.5];
  const first = Math.max(-12, Math.floor(lowest / step + 1e-9));
  const bins = Math.round(top / step) - first + 1;
  const bin = (row) => Math.max(0, Math.min(bins - 1, Math.floor(row.e_above_hull / step + 1e-9) - first));
  const isNew = (row) => row.novel !== false && row.unique !== false;
  const counts = [new Array(bins).fill(0), new Array(bins).fill(0)];
  known.forEach((row) => { counts[isNew(row) ? 0 : 1][bin(row)] += 1; });
  const centre = counts[0].map((_, i) => 1000 * (first + i + 0.5) * step);
  const span = counts[0].map((_, i) => {
    const from = Math.round(1000 * (first + i) * step);
    return i === bins - 1 ? `above ${from}` : `${from} to ${from + 1000 * step}`;
  });
  const judged = known.some((row) => row.novel !== null);
  const names = judged ? ["new", "known or duplicate"] : ["candidates", "duplicate"];
  const traces = counts.map((y, i) => ({
    type: "bar", name: names[i], x: centre, y, customdata: span, hovertemplate: "%{customdata} meV/atom: %{y}",
    marker: { color: token(i ? "--second" : "--accent"), pattern: i ? { ...HATCH, fgcolor: token("--card") } : undefined },
  })).filter((trace) => trace.y.some(Boolean));
  const near = 1000 * data.near;
  plot("plot-histogram", traces, {
    barmode: "stack", bargap: 0.06,
    xaxis: { label: "energy above hull (meV/atom)", showgrid: false, range: [1000 * first * step - 5, 1000 * (top + step) + 5] },
    yaxis: { label: "candidates", rangemode: "tozero" },
    shapes: [{ type: "line", x0: near, x1: near, y0: 0, y1: 1, yref: "paper",
      line: { color: token("--ink"), width: 1.5, dash: "dot" } }],
    annotations: [{ x: near, y: 1, yref: "paper", text: `${near} meV`, showarrow: false, xanchor: "left", yanchor: "top",
      xshift: 5, font: { color: token("--muted"), size: 12 } }],
  }, `Histogram of the energy above the hull of ${known.length} candidates; ` +
    `${known.filter((row) => row.e_above_hull <= data.near).length} lie within ${near} meV per atom.`);
  numbersTable("numbers-histogram", "Candidates by energy above the hull",
    ["meV/atom", ...names], span.map((text, i) => [text, counts[0][i], counts[1][i]]).filter((l) => l[1] + l[2]));
}

/** Share of each space group among candidates and training structures. */
function drawSpacegroups() {
  const mine = new Map();
  rows.forEach((row) => row.spacegroup && mine.set(row.spacegroup, (mine.get(row.spacegroup) || 0) + 1));
  const total = [...mine.values()].reduce((a, b) => a + b, 0) || 1;
  const theirs = new Map(Object.entries(data.training).map(([k, v]) => [Number(k), v]));
  const theirTotal = [...theirs.values()].reduce((a, b) => a + b, 0);
  const share = (map, sum) => (number) => (100 * (map.get(number) || 0)) / (sum || 1);
  const [own, training] = [share(mine, total), share(theirs, theirTotal)];
  const weight = (number) => Math.max(own(number), training(number));
  const shown = [...new Set([...mine.keys(), ...theirs.keys()])].sort((a, b) => weight(b) - weight(a)).slice(0, 14);
  shown.sort((a, b) => b - a);
  const bars = (name, value, color, pattern) => ({
    type: "bar", name, x: shown.map(spacegroupText), y: shown.map(value), customdata: shown,
    hovertemplate: "%{x} (no. %{customdata}): %{y:.1f} %",
    marker: { color: token(color), pattern: pattern ? { ...HATCH, fgcolor: token("--card") } : undefined },
  });
  const traces = [bars("candidates", own, "--accent", false)];
  if (theirTotal) traces.push(bars("training data", training, "--second", true));
  plot("plot-spacegroups", traces, {
    barmode: "group",
    xaxis: { label: "", tickangle: -55, type: "category", showgrid: false },
    yaxis: { label: "share (%)", rangemode: "tozero" },
    showlegend: true,
  }, `Space groups of the candidates${theirTotal ? " beside the training data" : ""}; ` +
    `most frequent: ${shown.slice().sort((a, b) => own(b) - own(a)).slice(0, 3).map(spacegroupText).join(", ")}.`);
  numbersTable("numbers-spacegroups", "Share of space groups",
    ["space group", "candidates", ...(theirTotal ? ["training data"] : [])],
    shown.map((n) => [[...spacegroup(n), ` (${n})`], `${own(n).toFixed(1)} % (${mine.get(n) || 0})`,
      ...(theirTotal ? [`${training(n).toFixed(1)} %`] : [])]));
  const p1 = own(1);
  $("spacegroup-note").textContent = `${mine.size} space groups; ${p1.toFixed(1)} % without any symmetry (P1)` +
    (theirTotal ? `, ${training(1).toFixed(1)} % in the training data.` : ".");
}
