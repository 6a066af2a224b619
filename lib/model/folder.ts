// A Hugging Face folder: which files count, and what they say together.
import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";

import { packageRoot } from "../addon.js";
import { SplitwiserError } from "../errors.js";
import type { NativeModel } from "../native.js";
import { describe, invalidOption } from "../validate.js";
import { ConfigFields, type Family } from "./config-fields.js";
import { endTokenIds, readConfig } from "./config.js";
import { readWhole, systemCode, unreadable } from "./files.js";
import { parseJsonObject } from "./json.js";
import { exists, readCheckpoint, type ReadOptions } from "./shards.js";
import { checkTensors, type CheckedTensors } from "./tensors.js";

export interface ModelFolder extends CheckedTensors {
  folder: string;
  family: Family;
  model: NativeModel;
  files: { path: string; name: string; bytes: number }[];
  endTokenIds: number[];
  /** Text of tokenizer.json. */
  tokenizer: string | undefined;
}

/** Names of models that travel with the package. */
const bundled: ReadonlyMap<string, string> = new Map([["radiology", join("models", "splitwiser-radiology-opt")]]);
const maxConfigBytes = 16 << 20;
const maxTokenizerBytes = 256 << 20;

/** Throws `MODEL_NOT_FOUND` or `UNSUPPORTED_MODEL`, saying what works instead. */
export async function locateFolder(source: unknown): Promise<string> {
  if (typeof source !== "string" || source === "") {
    throw invalidOption("source", 'a folder with a model, or "radiology" (the bundled model)', source);
  }
  const inPackage = bundled.get(source);
  if (inPackage !== undefined) return join(packageRoot, inPackage);
  const path = resolve(source);
  try {
    const stats = await stat(path);
    if (stats.isDirectory()) return path;
  } catch (error) {
    throw systemCode(error) === "ENOENT" || systemCode(error) === "ENOTDIR" ? notThere(source, error) : unreadable(path, error);
  }
  throw new SplitwiserError(
    "UNSUPPORTED_MODEL",
    source.endsWith(".gguf")
      ? `${source}: GGUF files are not supported yet: expected a Hugging Face folder with config.json and model.safetensors`
      : `${source}: expected a folder with config.json and model.safetensors, this is a file: pass the folder that holds it`,
  );
}

function notThere(source: string, cause: unknown): SplitwiserError {
  const names = [...bundled.keys()].map((name) => `"${name}"`).join(", ");
  const hub = /^[\w.-]+\/[\w.-]+$/.test(source)
    ? ` If this names a model on the Hugging Face hub: this version downloads nothing, so fetch it first (\`hf download ${source} --local-dir FOLDER\`) and pass FOLDER.`
    : "";
  return new SplitwiserError(
    "MODEL_NOT_FOUND",
    `${describe(source)}: there is no such folder; expected a folder with config.json and model.safetensors, or a bundled model (${names}).${hub}`,
    { cause },
  );
}

/** Reads everything but the weights themselves. Throws `MODEL_NOT_FOUND`, `UNSUPPORTED_MODEL`, `CORRUPT_FILE`, `ABORTED`. */
export async function readModelFolder(folder: string, options: ReadOptions = {}): Promise<ModelFolder> {
  const configPath = join(folder, "config.json");
  const { family, model, fields } = readConfig(await readWhole(configPath, maxConfigBytes), configPath);
  const generation = await readOptional(join(folder, "generation_config.json"));
  const tokenizerPath = join(folder, "tokenizer.json");
  const tokenizer = (await exists(tokenizerPath)) ? (await readWhole(tokenizerPath, maxTokenizerBytes)).toString("utf8") : undefined;
  const checkpoint = await readCheckpoint(folder, options);
  return {
    folder,
    family,
    model,
    files: checkpoint.files,
    ...checkTensors(checkpoint, family, model),
    endTokenIds: endTokenIds(fields, generation, model.vocab),
    tokenizer,
  };
}

async function readOptional(path: string): Promise<ConfigFields | undefined> {
  if (!(await exists(path))) return undefined;
  return new ConfigFields(parseJsonObject(await readWhole(path, maxConfigBytes), path), path);
}
