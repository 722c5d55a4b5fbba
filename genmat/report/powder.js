// Simulated powder pattern, computed when somebody looks: kinematic intensities of the stored structure, Cu Kα.

const POWDER = { wavelength: 1.54184, from: 5, to: 90, step: 0.02, width: 0.15 };   // Å; the others ° in 2θ, width at half height

/** Scattering factor of an element at s² = (sin θ / λ)², in electrons. */
function scattering(symbol, s2) {
  const [z, pairs] = data.elements[symbol].scattering;
  return z - 41.78214 * s2 * pairs.reduce((sum, [a, b]) => sum + a * Math.exp(-b * s2), 0);
}

/** Reflections up to `POWDER.to`: [{angle (2θ, °), d (Å), intensity (strongest 100), hkl, multiplicity}], by angle. */
function reflections(packed) {
  const matrix = cellMatrix(packed[0]);
  const columns = inverse(matrix);   // column i of the inverse is the i-th reciprocal vector
  const reciprocal = [0, 1, 2].map((i) => columns.map((line) => line[i]));
  const atoms = sites(packed);
  const radius = (2 * Math.sin(rad(POWDER.to / 2))) / POWDER.wavelength;
  const most = matrix.map((vector) => Math.floor(Math.hypot(...vector) * radius));
  const found = [];
  for (let h = 0; h <= most[0]; h += 1) for (let k = h ? -most[1] : 0; k <= most[1]; k += 1) {
    for (let l = h || k ? -most[2] : 1; l <= most[2]; l += 1) {   // half of space: the other half is the same
      const g = Math.hypot(...times([h, k, l], reciprocal));
      if (g > radius) continue;
      const factors = new Map();
      let [real, imaginary] = [0, 0];
      for (const { symbol, f, occupancy } of atoms) {
        if (!factors.has(symbol)) factors.set(symbol, scattering(symbol, (g * g) / 4));
        const [size, phase] = [occupancy * factors.get(symbol), 2 * Math.PI * (h * f[0] + k * f[1] + l * f[2])];
        real += size * Math.cos(phase);
        imaginary += size * Math.sin(phase);
      }
      const theta = Math.asin((POWDER.wavelength * g) / 2);
      const lorentz = (1 + Math.cos(2 * theta) ** 2) / (Math.sin(theta) ** 2 * Math.cos(theta));
      found.push({ angle: (360 * theta) / Math.PI, d: 1 / g, intensity: 2 * lorentz * (real ** 2 + imaginary ** 2),
        hkl: conventional([h, k, l], packed[4]), multiplicity: 2 });
    }
  }
  const merged = merge(found);
  const top = Math.max(...merged.map((peak) => peak.intensity));
  return merged.map((peak) => ({ ...peak, intensity: (100 * peak.intensity) / top })).filter((peak) => peak.intensity > 0.001);
}

/** Indices in the conventional cell, where the view says how to get there. */
function conventional(hkl, view) {
  if (!view) return hkl;
  return [0, 3, 6].map((i) => view[0][i] * hkl[0] + view[0][i + 1] * hkl[1] + view[0][i + 2] * hkl[2]);
}

/** Reflections closer than 0.01° as one, named by its highest indices. */
function merge(found) {
  const peaks = [];
  for (const next of found.sort((a, b) => a.angle - b.angle)) {
    const last = peaks[peaks.length - 1];
    if (last && next.angle - last.angle < 0.01) {
      last.intensity += next.intensity;
      last.multiplicity += 2;
      last.hkl = nicer(last.hkl, next.hkl);
    } else peaks.push({ ...next, hkl: nicer(next.hkl, next.hkl) });
  }
  return peaks;
}

/** Of two equivalent indices the one with fewer minus signs, then the higher; Friedel's mate counts as the same. */
function nicer(...choices) {
  const both = choices.flatMap((hkl) => [hkl, hkl.map((x) => (x ? -x : 0))]);
  const minus = (hkl) => hkl.filter((x) => x < 0).length;
  return both.sort((a, b) => minus(a) - minus(b) || b[0] - a[0] || b[1] - a[1] || b[2] - a[2])[0];
}

