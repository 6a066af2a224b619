// The header of a safetensors file, checked against the file. Format: 8 bytes little-endian length of the header, a JSON
// object of name -> { dtype, shape, data_offsets }, then the data, which the tensors cover without holes or overlaps.
import { corruptFile, describeJson, parseJson, type Json, type JsonObject } from "./json.js";
import { withFile } from "./files.js";

/** Bits of one element. Types that the format knows and this library does not compute with are read all the same. */
const dtypeBits = {
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E4M3: 8,
  F8_E5M2: 8,
  F8_E8M0: 8,
  U16: 16,
  I16: 16,
  F16: 16,
  BF16: 16,
  U32: 32,
  I32: 32,
  F32: 32,
  U64: 64,
  I64: 64,
  F64: 64,
  C64: 64,
} as const;

export type SafetensorsDType = keyof typeof dtypeBits;

export interface SafetensorsEntry {
  name: string;
  dtype: SafetensorsDType;
  shape: number[];
  /** From the start of the file. */
  offset: number;
  bytes: number;
}

export interface SafetensorsHeader {
  tensors: SafetensorsEntry[];
  metadata: Map<string, string>;
  fileBytes: number;
}

const lengthBytes = 8;
/** The limit of the reference implementation. */
const maxHeaderBytes = 100_000_000;
const maxDimensions = 8;

/** Throws `CORRUPT_FILE` with the reason, `MODEL_NOT_FOUND` when the file cannot be read. Reads the header only. */
export async function readSafetensorsHeader(path: string): Promise<SafetensorsHeader> {
  return withFile(path, async (file) => {
    const fileBytes = (await file.stat()).size;
    if (fileBytes < lengthBytes) {
      throw corruptFile(path, `expected at least ${lengthBytes} bytes, the file has ${fileBytes}`);
    }
    const length = Buffer.alloc(lengthBytes);
    await file.read(length, 0, lengthBytes, 0);
    const headerBytes = checkHeaderLength(length.readBigUInt64LE(0), fileBytes, path);
    const header = Buffer.alloc(headerBytes);
    const { bytesRead } = await file.read(header, 0, headerBytes, lengthBytes);
    if (bytesRead !== headerBytes) throw corruptFile(path, "the file became shorter while it was read");
    return parseHeader(header, fileBytes, path);
  });
}

function checkHeaderLength(length: bigint, fileBytes: number, path: string): number {
  if (length > BigInt(fileBytes - lengthBytes)) {
    throw corruptFile(path, `the header should have ${length} bytes, the file has ${fileBytes} in all: is it cut?`);
  }
  if (length > BigInt(maxHeaderBytes)) {
    throw corruptFile(path, `the header has ${length} bytes, more than the ${maxHeaderBytes} that the format allows`);
  }
  if (length === 0n) throw corruptFile(path, "the header is empty: this is not a safetensors file");
  return Number(length);
}

function parseHeader(header: Buffer, fileBytes: number, path: string): SafetensorsHeader {
  const file = `${path} (header)`;
  if (header[0] !== 0x7b) throw corruptFile(file, 'does not begin with "{": this is not a safetensors file');
  const object = parseJson(header, file);
  if (!(object instanceof Map)) throw corruptFile(file, `expected a JSON object, got ${describeJson(object)}`);
  const dataStart = lengthBytes + header.length;
  const metadata = readMetadata(object.get("__metadata__"), file);
  object.delete("__metadata__");
  const tensors = [...object].map(([name, entry]) => readEntry(name, entry, dataStart, fileBytes, file));
  checkCover(tensors, dataStart, fileBytes, file);
  return { tensors, metadata, fileBytes };
}

function readMetadata(value: Json | undefined, file: string): Map<string, string> {
  const metadata = new Map<string, string>();
  if (value === undefined) return metadata;
  if (!(value instanceof Map)) throw corruptFile(file, `__metadata__: expected an object, got ${describeJson(value)}`);
  for (const [key, text] of value) {
    if (typeof text !== "string") {
      throw corruptFile(file, `__metadata__ ${describeJson(key)}: expected a string, got ${describeJson(text)}`);
    }
    metadata.set(key, text);
  }
  return metadata;
}

function readEntry(name: string, entry: Json, dataStart: number, fileBytes: number, file: string): SafetensorsEntry {
  const refuse = (what: string) => corruptFile(file, `tensor ${describeJson(name)}: ${what}`);
  if (!(entry instanceof Map)) throw refuse(`expected an object, got ${describeJson(entry)}`);
  const dtype = readDType(entry, refuse);
  const shape = readShape(entry, refuse);
  const [begin, end] = readOffsets(entry, refuse);
  if (begin > end || end > fileBytes - dataStart) {
    throw refuse(`data_offsets [${begin}, ${end}] do not lie in the ${fileBytes - dataStart} bytes of data: is the file cut?`);
  }
  // In BigInt: no product of dimensions overflows, whatever the file says.
  const bits = shape.reduce((product, size) => product * BigInt(size), BigInt(dtypeBits[dtype]));
  if (bits !== BigInt(end - begin) * 8n) {
    throw refuse(`shape [${shape.join(", ")}] of ${dtype} takes ${bits / 8n} bytes, data_offsets give it ${end - begin}`);
  }
  return { name, dtype, shape, offset: dataStart + begin, bytes: end - begin };
}

type Refuse = (what: string) => Error;

function readDType(entry: JsonObject, refuse: Refuse): SafetensorsDType {
  const dtype = entry.get("dtype");
  if (typeof dtype !== "string" || !isDType(dtype)) {
    throw refuse(`dtype: expected one of ${Object.keys(dtypeBits).join(", ")}, got ${describeJson(dtype)}`);
  }
  return dtype;
}

function isDType(word: string): word is SafetensorsDType {
  return Object.hasOwn(dtypeBits, word);
}

function readShape(entry: JsonObject, refuse: Refuse): number[] {
  const shape = entry.get("shape");
  if (!Array.isArray(shape)) throw refuse(`shape: expected an array, got ${describeJson(shape)}`);
  if (shape.length > maxDimensions) {
    throw refuse(`shape: expected at most ${maxDimensions} dimensions, got ${shape.length}`);
  }
  return shape.map((size) => {
    if (!isSize(size)) throw refuse(`shape: expected whole numbers of at least 0, got ${describeJson(size)}`);
    return size;
  });
}

function readOffsets(entry: JsonObject, refuse: Refuse): [number, number] {
  const offsets = entry.get("data_offsets");
  if (!Array.isArray(offsets) || offsets.length !== 2) {
    throw refuse(`data_offsets: expected two numbers, got ${describeJson(offsets)}`);
  }
  const [begin, end] = offsets;
  if (!isSize(begin) || !isSize(end)) {
    throw refuse(`data_offsets: expected whole numbers of at least 0, got [${offsets.map(describeJson).join(", ")}]`);
  }
  return [begin, end];
}

function isSize(value: Json | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

/** Every byte of the data belongs to exactly one tensor. */
function checkCover(tensors: readonly SafetensorsEntry[], dataStart: number, fileBytes: number, file: string): void {
  const sorted = [...tensors].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let at = dataStart;
  for (const { name, offset, bytes } of sorted) {
    if (offset < at) throw corruptFile(file, `tensor ${describeJson(name)} shares bytes with another tensor`);
    if (offset > at) throw corruptFile(file, `${offset - at} bytes before tensor ${describeJson(name)} belong to no tensor`);
    at = offset + bytes;
  }
  if (at !== fileBytes) throw corruptFile(file, `the last ${fileBytes - at} bytes of the file belong to no tensor`);
}
