// How far an energy can be believed: interval, probability, and what a second potential says.

const STRIP = { left: -0.1, right: 0.3, width: 220, height: 26 };   // eV/atom shown, pixels

/** The 90 % interval on a scale from 100 below to 300 meV/atom above the hull, the limit of stability marked. */
function strip(row) {
  const clip = (value) => Math.min(Math.max(value, STRIP.left), STRIP.right);
  const x = (value) => (STRIP.width * (clip(value) - STRIP.left)) / (STRIP.right - STRIP.left);
  const line = (at, kind, from, to) => el("line", { x1: x(at), x2: x(at), y1: from, y2: to, class: kind });
  const middle = STRIP.height / 2;
  return el("svg", { class: "strip", viewBox: `-4 0 ${STRIP.width + 8} ${STRIP.height}`, role: "img", "aria-label":
    `Scale from 100 meV/atom below the hull to 300 above: interval ${mev(row.interval_low)} to ${mev(row.interval_high)}` },
    el("line", { x1: 0, x2: STRIP.width, y1: middle, y2: middle, class: "strip-axis" }),
    line(0, "strip-tick", 8, 18), line(data.near, "strip-near", 2, 24),
    el("line", { x1: x(row.interval_low), x2: x(row.interval_high), y1: middle, y2: middle, class: "strip-interval" }),
    el("circle", { cx: x(row.e_above_hull), cy: middle, r: 4.5, class: "strip-value" }));
}

const percent = (value) => (value === null || value === undefined ? "–"
  : value < 0.01 ? "under 1 %" : value > 0.99 ? "over 99 %" : `${number(100 * value, 0)} %`);

/** Facts about the doubt of a candidate, for the viewer. */
function doubtFacts(row) {
  const list = [];
  if (row.interval_low !== null) {
    list.push(fact("90 % interval", `${mev(row.interval_low)} to ${mev(row.interval_high)} meV/atom`, strip(row)));
  }
  if (row.p_stable !== null) {
    list.push(fact("Stable with", el("strong", {}, percent(row.p_stable)),
      ` probability (at most ${number(1000 * data.near, 0)} meV/atom)`));
  }
  if (row.second_potential) list.push(fact("Second opinion", ...secondOpinion(row)));
  if (row.doubt) list.push(fact("Doubt", row.doubt));
  return list;
}

function secondOpinion(row) {
  const parts = [`${row.second_potential}: `];
  if (row.second_failure) return [...parts, row.second_failure];
  if (row.second_e_above_hull !== null) parts.push(`${mev(row.second_e_above_hull)} meV/atom above its own hull, `);
  if (row.second_disagreement !== null) {
    parts.push(`formation energy ${mev(Math.abs(row.second_disagreement))} meV/atom ${row.second_disagreement < 0 ? "lower" : "higher"}, `);
  }
  parts.push(row.second_rmsd === null ? "another structure" : "the same structure");
  return parts;
}

const anyProbability = rows.some((row) => row.p_stable !== null);
