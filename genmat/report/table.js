// All candidates: sorted and filtered in memory, one page of rows in the document, so 10,000 stay fast.

const PAGE = 25;
const grid = { sort: "rank", descending: false, page: 0, shown: rows, text: "", kind: "all" };

const FIELDS = [
  { key: "rank", title: "Rank", numeric: true, value: (row) => row.index, cell: (row) => (row.failure ? "–" : String(row.index + 1)) },
  { key: "formula", title: "Formula", value: (row) => row.formula.toLowerCase(), head: true,
    cell: (row) => el("a", { class: "name", href: pageAddress(row), "data-row": row.index }, ...formula(row.formula)) },
  { key: "e_above_hull", title: "Above hull", unit: "meV/atom", numeric: true, value: (row) => row.e_above_hull,
    cell: (row) => [mev(row.e_above_hull), row.interval_low === null ? ""
      : el("span", { class: "why range" }, `${mev(row.interval_low)} to ${mev(row.interval_high)}`)] },
  ...(anyProbability ? [{ key: "p_stable", title: "Stable", unit: "probability", numeric: true, value: (row) => row.p_stable,
    cell: (row) => percent(row.p_stable) }] : []),
  ...(anyVibrations ? [{ key: "vibrations", title: "Vibrations", unit: "lowest, THz", value: (row) => row.min_frequency_exact,
    cell: (row) => [vibrationText(row), row.min_frequency_exact === null ? ""
      : el("span", { class: "why" }, number(row.min_frequency_exact, 2))] }] : []),
  ...(anyDisorder ? [{ key: "disorder", title: "Disorder", unit: "probability", value: (row) => row.disorder_probability,
    cell: (row) => [percent(row.disorder_probability), row.disorder_probability === null || isOrdered(row) ? ""
      : el("span", { class: "why range" }, disorderText(row))] }] : []),
  { key: "spacegroup", title: "Space group", value: (row) => row.spacegroup,
    cell: (row) => [...spacegroup(row.spacegroup), row.spacegroup ? el("span", { class: "quiet" }, ` ${row.spacegroup}`) : ""] },
  { key: "n_atoms", title: "Atoms", numeric: true, value: (row) => row.n_atoms, cell: (row) => String(row.n_atoms ?? "–") },
  { key: "formation_energy", title: "Formation", unit: "eV/atom", numeric: true, value: (row) => row.formation_energy,
    cell: (row) => number(row.formation_energy, 3) },
  { key: "energy", title: "Energy", unit: "eV/atom", numeric: true, value: (row) => row.energy,
    cell: (row) => number(row.energy, 3) },
  { key: "density", title: "Density", unit: "g/cm³", numeric: true, value: (row) => row.density,
    cell: (row) => number(row.density, 2) },
  { key: "status", title: "Status", value: (row) => `${"short alive open known failed".split(" ").indexOf(status(row).key)}${row.failure || ""}`,
    cell: (row) => {
      const state = status(row);
      const why = row.failure || (state.key === "known" ? row.known_as : row.doubt) || "";
      return [el("span", { class: `tag tag-${state.key}` }, el("span", { "aria-hidden": "true" }, `${state.mark} `), state.label),
        why ? el("span", { class: "why" }, why) : ""];
    } },
];

// what a search looks through, built once
const haystack = rows.map((row) => [row.id, row.formula, row.chemsys, row.origin, spacegroupText(row.spacegroup),
  row.failure || "", row.known_as || ""].join(" ").toLowerCase());
const KINDS = {
  all: () => true,
  short: (row) => row.shortlisted,
  ordered: (row) => row.shortlisted && isOrdered(row),
  near: (row) => row.e_above_hull !== null && row.e_above_hull <= data.near,
  alive: (row) => !row.failure,
  failed: (row) => Boolean(row.failure),
};

/** A word that spells element symbols ("Li", "Li-P-S") asks for these elements; any other word is looked up. */
function matcher(text) {
  const tests = text.trim().split(/[\s,]+/).filter(Boolean).map((word) => {
    const symbols = word.split("-").filter(Boolean);
    if (symbols.length && symbols.every((symbol) => knownSymbols.has(symbol))) {
      return (row) => symbols.every((symbol) => row.elements.includes(symbol));
    }
    return (row) => haystack[row.index].includes(word.toLowerCase());
  });
  return (row) => tests.every((test) => test(row));
}
const knownSymbols = new Set(rows.flatMap((row) => row.elements));

