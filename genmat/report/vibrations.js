// What the vibrations of a candidate say, where they were computed.

const anyVibrations = rows.some((row) => row.dynamically_stable !== null || row.phonon_reason);

/** Stable, unstable or why unknown, in words. */
function vibrationText(row) {
  if (row.phonon_reason) return "unknown";
  if (row.dynamically_stable === null) return "–";
  return row.dynamically_stable ? "stable" : "unstable";
}

/** Facts for the viewer; none where nothing was computed. */
function vibrationFacts(row) {
  if (row.phonon_reason) return [fact("Vibrations", `could not be computed: ${row.phonon_reason}`)];
  if (row.dynamically_stable === null) return [];
  const list = [fact("Vibrations", el("strong", {}, vibrationText(row)), `, lowest ${number(row.min_frequency_exact, 2)} THz`,
    row.min_frequency_exact < 0 ? " (imaginary)" : "", el("br"), `supercell ${row.phonon_supercell}`,
    row.dynamically_stable && row.min_frequency < -0.3
      ? `; ${number(row.min_frequency, 2)} THz where only interpolated` : "")];
  if (row.free_energy_300K !== null) {
    list.push(fact("Free energy", number(row.free_energy_300K, 3), " eV/atom of vibrations at 300 K"));
  }
  return list;
}
