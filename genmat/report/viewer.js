// The selected candidate: interactive 3D view (3Dmol, loaded on first need) and its facts.

const view = { library: null, gl: null, selected: null, packed: null, labels: false, drawn: null };

/** The 3D library is stored as inert text and run only when somebody looks. */
function load3d() {
  if (view.library) return view.library;
  const script = document.createElement("script");
  script.textContent = $("lib-3dmol").textContent;
  document.head.append(script);
  view.library = window.$3Dmol || null;
  return view.library;
}

/** The drawing context, or null where WebGL is not to be had (then a still drawing is shown). */
function context3d() {
  if (view.gl) return view.gl;
  const probe = document.createElement("canvas");
  if (!(probe.getContext("webgl2") || probe.getContext("webgl")) || !load3d()) return null;
  view.gl = view.library.createViewer($("stage"), { backgroundAlpha: 0, antialias: true, disableFog: false });
  view.gl.setBackgroundColor(0xffffff, 0);
  view.gl.setProjection("orthographic");
  const canvas = $("stage").querySelector("canvas");
  canvas.setAttribute("aria-hidden", "true");
  return view.gl;
}

/** Turn the model as in the still drawings: c upright, seen slightly from above and from the side. */
function home() {
  // −90° about x, −28° about y, 18° about x, as one quaternion: every call to the library draws the scene anew
  view.gl.setView([0, 0, 0, 0, -0.57033, -0.1422, -0.19572, 0.78499]).zoomTo().zoom(1.3);
  view.gl.render();   // builds what was added
}

function draw3d() {
  const { selected: row, packed } = view;
  const stage = $("stage");
  stage.querySelector(".drawing")?.remove();
  const gl = context3d();
  if (!gl) {
    stage.append(drawing(packed));
    $("stage-note").textContent = "This browser offers no WebGL: still drawing instead of the interactive view.";
    return;
  }
  const model = scene(packed);
  const canvas = stage.querySelector("canvas");
  if (canvas.clientWidth !== stage.clientWidth || canvas.clientHeight !== stage.clientHeight) gl.resize();
  gl.clear();
  const bonded = model.balls.map(() => []);
  model.bonds.forEach(([i, j]) => { bonded[i].push(j); bonded[j].push(i); });
  const atoms = model.balls.map(({ symbol, at }, i) => ({
    elem: symbol, x: at[0], y: at[1], z: at[2], serial: i, bonds: bonded[i], bondOrder: bonded[i].map(() => 1),
    properties: {},
  }));
  const gm = gl.addModel();
  gm.addAtoms(atoms);
  for (const symbol of new Set(model.balls.map((ball) => ball.symbol))) {
    const color = data.elements[symbol].color;
    gl.setStyle({ elem: symbol }, { sphere: { radius: ballRadius(symbol), color }, stick: { radius: 0.09, color } });
  }
  const ink = token("--edge");
  for (const [from, to, axis] of model.edges) {
    const xyz = (p) => ({ x: p[0], y: p[1], z: p[2] });
    gl.addCylinder({ start: xyz(from), end: xyz(to), radius: 0.035, color: ink, fromCap: 1, toCap: 1 });
    if (axis) label3d(axis, add(to, scale(add(to, scale(from, -1)), 0.9 / distance(from, to))), true);
  }
  if (view.labels) model.balls.forEach(({ symbol, at }) => label3d(symbol, at, false));
  if (view.drawn === row.index) gl.render();
  else home();
  view.drawn = row.index;
}

function label3d(text, at, axis) {
  view.gl.addLabel(text, {
    position: { x: at[0], y: at[1], z: at[2] }, fontSize: axis ? 16 : 13, alignment: "center", inFront: true,
    fontColor: token("--ink"), showBackground: !axis,
    backgroundColor: token("--card"), backgroundOpacity: axis ? 0 : 0.75,
  }, undefined, true);   // drawn with the rest
}

function legend(packed) {
  const amounts = new Map();
  sites(packed).forEach(({ symbol, occupancy }) => amounts.set(symbol, (amounts.get(symbol) || 0) + occupancy));
  return el("ul", { class: "legend", "aria-label": "Elements" }, [...amounts].map(([symbol, amount]) =>
    el("li", {},
      el("span", { class: "dot", style: `background:${data.elements[symbol].color}` }),
      el("b", {}, symbol), ` ${data.elements[symbol].name} × ${Number(amount.toFixed(2))}`)));
}

function fact(name, ...value) {
  return el("div", {}, el("dt", {}, name), el("dd", {}, ...value));
}

