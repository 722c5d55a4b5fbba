// Geometry of one structure: cell vectors, atoms with their boundary images, bonds; and a flat drawing of it.

const rad = (degrees) => (degrees * Math.PI) / 180;
const add = (a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
const scale = (a, s) => [a[0] * s, a[1] * s, a[2] * s];
const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);

/** Rows are the cell vectors in Å: a along x, b in the xy plane. */
function cellMatrix([a, b, c, alpha, beta, gamma]) {
  const [ca, cb, cg, sg] = [Math.cos(rad(alpha)), Math.cos(rad(beta)), Math.cos(rad(gamma)), Math.sin(rad(gamma))];
  const cy = (ca - cb * cg) / sg;
  return [[a, 0, 0], [b * cg, b * sg, 0], [c * cb, c * cy, c * Math.sqrt(Math.max(0, 1 - cb * cb - cy * cy))]];
}

/** a, b, c, α, β, γ of three vectors: the way back from `cellMatrix`. */
function cellParameters(m) {
  const dot = (u, v) => u[0] * v[0] + u[1] * v[1] + u[2] * v[2];
  const length = m.map((v) => Math.hypot(...v));
  const angle = (i, j) => (Math.acos(dot(m[i], m[j]) / (length[i] * length[j])) * 180) / Math.PI;
  return [...length, angle(1, 2), angle(0, 2), angle(0, 1)];
}

/** Fractional to cartesian: f · M, M with rows as vectors. */
const times = (f, m) => add(add(scale(m[0], f[0]), scale(m[1], f[1])), scale(m[2], f[2]));

