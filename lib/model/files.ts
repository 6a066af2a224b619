// Reading files with errors that say what to do.
import { open, readFile, type FileHandle } from "node:fs/promises";

import { messageOf, SplitwiserError } from "../errors.js";

/** Throws `MODEL_NOT_FOUND` for a file that is not there or must not be read, with the system's error as `cause`. */
export async function readWhole(path: string, maxBytes: number): Promise<Buffer> {
  const { size } = await withFile(path, (file) => file.stat());
  if (size > maxBytes) {
    throw new SplitwiserError("CORRUPT_FILE", `${path}: expected at most ${maxBytes} bytes, the file has ${size}`);
  }
  try {
    return await readFile(path);
  } catch (error) {
    throw unreadable(path, error);
  }
}

export async function withFile<T>(path: string, use: (file: FileHandle) => Promise<T>): Promise<T> {
  let file: FileHandle;
  try {
    file = await open(path, "r");
  } catch (error) {
    throw unreadable(path, error);
  }
  try {
    const stats = await file.stat();
    if (!stats.isFile()) throw new SplitwiserError("CORRUPT_FILE", `${path}: expected a file, it is a folder or a device`);
    return await use(file);
  } catch (error) {
    throw error instanceof SplitwiserError ? error : unreadable(path, error);
  } finally {
    await file.close();
  }
}

export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

export function unreadable(path: string, error: unknown): SplitwiserError {
  switch (systemCode(error)) {
    case "ENOENT":
    case "ENOTDIR":
      return new SplitwiserError("MODEL_NOT_FOUND", `${path}: there is no such file`, { cause: error });
    case "EACCES":
    case "EPERM":
      return new SplitwiserError("MODEL_NOT_FOUND", `${path}: may not be read by this user: change its permissions`, {
        cause: error,
      });
    default:
      return new SplitwiserError("MODEL_NOT_FOUND", `${path}: cannot be read: ${messageOf(error)}`, { cause: error });
  }
}