function facts(row, packed) {
  const state = status(row);
  const [a, b, c, alpha, beta, gamma] = packed ? packed[0] : [];
  const cell = packed && [`${number(a, 3)}, ${number(b, 3)}, ${number(c, 3)} Å`, el("br"),
    `${number(alpha, 1)}, ${number(beta, 1)}, ${number(gamma, 1)}°`];
  return el("dl", { class: "facts" },
    fact("Status", `${state.mark} ${state.label}`, row.failure ? `: ${row.failure}` : "",
      row.known_as ? ` (${row.known_as})` : ""),
    fact("Space group", ...spacegroup(row.spacegroup), row.spacegroup ? ` (${row.spacegroup})` : ""),
    fact("Above hull", el("strong", {}, mev(row.e_above_hull)), " meV/atom"),
    ...doubtFacts(row),
    ...vibrationFacts(row),
    ...disorderFacts(row),
    ...evidenceFacts(row),
    row.decomposition ? fact("Competes with", ...decomposition(row.decomposition)) : null,
    fact("Formation energy", number(row.formation_energy, 3), " eV/atom"),
    row.max_force === null ? null : fact("Largest force", number(row.max_force, 3), " eV/Å"),
    row.density === null ? null : fact("Density", number(row.density, 2), " g/cm³"),
    packed ? fact("Cell as relaxed", ...cell) : null,
    fact("Atoms in cell", row.n_atoms ?? "–"),
    fact("Origin", row.origin),
    fact("Id", el("code", {}, row.id)));
}

/** The drawing in words and numbers, for those who do not see it: every atom of the stored cell. */
function atomTable(packed) {
  const box = el("div", { class: "numbers", id: "numbers-atoms", tabindex: "0", role: "region", "aria-label": "Atoms of the cell" });
  const node = el("details", {}, el("summary", {}, "Atoms and coordinates"), box);
  node.addEventListener("toggle", () => numbersTable("numbers-atoms", "Atoms of the cell, fractional coordinates",
    ["element", "x", "y", "z", "occupancy"], sites(packed).map(({ symbol, f, occupancy }) =>
      [symbol, ...f.map((x) => number(x, 4)), number(occupancy, 2)])), { once: true });
  return node;
}

/** Show a candidate; `scroll` brings the viewer into sight. Its structure may have to be unpacked first. */
async function select(row, scroll = false) {
  view.selected = row;
  view.packed = null;
  $("viewer-title").replaceChildren(...formula(row.formula));
  $("viewer-cif").disabled = !hasStructure(row);
  $("viewer-page").href = pageAddress(row);
  $("stage").setAttribute("aria-label",
    `Crystal structure of ${row.formula}. Arrow keys turn it, plus and minus zoom, R resets, L labels the atoms.`);
  document.querySelectorAll("[data-candidate]").forEach((node) =>
    node.setAttribute("aria-pressed", String(Number(node.dataset.candidate) === row.index)));
  $("stage-wrap").hidden = !hasStructure(row);
  if (scroll) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    $("viewer").scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
    $("viewer-title").focus({ preventScroll: true });
  }
  const packed = await structureOf(row);
  if (view.selected !== row) return;
  view.packed = packed;
  $("viewer-facts").replaceChildren(facts(row, packed), ...(packed ? [legend(packed), atomTable(packed)] : []));
  $("stage-note").textContent = packed ? "" : "No structure is stored for this candidate.";
  if (packed) whenNear($("stage"), () => view.packed === packed && draw3d());
}

function turn(angle, axis) {
  if (view.gl) { view.gl.rotate(angle, axis); view.gl.render(); }
}

function zoom(factor) {
  if (view.gl) { view.gl.zoom(factor); view.gl.render(); }
}

function toggleLabels() {
  view.labels = !view.labels;
  $("view-labels").setAttribute("aria-pressed", String(view.labels));
  if (view.packed) draw3d();
}

const viewActions = {
  ArrowLeft: () => turn(-12, "vy"), ArrowRight: () => turn(12, "vy"),
  ArrowUp: () => turn(-12, "vx"), ArrowDown: () => turn(12, "vx"),
  "+": () => zoom(1.15), "=": () => zoom(1.15), "-": () => zoom(1 / 1.15),
  r: () => view.gl && home(), R: () => view.gl && home(), l: toggleLabels, L: toggleLabels,
};

function initViewer() {
  const stage = $("stage");
  stage.addEventListener("keydown", (event) => {
    const action = viewActions[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action();
  });
  // the wheel zooms only a focused view, so that the page scrolls past it
  stage.addEventListener("wheel", (event) => {
    if (document.activeElement !== stage) event.stopPropagation();
  }, { capture: true });
  stage.addEventListener("pointerdown", () => stage.focus({ preventScroll: true }));
  $("view-left").onclick = viewActions.ArrowLeft;
  $("view-right").onclick = viewActions.ArrowRight;
  $("view-in").onclick = viewActions["+"];
  $("view-out").onclick = viewActions["-"];
  $("view-reset").onclick = viewActions.r;
  $("view-labels").onclick = toggleLabels;
  $("viewer-cif").onclick = () => downloadCif(view.selected);
  themeListeners.push(() => view.gl && view.packed && draw3d());
}
