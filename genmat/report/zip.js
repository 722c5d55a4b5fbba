// Several files as one archive, stored without compression: the ZIP format (APPNOTE 6.3), just enough of it.

const CRC = Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k += 1) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c >>> 0;
});

const crc32 = (bytes) => (bytes.reduce((c, byte) => CRC[(c ^ byte) & 255] ^ (c >>> 8), 0xffffffff) ^ 0xffffffff) >>> 0;

/** Numbers as little-endian bytes: [[value, bytes], …]. */
const little = (fields) => fields.flatMap(([value, size]) => Array.from({ length: size }, (_, i) => (value >>> (8 * i)) & 255));

/** An archive of texts, {name: text}, as a Blob. */
function zipped(files) {
  const [parts, directory] = [[], []];
  let offset = 0;
  for (const [name, text] of Object.entries(files)) {
    const [title, body] = [name, text].map((string) => new TextEncoder().encode(string));
    // version 2.0, flag of UTF-8 names, stored, 1 January 1980
    const common = little([[20, 2], [0x800, 2], [0, 2], [0, 2], [33, 2], [crc32(body), 4], [body.length, 4], [body.length, 4], [title.length, 2], [0, 2]]);
    const head = Uint8Array.from([...little([[0x04034b50, 4]]), ...common]);
    directory.push(Uint8Array.from([...little([[0x02014b50, 4], [20, 2]]), ...common, ...little([[0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]])]), title);
    parts.push(head, title, body);
    offset += head.length + title.length + body.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const count = Object.keys(files).length;
  const end = Uint8Array.from(little([[0x06054b50, 4], [0, 2], [0, 2], [count, 2], [count, 2], [size, 4], [offset, 4], [0, 2]]));
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}
