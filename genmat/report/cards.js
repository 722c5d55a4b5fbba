// The best five as cards with a still drawing each; a card shows its candidate in the viewer.

/** The best five as cards with a still drawing each. */
async function initCards() {
  const best = rows.filter((row) => row.shortlisted).slice(0, 5);
  const alive = rows.filter((row) => !row.failure && hasStructure(row));
  const placed = alive.filter((row) => row.e_above_hull !== null);
  const chosen = best.length ? best : (placed.length ? placed : alive).slice(0, 5);
  const drawn = await Promise.all(chosen.map(structureOf));
  $("cards").replaceChildren(...chosen.map((row, i) => el("li", {},
    el("button", { class: "card", type: "button", "data-candidate": row.index, "aria-pressed": "false", onclick: () => select(row, true) },
      el("span", { class: "card-rank" }, el("span", { class: "sr" }, "Rank "), String(i + 1)),
      drawn[i] ? drawing(drawn[i]) : el("span", { class: "drawing" }),
      el("span", { class: "card-formula" }, ...formula(row.formula)),
      el("span", { class: "card-sg" }, ...spacegroup(row.spacegroup)),
      row.e_above_hull === null ? el("span", { class: "card-note" }, "no hull energy")
        : el("span", { class: "card-energy" }, el("b", {}, mev(row.e_above_hull)), " meV/atom"),
      row.e_above_hull === null ? null : el("span", { class: "card-note" },
        ...(Math.abs(row.e_above_hull) < 0.0005 ? ["on the hull"] : [row.e_above_hull > 0 ? "above " : "below ",
          ...(row.decomposition ? decomposition(row.decomposition) : ["the hull"])])),
      row.p_stable === null ? null : el("span", { class: "card-note" }, el("b", {}, percent(row.p_stable)), " stable"),
      row.disorder_probability === null ? null : el("span", { class: "card-note" },
        el("b", {}, percent(isOrdered(row) ? 1 - row.disorder_probability : row.disorder_probability)),
        isOrdered(row) ? " ordered" : " disordered"),
      el("span", { class: "sr" }, ". Show in the 3D viewer.")))));
  const first = chosen[0] || rows.find(hasStructure) || rows[0];
  if (view.selected) return;   // the address asked for another one
  if (first) select(first);
  else $("viewer").hidden = true;
}