function compare(field, sign) {
  return (a, b) => {
    const [x, y] = [field.value(a), field.value(b)];
    const missing = (v) => v === null || v === undefined;
    if (missing(x) || missing(y)) return missing(x) - missing(y) || a.index - b.index;   // unknown stays last
    return (x < y ? -sign : x > y ? sign : 0) || a.index - b.index;
  };
}

function refresh() {
  const match = matcher(grid.text);
  const field = FIELDS.find(({ key }) => key === grid.sort);
  grid.shown = rows.filter((row) => KINDS[grid.kind](row) && match(row)).sort(compare(field, grid.descending ? -1 : 1));
  grid.page = 0;
  $("table").dataset.query = grid.text;
  drawPage();
}

function drawPage() {
  const pages = Math.max(1, Math.ceil(grid.shown.length / PAGE));
  grid.page = Math.max(0, Math.min(grid.page, pages - 1));
  const slice = grid.shown.slice(grid.page * PAGE, (grid.page + 1) * PAGE);
  $("table-body").replaceChildren(...slice.map((row) => el("tr", { class: row.failure ? "failed" : null },
    FIELDS.map((field) => el(field.head ? "th" : "td", { scope: field.head ? "row" : null, class: field.numeric ? "num" : null },
      ...[field.cell(row)].flat())),
    el("td", {}, hasStructure(row) ? el("button", { type: "button", class: "small",
      "aria-label": `Download the CIF of ${row.formula}, ${row.id}`,
      onclick: () => downloadCif(row) }, "CIF") : ""))));
  if (!slice.length) {
    $("table-body").append(el("tr", {}, el("td", { colspan: FIELDS.length + 1, class: "empty" }, "Nothing matches.")));
  }
  for (const field of FIELDS) {
    const order = grid.sort === field.key ? (grid.descending ? "descending" : "ascending") : null;
    const head = $(`head-${field.key}`);
    if (order) head.setAttribute("aria-sort", order);
    else head.removeAttribute("aria-sort");
    head.querySelector(".arrow").textContent = order ? (grid.descending ? "▼" : "▲") : "";
  }
  $("table-count").textContent = `${grid.shown.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} candidates`;
  $("page-label").textContent = `Page ${grid.page + 1} of ${pages}`;
  $("page-back").disabled = grid.page === 0;
  $("page-on").disabled = grid.page >= pages - 1;
}

function turnPage(step) {
  grid.page += step;
  drawPage();
}

/** Arrow keys move through the names of the table, over its pages too. */
function walk(event) {
  const step = { ArrowDown: 1, ArrowUp: -1, PageDown: PAGE, PageUp: -PAGE }[event.key];
  const row = event.target.closest?.("[data-row]");
  if (!step || !row || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const place = grid.shown.indexOf(rows[Number(row.dataset.row)]) + step;
  const next = Math.max(0, Math.min(grid.shown.length - 1, place));
  if (Math.floor(next / PAGE) !== grid.page) turnPage(Math.floor(next / PAGE) - grid.page);
  document.querySelector(`#table-body [data-row="${grid.shown[next].index}"]`).focus();
}

/** Show in the table only what contains an element (from the periodic table). */
function filterElement(symbol) {
  $("search").value = symbol;
  grid.text = symbol;
  refresh();
  $("candidates").scrollIntoView({ block: "start" });
  $("search").focus({ preventScroll: true });
}

function initTable() {
  $("table-head").replaceChildren(...FIELDS.map((field) => el("th", { id: `head-${field.key}`, scope: "col", class: field.numeric ? "num" : null },
    el("button", { type: "button", onclick: () => {
      grid.descending = grid.sort === field.key && !grid.descending;
      grid.sort = field.key;
      refresh();
    } }, field.title, el("span", { class: "arrow", "aria-hidden": "true" }),
    field.unit ? el("span", { class: "unit" }, field.unit) : ""))),
  el("th", { scope: "col", class: "plain" }, "File"));
  let waiting = 0;
  $("search").oninput = (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { grid.text = event.target.value; refresh(); }, 120);
  };
  $("kind").onchange = (event) => { grid.kind = event.target.value; refresh(); };
  $("page-back").onclick = () => turnPage(-1);
  $("page-on").onclick = () => turnPage(1);
  $("table-body").addEventListener("keydown", walk);
  refresh();
}
