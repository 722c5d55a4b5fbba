// How likely candidates are disordered, where that was predicted: words, facts, and stability against order.

const anyDisorder = rows.some((row) => row.disorder_probability !== null);
// "both": substitution and vacancies
const KINDS_OF_DISORDER = { O: "ordered", S: "substitutional", V: "vacancies", M: "both" };
const SYMBOLS_OF_DISORDER = { O: "circle", S: "diamond", V: "triangle-down", M: "square" };
const isOrdered = (row) => row.disorder_probability !== null && row.disorder_probability < data.ordered && !row.disordered_parent;

/** "ordered" or the likely kind of disorder, in words. */
const disorderText = (row) => (row.disorder_probability === null ? "–"
  : isOrdered(row) ? "ordered" : KINDS_OF_DISORDER[row.disorder_type] || "disordered");

/** Facts for the viewer; none where nothing was predicted. */
function disorderFacts(row) {
  if (row.disorder_probability === null) return [];
  const list = [fact("Disordered with", el("strong", {}, percent(row.disorder_probability)), " probability",
    isOrdered(row) ? "" : `, likely ${disorderText(row)}`)];
  if (row.disordered_parent) list.push(fact("Orders", "the known disordered phase ", row.disordered_parent));
  return list;
}

/** Energy above the hull against the probability of disorder: what is wanted is in the lower left corner. */
function drawDisorder() {
  const told = rows.filter((row) => row.disorder_probability !== null);
  const placed = told.filter((row) => row.e_above_hull !== null);
  const wanted = placed.filter((row) => row.shortlisted);
  const ordered = wanted.filter(isOrdered);
  const shown = placed.length ? placed : told;
  const right = 1000 * Math.max(0.12, Math.min(0.25, shown.reduce((most, row) => Math.max(most, row.e_above_hull ?? 0), 0)));
  const left = wanted.reduce((least, row) => Math.min(least, 1000 * row.e_above_hull), 0) - 0.04 * right;
  const x = (row, i) => (placed.length ? Math.min(Math.max(1000 * row.e_above_hull, left), right) : i + 1);
  const y = (row) => 100 * row.disorder_probability;
  const sorted = placed.length ? shown : [...shown].sort((a, b) => a.disorder_probability - b.disorder_probability);
  const place = new Map(sorted.map((row, i) => [row, x(row, i)]));
  const group = (name, members, color, opacity) => ({
    type: "scatter", mode: "markers", name, x: members.map((row) => place.get(row)), y: members.map(y),
    text: members.map((row) => `${plotFormula(row.formula)}: ${disorderText(row)}, ${percent(row.disorder_probability)}` +
      (row.e_above_hull === null ? "" : `<br>${mev(row.e_above_hull)} meV/atom above the hull`)),
    customdata: members.map((row) => row.index), hovertemplate: "%{text}<extra></extra>",
    marker: { size: 9, opacity, color: token(color), symbol: members.map((row) => SYMBOLS_OF_DISORDER[isOrdered(row) ? "O" : row.disorder_type] || "circle"),
      line: { width: 1, color: token("--card") } },
  });
  const rest = sorted.filter((row) => !row.shortlisted);
  const doubtful = wanted.filter((row) => !isOrdered(row));
  const traces = [group(placed.length ? "others" : "candidates", rest, placed.length ? "--second" : "--accent", 0.7),
    group("shortlist, likely disordered", doubtful, "--warm", 1), group("shortlist, ordered", ordered, "--accent", 1)]
    .filter((trace) => trace.x.length);
  const labels = placed.length ? labelled([...doubtful, ...ordered], sorted, place, y, right - left) : [];
  const near = 1000 * data.near;
  const limit = 100 * data.ordered;
  const edge = `energy above hull (meV/atom; what lies beyond ${Math.round(right)} is drawn there)`;
  const corner = { type: "rect", x0: left, x1: near, y0: -4, y1: limit, fillcolor: token("--accent-soft"), line: { width: 0 }, layer: "below" };
  plot("plot-disorder", traces, {
    showlegend: true, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { color: token("--ink") } },
    xaxis: { label: placed.length ? edge : "candidates, the likeliest ordered first",
      showgrid: false, zeroline: false, range: placed.length ? [left, right * 1.02] : [0, sorted.length + 1] },
    yaxis: { label: "probability of disorder (%)", range: [-4, 104], zeroline: false, tickvals: [0, 25, 50, 75, 100] },
    shapes: [...(placed.length ? [corner] : []), { type: "line", x0: 0, x1: 1, xref: "paper", y0: limit, y1: limit,
      line: { color: token("--ink"), width: 1.2, dash: "dot" } }],
    annotations: [...labels, ...(placed.length ? [{ x: left, y: limit, xanchor: "left", yanchor: "bottom", xshift: 6, showarrow: false,
      text: "below: stable and ordered", font: { color: token("--muted"), size: 12 } }] : [])],
  }, `Probability of disorder against energy above the hull of ${shown.length} candidates; ` +
    `${ordered.length} of the ${wanted.length} on the shortlist are likely ordered.`);
  $("plot-disorder").on?.("plotly_click", (event) => openPage(rows[event.points[0].customdata]));
  const kinds = Object.keys(KINDS_OF_DISORDER).map((key) => [KINDS_OF_DISORDER[key],
    ...[told, wanted].map((list) => list.filter((row) => (isOrdered(row) ? "O" : row.disorder_type) === key).length)]);
  numbersTable("numbers-disorder", "Candidates by kind of disorder", ["likely", "candidates", "shortlist"], kinds);
}

/** Formulas beside points, the first first, none over a point or another formula; at most twelve. */
function labelled(candidates, everyone, place, y, width) {
  const at = (row) => [place.get(row) / width, y(row) / 100];
  const points = everyone.map((row) => [row, ...at(row)]);
  const taken = [];
  return candidates.flatMap((row) => {
    const [left, height] = at(row);
    const covers = (a, b, from) => a > left - from && a < left + 0.1 && Math.abs(b - height) < 0.06;
    if (taken.length > 11 || points.some(([other, a, b]) => other !== row && covers(a, b, 0))) return [];
    if (taken.some(([a, b]) => covers(a, b, 0.1))) return [];
    taken.push([left, height]);
    return [{ x: place.get(row), y: y(row), text: plotFormula(row.formula), showarrow: false, xanchor: "left", xshift: 7,
      font: { size: 12, color: token("--ink") } }];
  });
}
