// model.safetensors, or its shards by model.safetensors.index.json.
import { stat } from "node:fs/promises";
import { join } from "node:path";

import { SplitwiserError, throwIfAborted } from "../errors.js";
import { systemCode, readWhole, unreadable } from "./files.js";
import { corruptFile, describeJson, parseJsonObject } from "./json.js";
import { readSafetensorsHeader, type SafetensorsEntry } from "./safetensors.js";

export interface Checkpoint {
  /** Absolute paths. */
  files: { path: string; name: string; bytes: number }[];
  tensors: (SafetensorsEntry & { file: number })[];
}

const single = "model.safetensors";
const index = "model.safetensors.index.json";
const maxIndexBytes = 64 << 20;

export interface ReadOptions {
  signal?: AbortSignal | undefined;
  onFile?: ((done: number, total: number) => void) | undefined;
}

/**
 * Throws `MODEL_NOT_FOUND` when there are no weights, `UNSUPPORTED_MODEL` when they are in another format, `CORRUPT_FILE` with the reason.
 */
export async function readCheckpoint(folder: string, options: ReadOptions = {}): Promise<Checkpoint> {
  if (await exists(join(folder, index))) return readShards(folder, options);
  if (await exists(join(folder, single))) return readFiles(folder, [single], undefined, options);
  for (const other of ["pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack"]) {
    if (await exists(join(folder, other))) {
      throw new SplitwiserError(
        "UNSUPPORTED_MODEL",
        `${folder}: expected ${single}, found ${other}: write the weights as safetensors, in Python: ` +
          'AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder, safe_serialization=True)',
      );
    }
  }
  throw new SplitwiserError("MODEL_NOT_FOUND", `${folder}: expected ${single} or ${index}, neither is there`);
}

export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    const code = systemCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") return false;
    throw unreadable(path, error);
  }
}

async function readShards(folder: string, options: ReadOptions): Promise<Checkpoint> {
  const path = join(folder, index);
  const object = parseJsonObject(await readWhole(path, maxIndexBytes), path);
  const map = object.get("weight_map");
  if (!(map instanceof Map)) throw corruptFile(path, `weight_map: expected an object, got ${describeJson(map)}`);
  const wanted = new Map<string, string>();
  for (const [tensor, shard] of map) wanted.set(tensor, checkShardName(shard, tensor, path));
  if (wanted.size === 0) throw corruptFile(path, "weight_map names no tensor");
  return readFiles(folder, [...new Set(wanted.values())].sort(), wanted, options);
}

/** Shards lie beside the index: a name with a way out of the folder is refused, wherever it leads. */
function checkShardName(shard: unknown, tensor: string, path: string): string {
  if (typeof shard !== "string" || !/^[^/\\:\u0000-\u001f]+\.safetensors$/.test(shard)) {
    throw corruptFile(
      path,
      `weight_map ${describeJson(tensor)}: expected the plain name of a .safetensors file in the same folder, got ${JSON.stringify(shard)}`,
    );
  }
  return shard;
}

async function readFiles(
  folder: string,
  names: readonly string[],
  wanted: ReadonlyMap<string, string> | undefined,
  { signal, onFile }: ReadOptions,
): Promise<Checkpoint> {
  const checkpoint: Checkpoint = { files: [], tensors: [] };
  const found = new Map<string, string>();
  for (const [file, name] of names.entries()) {
    throwIfAborted(signal);
    const path = join(folder, name);
    if (wanted && !(await exists(path))) throw corruptFile(join(folder, index), `names the shard ${name}, which is not there`);
    const header = await readSafetensorsHeader(path);
    checkpoint.files.push({ path, name, bytes: header.fileBytes });
    for (const tensor of header.tensors) {
      if (wanted && wanted.get(tensor.name) !== name) continue;
      found.set(tensor.name, name);
      checkpoint.tensors.push({ ...tensor, file });
    }
    onFile?.(file + 1, names.length);
  }
  for (const [tensor, name] of wanted ?? []) {
    if (!found.has(tensor)) throw corruptFile(join(folder, name), `lacks the tensor ${describeJson(tensor)} that ${index} puts there`);
  }
  return checkpoint;
}
