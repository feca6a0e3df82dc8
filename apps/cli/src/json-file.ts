/** Artifacts as files: one JSON value each, with the file among the places of whatever is wrong in it. */
import { readFile, stat, writeFile } from 'node:fs/promises';
import { DistrEdgeError, type ErrorCode } from '@distredge/core';
import { fileError } from './image/file-error.js';
import { inFile } from './model-file.js';

/** More than any artifact needs; a bound on what a wrong path can make us read. */
const MAX_BYTES = 256 * 2 ** 20;

/** Reads and parses an artifact. Throws `FILE`, `code` for what is no JSON, and what `parse` throws. */
export async function readArtifact<T>(path: string, code: ErrorCode, parse: (value: unknown) => T): Promise<T> {
  const text = await readText(path);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new DistrEdgeError(code, 'the file is not JSON', {
      where: path,
      got: cause instanceof Error ? cause.message : String(cause),
      cause,
    });
  }
  try {
    return parse(value);
  } catch (error) {
    throw inFile(path, error);
  }
}

async function readText(path: string): Promise<string> {
  try {
    const info = await stat(path);
    if (info.isFile() && info.size <= MAX_BYTES) return await readFile(path, 'utf8');
    if (info.isDirectory()) throw Object.assign(new Error('it is a directory'), { code: 'EISDIR' });
  } catch (error) {
    throw fileError(error, path, 'read');
  }
  throw new DistrEdgeError('FILE', 'this is no file of an artifact', {
    where: path,
    expected: `a plain file of at most ${MAX_BYTES / 2 ** 20} MiB`,
  });
}

/** Writes text, or a value as JSON. Throws `FILE`. */
export async function writeArtifact(path: string, value: unknown): Promise<void> {
  try {
    await writeFile(path, typeof value === 'string' ? value : `${JSON.stringify(value)}\n`);
  } catch (error) {
    throw fileError(error, path, 'write');
  }
}
