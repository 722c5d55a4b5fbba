// Convex hulls: binary as energy against composition, ternary as a Gibbs triangle, more elements as decompositions.

const HULL_CONFIG = { height: Math.sqrt(3) / 2 };

/** Candidates whose elements all belong to the system and that have a formation energy. */
function candidatesIn(hull) {
  const inside = new Set(hull.elements);
  return rows.filter((row) => row.formation_energy !== null && row.elements.length > 1 &&
    row.elements.every((element) => inside.has(element)));
}

/** Fraction of each of the hull's elements in a candidate. */
const fractions = (row, hull) => hull.elements.map((element) => row.composition[row.elements.indexOf(element)] || 0);

function candidateMarker(list) {
  return {
    symbol: list.map((row) => (row.shortlisted ? "star-diamond" : "diamond-open")),
    size: list.map((row) => (row.shortlisted ? 14 : 10)),
    color: token("--warm"), opacity: 1, line: { color: token("--warm"), width: 1.5 },
  };
}

const hoverOf = (row) => `<b>${plotFormula(row.formula)}</b> ${plain(spacegroupText(row.spacegroup))}<br>` +
  `${mev(row.e_above_hull)} meV/atom above the hull<br>formation energy ${number(row.formation_energy, 3)} eV/atom`;

const phaseHover = (hull, i) => `<b>${plotFormula(hull.formula[i])}</b> (reference)<br>` +
  `formation energy ${number(hull.energy[i], 3)} eV/atom`;

/** Labels of points, left out where they would run into an earlier one (the hover text has them all). */
function labels(points, texts, taken) {
  const crowd = Math.max(1, 640 / $("main").clientWidth);   // on a phone the same letters take more of the plot
  const spread = (k) => Math.max(...points.map((p) => p[k])) - Math.min(...points.map((p) => p[k])) || 1;
  const [width, height] = [spread(0), spread(1)];
  const kept = [...taken];
  return points.map((p, i) => {
    if (kept.some((q) => Math.abs(p[0] - q[0]) < 0.13 * crowd * width && Math.abs(p[1] - q[1]) < 0.06 * crowd * height)) return "";
    kept.push(p);
    return plotFormula(texts[i]);
  });
}

function phaseTrace(hull, indices, stable, place, taken = [], side = () => "bottom center") {
  const points = indices.map((i) => place(hull.x[i], hull.energy[i]));
  return {
    type: "scatter", mode: stable ? "markers+text" : "markers", name: stable ? "reference, on the hull" : "reference, above",
    x: points.map((p) => p[0]), y: points.map((p) => p[1]), hoverinfo: "text",
    hovertext: indices.map((i) => phaseHover(hull, i)),
    text: stable ? labels(points, indices.map((i) => hull.formula[i]), taken) : undefined,
    textposition: stable ? points.map(side) : undefined, textfont: { color: token("--muted"), size: 12 },
    marker: { symbol: stable ? "circle" : "circle-open", size: stable ? 9 : 5, color: token(stable ? "--accent" : "--muted"),
      opacity: stable ? 1 : 0.6 },
  };
}

function candidateTrace(list, hull, place) {
  const points = list.map((row) => place(fractions(row, hull), row.formation_energy));
  return {
    type: "scatter", mode: list.length <= 12 ? "markers+text" : "markers", name: "candidates (★ shortlist)",
    x: points.map((p) => p[0]), y: points.map((p) => p[1]), hoverinfo: "text", hovertext: list.map(hoverOf),
    text: list.map((row) => `<b>${plotFormula(row.formula)}</b>`), textposition: "top center",
    textfont: { color: token("--warm"), size: 13 }, marker: candidateMarker(list), customdata: list.map((row) => row.index),
  };
}

