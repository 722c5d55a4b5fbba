// Structures and pages travel compressed and are unpacked when somebody looks, so that 10,000 candidates open at once.

/** The value Python's `genmat.report.pages.shrunk` packed: base64 of compressed JSON. */
async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

const unpacked = new Map();   // block number -> promise of its structures

const hasStructure = (row) => data.drawn[row.index] === "1";

/** Promise of a row's structure as `genmat.report.figures.pack_structure` packed it, null where there is none. */
async function structureOf(row) {
  if (!hasStructure(row)) return null;
  const block = Math.floor(row.index / data.block);
  if (!unpacked.has(block)) unpacked.set(block, inflate(data.blocks[block]));
  return (await unpacked.get(block))[row.index % data.block];
}

/** Promise of what else a candidate's page shows: {files, nearest}, each only where there is any. */
const pageOf = async (row) => (data.pages[row.index] ? inflate(data.pages[row.index]) : {});

/** Offer a row's structure as a CIF. */
const downloadCif = async (row) => download(fileName(row, "cif"), toCif(row, await structureOf(row)), "chemical/x-cif");