function inverse(m) {
  const cross = (u, v) => [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
  const columns = [cross(m[1], m[2]), cross(m[2], m[0]), cross(m[0], m[1])];
  const det = m[0][0] * columns[0][0] + m[0][1] * columns[0][1] + m[0][2] * columns[0][2];
  return [0, 1, 2].map((i) => columns.map((column) => column[i] / det));
}

/** Sites of a stored structure: [{symbol, f, occupancy}]. */
function sites([, symbols, flat, occupancies]) {
  return symbols.map((symbol, i) => ({
    symbol, f: flat.slice(3 * i, 3 * i + 3), occupancy: occupancies ? occupancies[i] : 1,
  }));
}

/** The cell to draw: conventional where the view says how to get there. Fractions lie in [0, 1). */
function drawnCell(packed) {
  const input = cellMatrix(packed[0]);
  const view = packed[4];
  const wrap = (x) => { const y = x - Math.floor(x + 1e-4); return Math.abs(y) < 1e-4 ? 0 : y; };
  const largest = new Map();   // one drawn atom per place: the main occupant
  for (const site of sites(packed)) {
    const key = site.f.map((x) => wrap(x).toFixed(3)).join();
    if (!largest.has(key) || largest.get(key).occupancy < site.occupancy) largest.set(key, site);
  }
  const unique = [...largest.values()];
  if (!view) return { matrix: input, atoms: unique.map((s) => ({ symbol: s.symbol, f: s.f.map(wrap) })) };
  const [flat, shift] = view;
  const integers = [flat.slice(0, 3), flat.slice(3, 6), flat.slice(6, 9)];
  const matrix = cellMatrix(cellParameters(integers.map((line) => times(line, input))));
  const back = inverse(integers);
  const seen = new Map();
  for (const site of unique) {
    for (let n = 0; n < 343; n += 1) {
      const image = [n % 7 - 3, Math.floor(n / 7) % 7 - 3, Math.floor(n / 49) - 3];
      const f = times(site.f.map((x, k) => x + image[k] - shift[k]), back);
      if (f.some((x) => x < -1e-3 || x > 1 - 1e-3)) continue;
      const wrapped = f.map(wrap);
      seen.set(site.symbol + wrapped.map((x) => x.toFixed(3)).join(), { symbol: site.symbol, f: wrapped });
    }
  }
  return { matrix, atoms: [...seen.values()] };
}

/** Atoms (with images on faces, edges, corners), bonds between them, the twelve cell edges; centred on the cell. */
function scene(packed) {
  const { matrix, atoms } = drawnCell(packed);
  const centre = times([0.5, 0.5, 0.5], matrix);
  const place = (f) => add(times(f, matrix), scale(centre, -1));
  const balls = [];
  for (const atom of atoms) {
    const ranges = atom.f.map((x) => (x < 0.01 ? [0, 1] : x > 0.99 ? [-1, 0] : [0]));
    for (const i of ranges[0]) for (const j of ranges[1]) for (const k of ranges[2]) {
      balls.push({ symbol: atom.symbol, at: place(add(atom.f, [i, j, k])) });
    }
  }
  const edges = [];
  for (let axis = 0; axis < 3; axis += 1) {
    for (const [u, v] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
      const from = [0, 0, 0];
      from[(axis + 1) % 3] = u;
      from[(axis + 2) % 3] = v;
      const to = [...from];
      to[axis] = 1;
      edges.push([place(from), place(to), u + v === 0 ? "abc"[axis] : ""]);
    }
  }
  return { balls, bonds: bonds(balls), edges, matrix, count: atoms.length };
}

/** Pairs of ball indices closer than 1.15 × the sum of covalent radii; metals bond each other only among metals. */
function bonds(balls) {
  const style = (ball) => data.elements[ball.symbol];
  const onlyMetals = balls.every((ball) => style(ball).metal);
  const pairs = [];
  for (let i = 0; i < balls.length; i += 1) {
    for (let j = i + 1; j < balls.length; j += 1) {
      const [a, b] = [style(balls[i]), style(balls[j])];
      if (a.metal && b.metal && !onlyMetals) continue;
      const length = distance(balls[i].at, balls[j].at);
      if (length > 0.4 && length < (onlyMetals ? 1.05 : 1.15) * (a.radius + b.radius)) pairs.push([i, j]);
    }
  }
  return pairs.length > 1200 ? [] : pairs;
}

const ballRadius = (symbol) => 0.2 + 0.26 * data.elements[symbol].radius;

function shade(hex, amount) {
  const target = amount > 0 ? 255 : 0;
  const channels = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return `rgb(${channels.map((c) => Math.round(c + (target - c) * Math.abs(amount))).join()})`;
}

let gradientCount = 0;

/** Orthographic ball-and-stick drawing as an SVG element, turned by yaw and pitch (radians). */
function drawing(packed, yaw = -0.5, pitch = 0.32) {
  const { balls, bonds: pairs, edges } = scene(packed);
  const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
  // screen: x right, y up, z towards the eye; the crystal's c axis stands upright
  const turn = ([x, y, z]) => {
    const [u, depth] = [x * cy - y * sy, -(x * sy + y * cy)];
    return [u, z * cp - depth * sp, z * sp + depth * cp];
  };
  const points = balls.map((ball) => ({ ...ball, p: turn(ball.at), r: ballRadius(ball.symbol) }));
  const reach = Math.max(...points.map(({ p, r }) => Math.max(Math.abs(p[0]), Math.abs(p[1])) + r),
    ...edges.flatMap(([a, b]) => [a, b].map((e) => Math.max(...turn(e).slice(0, 2).map(Math.abs))))) * 1.04;
  const depths = points.map(({ p }) => p[2]);
  const [near, far] = [Math.max(...depths), Math.min(...depths)];
  const fade = (z) => (near === far ? 1 : 0.62 + 0.38 * ((z - far) / (near - far)));
  const xy = (p) => [p[0].toFixed(3), (-p[1]).toFixed(3)];
  const prefix = `ball${(gradientCount += 1)}`;
  const symbols = [...new Set(balls.map((ball) => ball.symbol))];
  const gradient = (symbol) => el("radialGradient", { id: `${prefix}-${symbol}`, cx: "38%", cy: "34%", r: "70%" },
    el("stop", { offset: "0%", "stop-color": shade(data.elements[symbol].color, 0.65) }),
    el("stop", { offset: "55%", "stop-color": data.elements[symbol].color }),
    el("stop", { offset: "100%", "stop-color": shade(data.elements[symbol].color, -0.45) }));
  const items = points.map(({ symbol, p, r }) => ({
    z: p[2] + 0.01,
    node: el("circle", { cx: xy(p)[0], cy: xy(p)[1], r: r.toFixed(3), fill: `url(#${prefix}-${symbol})`, class: "atom",
      opacity: fade(p[2]).toFixed(2) }),
  }));
  for (const [i, j] of pairs) {
    const middle = scale(add(points[i].p, points[j].p), 0.5);
    for (const [from, symbol] of [[points[i].p, points[i].symbol], [points[j].p, points[j].symbol]]) {
      const z = (from[2] + middle[2]) / 2;
      const [[x1, y1], [x2, y2]] = [xy(from), xy(middle)];
      items.push({ z, node: el("line", { x1, y1, x2, y2, "stroke-width": 0.17, opacity: fade(z).toFixed(2),
        stroke: shade(data.elements[symbol].color, -0.12) }) });
    }
  }
  for (const [from, to] of edges) {
    const [a, b] = [turn(from), turn(to)];
    const [[x1, y1], [x2, y2]] = [xy(a), xy(b)];
    items.push({ z: Math.min(a[2], b[2]), node: el("line", { x1, y1, x2, y2, class: "cell-edge" }) });
  }
  items.sort((a, b) => a.z - b.z);
  const box = [-reach, -reach, 2 * reach, 2 * reach].map((x) => x.toFixed(2)).join(" ");
  return el("svg", { viewBox: box, class: "drawing", "aria-hidden": "true", focusable: "false" },
    el("defs", {}, symbols.map(gradient)), items.map((item) => item.node));
}

/** The stored geometry, untouched, as a P1 CIF. */
function toCif(row, packed) {
  const clean = (text) => String(text ?? "").replace(/[^\x20-\x7e]/g, "?");
  const [a, b, c, alpha, beta, gamma] = packed[0];
  const lines = [
    `# ${clean(row.id)}: ${clean(row.formula)}, from ${clean(row.origin)}`,
    row.e_above_hull === null ? "" : `# energy above hull ${row.e_above_hull} eV/atom`,
    `data_${clean(row.formula).replace(/[^A-Za-z0-9]/g, "_")}`,
    "_symmetry_space_group_name_H-M   'P 1'", "_symmetry_Int_Tables_number   1",
    `_cell_length_a   ${a}`, `_cell_length_b   ${b}`, `_cell_length_c   ${c}`,
    `_cell_angle_alpha   ${alpha}`, `_cell_angle_beta   ${beta}`, `_cell_angle_gamma   ${gamma}`,
    "loop_", "_symmetry_equiv_pos_as_xyz", "  'x, y, z'",
    "loop_", "_atom_site_label", "_atom_site_type_symbol",
    "_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z", "_atom_site_occupancy",
    ...sites(packed).map(({ symbol, f, occupancy }, i) =>
      `  ${symbol}${i + 1}  ${symbol}  ${f.map((x) => x.toFixed(6)).join("  ")}  ${occupancy}`),
  ];
  return `${lines.filter(Boolean).join("\n")}\n`;
}

/** File name for a row: formula and id, letters and digits only. */
const fileName = (row, ending) => `${`${row.formula}_${row.id}`.replace(/[^A-Za-z0-9_.-]+/g, "_").slice(0, 80)}.${ending}`;
