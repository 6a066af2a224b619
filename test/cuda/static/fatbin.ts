// Reads the fatbins that nvcc makes: a header, then one entry for each target, a cubin (ELF) or PTX, compressed as one LZ4 block.
// Offsets of the header were found by looking at files with known contents (nvcc 13.0.88, uncompressed beside compressed).
export interface Image {
  kind: "ptx" | "cubin";
  /** Compute capability: 80, 86, ... */
  arch: number;
  bytes: Uint8Array;
}

const magic = 0xba55ed50;

/** One LZ4 block of known length (the block format of lz4/doc). */
export function lz4Block(input: Uint8Array, length: number): Uint8Array {
  const output = new Uint8Array(length);
  let from = 0;
  let to = 0;
  const count = (start: number): number => {
    let total = start;
    if (start !== 15) return total;
    for (let byte = 255; byte === 255; total += byte) byte = input[from++] ?? 0;
    return total;
  };
  while (from < input.length) {
    const token = input[from++] ?? 0;
    const literals = count(token >> 4);
    if (to + literals > length) throw new Error(`a damaged LZ4 block: ${literals} literals at ${to} of ${length}`);
    output.set(input.subarray(from, from + literals), to);
    from += literals;
    to += literals;
    if (from >= input.length) break; // the last sequence has literals only
    const distance = (input[from] ?? 0) | ((input[from + 1] ?? 0) << 8);
    from += 2;
    const matched = count(token & 15) + 4;
    if (distance === 0 || distance > to || to + matched > length) throw new Error(`a damaged LZ4 block: a match of ${matched} at ${to}, ${distance} back`);
    for (let i = 0; i < matched; i++, to++) output[to] = output[to - distance] ?? 0; // may overlap itself
  }
  if (to !== length) throw new Error(`an LZ4 block of ${to} bytes, expected ${length}`);
  return output;
}

export function imagesOf(fatbin: Uint8Array): Image[] {
  const view = new DataView(fatbin.buffer, fatbin.byteOffset, fatbin.byteLength);
  if (view.getUint32(0, true) !== magic) throw new Error("not a fatbin: it does not begin with ba55ed50");
  const images: Image[] = [];
  let at = view.getUint16(6, true);
  const end = at + Number(view.getBigUint64(8, true));
  while (at < end) {
    const kind = view.getUint16(at, true);
    const header = view.getUint32(at + 4, true);
    const padded = Number(view.getBigUint64(at + 8, true));
    const compressed = view.getUint32(at + 16, true);
    const arch = view.getUint32(at + 28, true);
    const length = Number(view.getBigUint64(at + 56, true));
    const payload = fatbin.subarray(at + header, at + header + (compressed === 0 ? padded : compressed));
    const bytes = length === 0 ? payload : lz4Block(payload, length);
    if (kind !== 1 && kind !== 2) throw new Error(`an entry of kind ${kind}: expected PTX (1) or a cubin (2)`);
    images.push({ kind: kind === 1 ? "ptx" : "cubin", arch, bytes });
    at += header + padded;
  }
  return images;
}

/** Names of a cubin's kernels: what its sections .text.NAME are named for. */
export function kernelsIn(cubin: Uint8Array): string[] {
  const view = new DataView(cubin.buffer, cubin.byteOffset, cubin.byteLength);
  if (view.getUint32(0, false) !== 0x7f454c46) throw new Error("not an ELF image");
  const table = Number(view.getBigUint64(40, true));
  const size = view.getUint16(58, true);
  const sections = view.getUint16(60, true);
  const names = Number(view.getBigUint64(table + view.getUint16(62, true) * size + 24, true));
  const text = (offset: number): string => {
    const start = names + offset;
    return new TextDecoder().decode(cubin.subarray(start, cubin.indexOf(0, start)));
  };
  return Array.from({ length: sections }, (_, index) => text(view.getUint32(table + index * size, true)))
    .filter((name) => name.startsWith(".text."))
    .map((name) => name.slice(".text.".length))
    .sort();
}
