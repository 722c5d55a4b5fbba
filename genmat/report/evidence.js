// What papers say of a candidate, where they were asked: whether it was made, and the sentences with their places.

const RELATIONS = ["same composition", "same prototype", "relative", "same elements"];
const RELATION_NAMES = {
  "same composition": "Same composition", "same prototype": "Same prototype, other elements",
  relative: "Chemically near, same formula type", "same elements": "Same elements, other amounts",
};
const evidenceOf = (row) => (data.evidence || {})[row.index];

/** Whether papers know the composition, in words. */
function synthesisText(found) {
  if (found.synthesised === "stated") return "yes: a sentence says it was made";
  return found.synthesised === "reported" ? "reported, no sentence on its making" : "not found in these papers";
}

/** Facts for the viewer; none where no papers were asked. */
function evidenceFacts(row) {
  const found = evidenceOf(row);
  if (!found) return [];
  const count = found.sentences.length;
  return [fact("Already synthesised?", synthesisText(found), count ? `, ${count} ${count === 1 ? "sentence" : "sentences"}` : "")];
}

/** The sentences by how near their material is to the candidate. */
const quotations = (row) => RELATIONS.flatMap((relation) => {
  const items = evidenceOf(row).sentences.filter((item) => item.relation === relation);
  return items.length ? [el("h3", {}, RELATION_NAMES[relation]), el("ul", { class: "evidence" }, items.map(evidenceItem))] : [];
});

/** The panel of a candidate's page, or null where no papers were asked. */
function evidencePanel(row) {
  const found = evidenceOf(row);
  return found ? el("section", { class: "panel", "aria-labelledby": "sheet-evidence-title" },
    el("h2", { id: "sheet-evidence-title" }, "What papers say"), el("p", {}, `Already synthesised? ${synthesisText(found)}.`), quotations(row)) : null;
}

/** A sentence with the material and the value marked. */
function quotation(item) {
  const marks = [[item.material, "material"], [item.value.replace(/^[~<>≤≥]/, ""), "value"]]
    .map(([text, kind]) => [text ? item.sentence.indexOf(text) : -1, text, kind]).filter(([at]) => at >= 0)
    .sort((a, b) => a[0] - b[0]);
  const parts = [];
  let done = 0;
  for (const [at, text] of marks) {
    if (at < done) continue;
    parts.push(item.sentence.slice(done, at), el("mark", {}, text));
    done = at + text.length;
  }
  return el("blockquote", {}, ...parts, item.sentence.slice(done));
}

function evidenceItem(item) {
  const said = item.about === "synthesis" ? "made" : `${item.about} ${item.value}`;
  const far = item.distance ? `, Mendeleev distance ${number(item.distance, 1)}` : "";
  return el("li", {}, quotation(item), el("p", { class: "quiet" }, ...formula(item.material), `: ${said}${far}. `,
    `${item.document}, page ${item.page}, characters ${item.start} to ${item.end}`));
}

/** One small section per candidate with evidence, the best candidates first; the rest opens on demand. */
function initEvidence() {
  const asked = rows.filter(evidenceOf);
  if (!asked.length) return;
  const told = asked.filter((row) => evidenceOf(row).sentences.length);
  const made = asked.filter((row) => evidenceOf(row).synthesised === "stated").length;
  const known = asked.filter((row) => evidenceOf(row).synthesised === "reported").length;
  $("evidence-body").hidden = false;
  $("evidence-note").textContent = `Of ${asked.length} candidates looked up, papers say of ${made} that their composition was made ` +
    `and report properties of ${known} more; ${told.length} have sentences, their own or a relative's. Papers name compositions, not structures.`;
  const section = (row, i) => el("details", { class: "panel", id: `evidence-${row.index}`, open: i < 5 },
    el("summary", {}, ...formula(row.formula), " ", ...spacegroup(row.spacegroup), `: ${synthesisText(evidenceOf(row))}`),
    quotations(row));
  const shown = 20;
  $("evidence-list").append(...told.slice(0, shown).map(section));
  if (told.length > shown) {
    const more = el("button", { type: "button", onclick: () => { more.replaceWith(...told.slice(shown).map((row) => section(row, shown))); } },
      `Show ${told.length - shown} more`);
    $("evidence-list").append(more);
  }
  const open = () => { const target = $(location.hash.slice(1)); if (target?.tagName === "DETAILS") target.open = true; };
  addEventListener("hashchange", open);
}