function binary(hull, list) {
  const place = (x, energy) => [x[1], energy];
  const all = hull.x.map((_, i) => i).filter((i) => hull.energy[i] <= 0.4);
  const stable = all.filter((i) => hull.on_hull[i]).sort((i, j) => hull.x[i][1] - hull.x[j][1]);
  const line = {
    type: "scatter", mode: "lines", name: "convex hull", hoverinfo: "skip", line: { color: token("--accent"), width: 2 },
    x: stable.map((i) => hull.x[i][1]), y: stable.map((i) => hull.energy[i]),
  };
  const spots = list.map((row) => place(fractions(row, hull), row.formation_energy));
  const traces = [line, phaseTrace(hull, all.filter((i) => !hull.on_hull[i]), false, place),
    phaseTrace(hull, stable, true, place, spots), candidateTrace(list, hull, place)];
  return [traces, {
    xaxis: { label: `fraction of ${hull.elements[1]} in ${hull.elements.join("–")}`, range: [-0.06, 1.06] },
    yaxis: { label: "formation energy (eV/atom)", zeroline: true },
  }];
}

function ternary(hull, list) {
  const h = HULL_CONFIG.height;
  const place = (x) => [x[1] + x[2] / 2, x[2] * h];
  const join = (pairs) => pairs.reduce((lines, [i, j]) => {
    const [a, b] = [place(hull.x[i]), place(hull.x[j])];
    return { x: [...lines.x, a[0], b[0], null], y: [...lines.y, a[1], b[1], null] };
  }, { x: [], y: [] });
  const ties = join(hull.ties);
  const spots = list.map((row) => place(fractions(row, hull))).flatMap(([x, y]) => [[x, y], [x, y + 0.06]]);
  const stable = hull.x.map((_, i) => i).filter((i) => hull.on_hull[i]);
  const corners = hull.x.map((_, i) => i).filter((i) => Math.max(...hull.x[i]) > 0.999);
  const traces = [
    { type: "scatter", mode: "lines", hoverinfo: "skip", showlegend: false, x: [0, 1, 0.5, 0], y: [0, 0, h, 0],
      line: { color: token("--muted"), width: 1.5 } },
    { type: "scatter", mode: "lines", name: "tie lines", hoverinfo: "skip", ...ties,
      line: { color: token("--accent"), width: 1 }, opacity: 0.55 },
    phaseTrace(hull, hull.x.map((_, i) => i).filter((i) => !hull.on_hull[i] && hull.energy[i] < 0), false, place),
    phaseTrace(hull, stable.filter((i) => !corners.includes(i)), true, place, spots, ([x, y]) =>
      (y < 0.01 ? "bottom center" : Math.abs(x * 2 * h - y) < 0.01 ? "middle left"
        : Math.abs((1 - x) * 2 * h - y) < 0.01 ? "middle right" : "bottom center")),
    { type: "scatter", mode: "text", hoverinfo: "skip", showlegend: false, x: [-0.05, 1.05, 0.5], y: [-0.02, -0.02, h + 0.05],
      text: hull.elements.map((element) => `<b>${plain(element)}</b>`), textfont: { color: token("--ink"), size: 16 } },
    candidateTrace(list, hull, place),
  ];
  const bare = { visible: false, showgrid: false, zeroline: false };
  return [traces, {
    xaxis: { ...bare, range: [-0.12, 1.12] },
    yaxis: { ...bare, range: [-0.08, h + 0.1], scaleanchor: "x" },
    margin: { l: 8, r: 8, t: 8, b: 8 },
    legend: { orientation: "h", x: 0.5, xanchor: "center", y: 0, yanchor: "top", font: { color: token("--ink") } },
  }];
}

/** One bar per candidate: the phases it would fall apart into, by formula units. */
function decompositionBars(list) {
  return el("ul", { class: "decomposition" }, list.slice(0, 40).map((row) => {
    const parts = (row.decomposition || "").split(" + ").map((term) => term.match(/^([\d.]+)\s+(.+)$/)).filter(Boolean);
    return el("li", {},
      el("a", { class: "name", href: pageAddress(row) }, ...formula(row.formula)),
      el("span", { class: "num" }, `${mev(row.e_above_hull)} meV/atom`),
      el("span", { class: "parts" }, parts.length ? parts.map(([, amount, phase]) =>
        el("span", { style: `flex-grow:${Number(amount)}` }, `${amount} `, ...formula(phase)))
        : el("span", {}, "no competing phases recorded")));
  }));
}

