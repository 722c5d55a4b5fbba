// The page of one candidate, at #candidate/ID: the viewer moves here, the rest is unpacked and computed when it opens.

const byId = new Map(rows.map((row) => [row.id, row]));
const page = { row: null, scroll: 0, from: "" };

const pageAddress = (row) => `#candidate/${encodeURIComponent(row.id)}`;

function openPage(row) {
  location.hash = pageAddress(row);
}

/** The candidate an address asks for, or undefined. */
function addressed(hash) {
  const [, id] = hash.match(/^#candidate\/(.+)$/) || [];
  try { return byId.get(decodeURIComponent(id)); } catch { return undefined; }
}

function route(event) {
  const row = addressed(location.hash);
  if (row) showPage(row, event ? new URL(event.oldURL).hash : "");
  else if (page.row) showOverview();
}

function showPage(row, from) {
  if (!page.row) Object.assign(page, { scroll: scrollY, from });
  page.row = row;
  $("overview").hidden = true;
  $("sheet").hidden = false;
  $("sheet-viewer").append($("viewer"));
  fillPage(row);
  scrollTo(0, 0);
  $("sheet-title").focus({ preventScroll: true });
}

/** Back to everything: where one left it, or at the section asked for. */
function showOverview() {
  const { row, scroll, from } = page;
  page.row = null;
  $("sheet").hidden = true;
  $("overview").hidden = false;
  $("viewer-home").append($("viewer"));
  document.title = page.title;
  document.querySelectorAll("#overview .js-plotly-plot").forEach((node) => window.Plotly.Plots.resize(node));
  const target = location.hash.length > 1 && location.hash !== from && document.getElementById(location.hash.slice(1));
  if (target) target.scrollIntoView();
  else scrollTo(0, scroll);
  document.querySelector(`#table-body [data-row="${row.index}"]`)?.focus({ preventScroll: true });
  if (view.packed) draw3d();
}

/** The candidate before or after in the table as it is sorted and filtered. */
function neighbour(row, step) {
  const list = grid.shown.includes(row) ? grid.shown : rows;
  return list[list.indexOf(row) + step];
}

function fillPage(row) {
  const state = status(row);
  page.title ||= document.title;
  document.title = `${row.formula} (${row.id}), genmat report`;
  $("sheet-title").replaceChildren(...formula(row.formula));
  $("sheet-rank").textContent = row.failure ? "Dropped on the way" : `Rank ${row.index + 1} of ${rows.length.toLocaleString("en")}`;
  $("sheet-lead").replaceChildren(
    el("span", { class: `tag tag-${state.key}` }, el("span", { "aria-hidden": "true" }, `${state.mark} `), state.label), " ",
    ...spacegroup(row.spacegroup), ...(row.e_above_hull === null ? [] : [`, ${mev(Math.abs(row.e_above_hull))} meV/atom `,
      row.e_above_hull < 0 ? "below the hull" : "above the hull"]));
  for (const [id, step] of [["sheet-previous", -1], ["sheet-next", 1]]) {
    const other = neighbour(row, step);
    $(id).hidden = !other;
    if (other) $(id).href = pageAddress(other);
  }
  select(row);
  fillPhases(row);
  fillPowder(row);
  fillRest(row);
}

/** What it would fall apart into, and where it lies among the phases of its system. */
function fillPhases(row) {
  $("sheet-phases").hidden = row.e_above_hull === null;
  if (row.e_above_hull === null) return;
  const flat = data.hulls[row.chemsys]?.elements.length <= 3;
  $("sheet-phases-text").replaceChildren(...(row.decomposition
    ? [`${mev(Math.abs(row.e_above_hull))} meV/atom ${row.e_above_hull < 0 ? "below" : "above"} `, ...decomposition(row.decomposition), "."]
    : ["No competing phases were recorded."]));
  $("sheet-phases-bars").replaceChildren(row.decomposition?.includes(" + ") ? decompositionBars([row]) : "");
  $("plot-sheet-hull").hidden = !flat;
  if (flat) whenNear($("plot-sheet-hull"), () => page.row === row && hullFigure("plot-sheet-hull", row.chemsys, candidatesIn(data.hulls[row.chemsys]), row));
}

async function fillPowder(row) {
  const packed = await structureOf(row);
  if (page.row !== row) return;
  const lacking = packed ? [...new Set(packed[1])].filter((symbol) => !data.elements[symbol].scattering) : [];
  page.peaks = packed && !lacking.length ? reflections(packed) : null;
  $("sheet-powder").hidden = !packed;
  $("sheet-powder-body").hidden = !page.peaks;
  $("sheet-powder-note").textContent = lacking.length ? `No scattering factor is known for ${lacking.join(", ")}.` : "";
  if (page.peaks) whenNear($("plot-powder"), () => page.row === row && drawPowder(page.peaks, row));
}

/** Panels that only some candidates have, and the files. */
async function fillRest(row) {
  $("sheet-slots").replaceChildren();
  $("sheet-files").replaceChildren();
  const more = await pageOf(row);
  if (page.row !== row) return;
  $("sheet-slots").replaceChildren(...[nearestPanel(row, more), evidencePanel(row)].filter(Boolean));
  const inputs = Object.entries(more.files || {});
  $("sheet-files").replaceChildren(
    hasStructure(row) ? fileLine("CIF", "structure as relaxed", () => downloadCif(row)) : "",
    hasStructure(row) ? fileLine("XY", "simulated powder pattern", () =>
      page.peaks && download(fileName(row, "xy"), toXy(row, page.peaks), "text/plain")) : "",
    inputs.length ? fileLine("ZIP", "all of these together", async () => download(fileName(row, "zip"), zipped({
      [fileName(row, "cif")]: toCif(row, await structureOf(row)), ...more.files }), "application/zip")) : "",
    ...inputs.map(([name, text]) => fileLine(name, FILES[name] || "", () => download(fileName(row, name), text, "text/plain"), text)));
  $("sheet-files-note").textContent = inputs.length || !hasStructure(row) ? ""
    : "Inputs of density functional codes come with the best candidates.";
}

const FILES = {
  INCAR: "VASP, Materials Project settings", KPOINTS: "VASP, k-points", POSCAR: "VASP, structure",
  "POTCAR.spec": "VASP, names of the potentials", "pw.in": "Quantum ESPRESSO, relaxation",
};

/** One file: what it is, its text where it is short, a button that saves it. */
function fileLine(name, meaning, save, text = "") {
  const show = (event) => {
    const body = event.target.parentNode.querySelector("pre");
    body.hidden = !body.hidden;
    event.target.setAttribute("aria-expanded", String(!body.hidden));
  };
  return el("li", {}, el("b", {}, name), el("span", { class: "quiet" }, meaning),
    text ? el("button", { type: "button", class: "small", onclick: show, "aria-expanded": "false", "aria-label": `Text of ${name}` }, "Text") : null,
    el("button", { type: "button", class: "small", onclick: save, "aria-label": `Download ${name}` }, "Download"),
    text ? el("pre", { hidden: true, tabindex: "0", role: "region", "aria-label": name }, text) : null);
}

function initPage() {
  $("powder-xy").onclick = () => download(fileName(page.row, "xy"), toXy(page.row, page.peaks), "text/plain");
  themeListeners.push(() => {
    if (!page.row) return;
    if (page.peaks) drawPowder(page.peaks, page.row);
    fillPhases(page.row);
  });
  addEventListener("hashchange", route);
  route();
}