/** The pattern as a measured one would look: Gaussians, [2θ (°), intensity (highest 100)] every `POWDER.step`. */
function profile(peaks) {
  const count = Math.round((POWDER.to - POWDER.from) / POWDER.step) + 1;
  const x = Array.from({ length: count }, (_, i) => POWDER.from + i * POWDER.step);
  const y = new Float64Array(count);
  const sigma = POWDER.width / 2.3548;
  for (const { angle, intensity } of peaks) {
    const middle = Math.round((angle - POWDER.from) / POWDER.step);
    const reach = Math.ceil((5 * sigma) / POWDER.step);
    for (let i = Math.max(0, middle - reach); i <= Math.min(count - 1, middle + reach); i += 1) {
      y[i] += intensity * Math.exp(-((x[i] - angle) ** 2) / (2 * sigma ** 2));
    }
  }
  const top = Math.max(...y) || 1;
  return [x, [...y].map((value) => (100 * value) / top)];
}

/** Two columns, as programs that refine powder patterns read them. */
function toXy(row, peaks) {
  const [x, y] = profile(peaks);
  const head = `# ${row.formula}, ${row.id}: simulated, Cu K-alpha ${POWDER.wavelength} A, 2theta (deg), intensity`;
  return `${head.replace(/[^\x20-\x7e]/g, "?")}\n${x.map((angle, i) => `${angle.toFixed(2)} ${y[i].toFixed(3)}`).join("\n")}\n`;
}

/** Indices for print: "1 1 0", a bar as a minus sign. */
const hklText = (hkl) => hkl.map((x) => String(x).replace("-", MINUS)).join(" ");

function drawPowder(peaks, row) {
  const [x, y] = profile(peaks);
  const shown = peaks.filter((peak) => peak.angle >= POWDER.from);
  const strong = [...shown].sort((a, b) => b.intensity - a.intensity).slice(0, 8);
  const named = strong.filter((peak, i) => strong.slice(0, i).every((other) => Math.abs(other.angle - peak.angle) > 3));
  plot("plot-powder", [
    { type: "scatter", mode: "lines", name: "pattern", x, y, hoverinfo: "skip", line: { color: token("--accent"), width: 1.5 } },
    { type: "scatter", mode: "markers", name: "reflections", x: shown.map((peak) => peak.angle), y: shown.map(() => -4),
      text: shown.map((peak) => `${hklText(peak.hkl)}<br>2θ ${number(peak.angle, 2)}°, d ${number(peak.d, 3)} Å, intensity ${number(peak.intensity, 1)}`),
      hovertemplate: "%{text}<extra></extra>", marker: { symbol: "line-ns-open", size: 8, color: token("--muted"), line: { width: 1.2 } } },
  ], {
    xaxis: { label: "2θ (°), Cu Kα", range: [POWDER.from, POWDER.to], showgrid: false },
    yaxis: { label: "intensity", range: [-9, 116], tickvals: [0, 50, 100] }, showlegend: false,
    annotations: named.map((peak) => ({ x: peak.angle, y: Math.min(104, y[Math.round((peak.angle - POWDER.from) / POWDER.step)] + 1),
      text: hklText(peak.hkl), showarrow: false, yanchor: "bottom", font: { size: 12, color: token("--muted") } })),
  }, `Simulated powder pattern of ${row.formula}, Cu Kα; strongest reflections: ` +
    `${strong.slice(0, 4).map((peak) => `${hklText(peak.hkl)} at ${number(peak.angle, 1)}°`).join(", ")}.`);
  numbersTable("numbers-powder", "Reflections", ["h k l", "2θ (°)", "d (Å)", "intensity"],
    shown.filter((peak) => peak.intensity >= 0.5).map((peak) =>
      [hklText(peak.hkl), number(peak.angle, 3), number(peak.d, 4), number(peak.intensity, 1)]));
}
