// The nearest known materials of a candidate, where it was compared with a map (`genmat explore build`).

/** A panel for the candidate's page, or null: `more.nearest` is what `genmat.explore.near.nearest_stage` told. */
function nearestPanel(row, more) {
  const near = more?.nearest;
  if (!near?.length) return null;
  const energies = near.some((known) => known.e_above_hull !== undefined);
  const head = ["material", "space group", "prototype", "distance", ...(energies ? ["above hull (meV/atom)"] : [])];
  const lines = near.map((known) => [
    [...formula(known.formula), " ", el("code", {}, known.id)], spacegroup(known.spacegroup), [el("code", {}, known.prototype)],
    [number(known.distance, 2)], ...(energies ? [[mev(known.e_above_hull)]] : []),
  ]);
  const same = near.filter((known) => known.distance < 0.005);
  const note = same.length
    ? ["Composition and prototype are those of ", ...formula(same[0].formula), ` (${same[0].id}).`]
    : ["By prototype and chemistry; distances have no unit: 2 is what two materials drawn at random are apart."];
  return el("section", { class: "panel", "aria-labelledby": "sheet-nearest-title" },
    el("h2", { id: "sheet-nearest-title" }, "Nearest known materials"),
    el("p", { class: "quiet" }, ...note),
    el("div", { class: "numbers", tabindex: "0", role: "region", "aria-label": "Nearest known materials" },
      el("table", {},
        el("thead", {}, el("tr", {}, head.map((text) => el("th", { scope: "col" }, text)))),
        el("tbody", {}, lines.map((line) => el("tr", {}, line.map((cell, i) =>
          el(i ? "td" : "th", i ? {} : { scope: "row" }, ...cell))))))));
}
