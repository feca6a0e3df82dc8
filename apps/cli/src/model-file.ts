/** Reads model files: `.onnx` and `.onnx.gz`, with weights kept in files beside them. */
import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, normalize, resolve } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { DistrEdgeError, externalLocations, type Graph, loadGraph } from '@distredge/core';
import { fileError } from './image/file-error.js';

/** Protobuf cannot say more than 2 GiB; larger models keep their weights in other files. */
const MAX_MODEL_BYTES = 2 ** 31;

export interface ModelFile {
  readonly path: string;
  /** The file's name without folder and ending. */
  readonly name: string;
  /** The ModelProto, unpacked. */
  readonly bytes: Uint8Array;
  readonly graph: Graph;
  /** Whether the weights are in other files, so that the bytes alone do not run. */
  readonly hasExternalData: boolean;
}

export interface ModelOptions {
  /** Shapes by input name. */
  readonly shapes?: Readonly<Record<string, readonly number[]>>;
  readonly size?: { readonly height: number; readonly width: number };
}

/** Reads, unpacks and checks a model. Throws `FILE`, `MODEL_*`, `SHAPE_*` or `OP_INVALID`. */
export async function readModel(path: string, options: ModelOptions = {}): Promise<ModelFile> {
  const bytes = await unpacked(path);
  const external = new Map<string, Uint8Array>();
  for (const location of externalLocations(bytes)) external.set(location, await readBeside(path, location));
  const graph = loadGraph(bytes, {
    ...options,
    external(location, offset, length) {
      const data = external.get(location) as Uint8Array;
      if (offset + (length ?? 0) > data.byteLength) {
        throw new DistrEdgeError('MODEL_EXTERNAL_DATA', 'a file of weights is shorter than the model says', {
          where: `${location}, byte ${offset}`,
          expected: `${offset + (length ?? 0)} bytes`,
          got: `${data.byteLength} bytes`,
        });
      }
      return data.subarray(offset, length === undefined ? undefined : offset + length);
    },
  });
  const name = basename(path).replace(/(\.onnx)?(\.gz)?$/, '');
  return { path, name, bytes, graph, hasExternalData: external.size > 0 };
}

async function unpacked(path: string): Promise<Uint8Array> {
  let raw: Uint8Array;
  try {
    const info = await stat(path);
    if (info.isDirectory()) throw Object.assign(new Error('it is a directory'), { code: 'EISDIR' });
    if (info.size > MAX_MODEL_BYTES) throw tooLarge(path, info.size);
    raw = await readFile(path);
  } catch (error) {
    if (error instanceof DistrEdgeError) throw error;
    throw fileError(error, path, 'read');
  }
  if (raw[0] !== 0x1f || raw[1] !== 0x8b) return raw;
  try {
    return await promisify(gunzip)(raw, { maxOutputLength: MAX_MODEL_BYTES });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(path, MAX_MODEL_BYTES);
    throw new DistrEdgeError('MODEL_INVALID', 'the packed model cannot be unpacked', {
      where: path,
      got: (cause as Error).message,
      hint: 'the file is damaged or cut off; fetch it again',
      cause,
    });
  }
}

function tooLarge(path: string, bytes: number): DistrEdgeError {
  return new DistrEdgeError('MODEL_LIMIT', 'the model file is too large', {
    where: path,
    expected: `< ${MAX_MODEL_BYTES} bytes`,
    got: `≥ ${bytes} bytes`,
    hint: 'save it with external data',
  });
}

/** A file named by the model, which must lie in the model's own folder or below. */
async function readBeside(path: string, location: string): Promise<Uint8Array> {
  const inside = normalize(location);
  if (isAbsolute(inside) || inside.startsWith('..')) {
    throw new DistrEdgeError('MODEL_EXTERNAL_DATA', 'the model names a file outside its own folder', {
      where: path,
      got: location,
    });
  }
  try {
    return await readFile(resolve(dirname(path), inside));
  } catch (error) {
    const cause = fileError(error, location, 'read');
    throw new DistrEdgeError('MODEL_EXTERNAL_DATA', 'a file of weights cannot be read', {
      where: path,
      got: cause.message,
      hint: `put '${location}' beside the model`,
      cause,
    });
  }
}