function drawHull(name) {
  const hull = data.hulls[name];
  const list = candidatesIn(hull);
  const flat = hull.elements.length <= 3;
  $("plot-hull").hidden = !flat;
  $("hull-bars").replaceChildren(flat ? "" : decompositionBars(list));
  const stable = hull.formula.filter((_, i) => hull.on_hull[i]);
  const best = list.filter((row) => row.e_above_hull !== null).sort((a, b) => a.e_above_hull - b.e_above_hull)[0];
  $("hull-note").replaceChildren(
    `${hull.formula.length} reference compositions, ${stable.length} on the hull; ${list.length} ` +
    `candidate${list.length === 1 ? "" : "s"}`, ...(best ? [", the lowest ", ...formula(best.formula),
      ` at ${mev(best.e_above_hull)} meV/atom.`] : ["."]));
  numbersTable("numbers-hull", `Phases in ${name}`, ["phase", "kind", "formation energy (eV/atom)", "above hull (meV/atom)"],
    [...list.map((row) => [formula(row.formula), "candidate", number(row.formation_energy, 3), mev(row.e_above_hull)]),
      ...hull.formula.map((text, i) => [formula(text), hull.on_hull[i] ? "reference, on the hull" : "reference",
        number(hull.energy[i], 3), hull.on_hull[i] ? "0" : "> 0"]).slice(0, 60)]);
  if (flat) hullFigure("plot-hull", name, list);
}

/** The hull of a system of two or three elements with candidates in it, and one of them ringed. */
async function hullFigure(id, name, list, chosen = null) {
  const hull = data.hulls[name];
  const [traces, layout] = hull.elements.length === 2 ? binary(hull, list) : ternary(hull, list);
  const stable = hull.formula.filter((_, i) => hull.on_hull[i]);
  const last = traces[traces.length - 1];
  const place = list.indexOf(chosen);
  if (place >= 0) {
    traces.push({ type: "scatter", mode: "markers", name: "this one", x: [last.x[place]], y: [last.y[place]], hoverinfo: "skip",
      marker: { symbol: "circle-open", size: 24, color: token("--ink"), line: { width: 2 } } });
  }
  const node = await plot(id, traces, layout, `Convex hull of ${hull.elements.join("–")}: ${stable.length} stable reference ` +
    `compositions (${stable.slice(0, 12).join(", ")}) and ${list.length} candidates.`);
  node.removeAllListeners?.("plotly_click");
  node.on("plotly_click", ({ points }) => {
    const index = points[0]?.customdata;
    if (index !== undefined) openPage(rows[index]);
  });
}

function initHulls() {
  const names = Object.keys(data.hulls);
  if (!names.length) {
    $("hulls-body").hidden = true;
    $("hulls-empty").hidden = false;
    return;
  }
  const size = (name) => data.hulls[name].elements.length;
  const groups = [["Binary", (n) => n === 2], ["Ternary", (n) => n === 3], ["Four and more", (n) => n > 3]];
  const picker = $("hull-select");
  for (const [title, test] of groups) {
    const inside = names.filter((name) => test(size(name)));
    if (inside.length) picker.append(el("optgroup", { label: title }, inside.map((name) =>
      el("option", { value: name }, `${data.hulls[name].elements.join("–")} (${candidatesIn(data.hulls[name]).length})`))));
  }
  // open on the system of the best candidate that can be drawn in the plane
  const systems = rows.filter((row) => row.formation_energy !== null).map((row) => row.chemsys);
  picker.value = systems.find((name) => data.hulls[name] && size(name) <= 3) || names[0];
  picker.onchange = () => drawHull(picker.value);
  drawHull(picker.value);
  themeListeners.push(() => drawHull(picker.value));
}
