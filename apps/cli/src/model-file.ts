/** Reads model files: `.onnx` and `.onnx.gz`, with weights kept in files beside them; and networks of the zoo by name. */
import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, normalize, resolve } from 'node:path';
import { DistrEdgeError, externalLocations, type Graph, loadGraph } from '@distredge/core';
import { buildZooModel } from '@distredge/zoo';
import { isPacked, unpack } from './gzip.js';
import { fileError } from './image/file-error.js';
import { amount, Progress } from './output.js';

/** Protobuf cannot say more than 2 GiB; larger models keep their weights in other files. */
const MAX_MODEL_BYTES = 2 ** 31 - 1;

/** How the command line describes its argument. */
export const MODEL_ARGUMENT = 'an .onnx or .onnx.gz file, or zoo:NAME (distredge zoo list)';

/** What comes before the name of a network of the zoo. */
const ZOO = 'zoo:';

export interface ModelFile {
  /** The file, or `zoo:` and a name. */
  readonly path: string;
  /** The file's name without folder and ending; the name in the zoo. */
  readonly name: string;
  /** The ModelProto, unpacked. */
  readonly bytes: Uint8Array;
  readonly graph: Graph;
  /** Whether the file is packed by gzip. */
  readonly packed: boolean;
  /** Whether the weights are in other files, or left out, so that the bytes alone do not run. */
  readonly hasExternalData: boolean;
}

export interface ModelOptions {
  /** Shapes by input name. */
  readonly shapes?: Readonly<Record<string, readonly number[]>>;
  readonly size?: { readonly height: number; readonly width: number };
  /** For who reads no weights: networks of the zoo come without theirs, at once. */
  readonly weights?: 'none';
}

/** Reads, unpacks and checks a model. Throws `FILE`, `MODEL_*`, `SHAPE_*`, `OP_INVALID` or, for a name that the zoo lacks, `USAGE`. */
export async function readModel(path: string, options: ModelOptions = {}): Promise<ModelFile> {
  if (path.startsWith(ZOO)) return readZoo(path, options);
  const progress = new Progress();
  progress.update(`reading ${path}`);
  try {
    const raw = await readPlain(path, MAX_MODEL_BYTES);
    if (raw.byteLength === 0)
      throw new DistrEdgeError('MODEL_INVALID', 'the file is empty', {
        hint: 'it was not downloaded or exported whole',
      });
    const packed = isPacked(raw);
    const bytes = packed ? await unpackModel(raw, path, progress) : raw;
    const external = new Map<string, Uint8Array>();
    for (const location of externalLocations(bytes)) external.set(location, await readBeside(path, location));
    const graph = loadGraph(bytes, { ...options, external: weightsIn(external) });
    const name = basename(path).replace(/(\.onnx)?(\.gz)?$/, '');
    return { path, name, bytes, graph, packed, hasExternalData: external.size > 0 };
  } catch (error) {
    throw inFile(path, error);
  } finally {
    progress.done();
  }
}

/** Builds a network of the zoo: the same as reading the file that `distredge zoo export` writes. */
function readZoo(path: string, options: ModelOptions): ModelFile {
  const name = path.slice(ZOO.length);
  const built = buildZooModel(name, options);
  try {
    const graph = loadGraph(built.bytes, { ...options, ...built });
    return { path, name, bytes: built.bytes, graph, packed: false, hasExternalData: built.external !== undefined };
  } catch (error) {
    throw inFile(path, error);
  }
}

/** The same error, with the file among its places, and a hint where it has none. */
export function inFile(path: string, error: unknown, otherwise?: string): unknown {
  if (!(error instanceof DistrEdgeError) || error.where?.startsWith(path)) return error;
  const { where, expected, got, hint = otherwise, cause } = error;
  return new DistrEdgeError(error.code, error.message, {
    where: where === undefined ? path : `${path}: ${where}`,
    ...(expected === undefined ? {} : { expected }),
    ...(got === undefined ? {} : { got }),
    ...(hint === undefined ? {} : { hint }),
    cause,
  });
}

/** A plain file's bytes; not those of a pipe or a device, which may never come or never end. */
async function readPlain(path: string, maxBytes: number): Promise<Uint8Array> {
  try {
    const info = await stat(path);
    if (info.isDirectory()) throw Object.assign(new Error('it is a directory'), { code: 'EISDIR' });
    if (!info.isFile()) {
      throw new DistrEdgeError('FILE', 'this is not a plain file', { where: path, hint: 'name the model file itself' });
    }
    if (info.size > maxBytes) throw tooLarge(path, `${info.size} bytes`);
    return await readFile(path);
  } catch (error) {
    throw error instanceof DistrEdgeError ? error : fileError(error, path, 'read');
  }
}

async function unpackModel(raw: Uint8Array, path: string, progress: Progress): Promise<Uint8Array> {
  let bytes: Uint8Array | undefined;
  try {
    bytes = await unpack(raw, MAX_MODEL_BYTES, (done) => progress.update(`unpacking ${path}: ${amount(done, 'B')}`));
  } catch (cause) {
    throw new DistrEdgeError('MODEL_INVALID', 'the packed model cannot be unpacked', {
      where: path,
      got: cause instanceof Error ? cause.message : String(cause),
      hint: 'the file is damaged or cut off; fetch it again',
      cause,
    });
  }
  if (bytes === undefined) throw tooLarge(path, 'more than that, unpacked');
  return bytes;
}

function tooLarge(path: string, got: string): DistrEdgeError {
  return new DistrEdgeError('MODEL_LIMIT', 'the model file is too large', {
    where: path,
    expected: `at most ${MAX_MODEL_BYTES} bytes`,
    got,
    hint: 'export it with its weights in a file of their own (ONNX external data)',
  });
}

/** Finds the bytes of a tensor in the files that were read. */
function weightsIn(files: ReadonlyMap<string, Uint8Array>) {
  return (location: string, offset: number, length: number | undefined): Uint8Array => {
    const data = files.get(location);
    if (data === undefined) {
      throw new DistrEdgeError('MODEL_EXTERNAL_DATA', 'only weights can be in another file, not the values of a node', {
        where: location,
        hint: 'export the model with its constants as initialisers',
      });
    }
    const end = offset + (length ?? 0);
    if (end > data.byteLength) {
      throw new DistrEdgeError('MODEL_EXTERNAL_DATA', 'a file of weights is shorter than the model says', {
        where: `${location}, byte ${offset}`,
        expected: `${end} bytes`,
        got: `${data.byteLength} bytes`,
        hint: 'the file is cut off, or belongs to another model; fetch it again',
      });
    }
    return data.subarray(offset, length === undefined ? undefined : end);
  };
}

/** A file named by the model, which must lie in the model's own folder or below. */
async function readBeside(path: string, location: string): Promise<Uint8Array> {
  const inside = normalize(location);
  if (isAbsolute(inside) || inside.split(/[/\\]/)[0] === '..') {
    throw new DistrEdgeError('MODEL_EXTERNAL_DATA', 'the model names a file outside its own folder', {
      where: path,
      expected: 'files in the folder of the model, or below',
      got: location,
      hint: 'do not use this model unless you know where it comes from',
    });
  }
  try {
    return await readPlain(resolve(dirname(path), inside), MAX_MODEL_BYTES);
  } catch (cause) {
    const why = cause instanceof DistrEdgeError ? `${cause.message} (${cause.got ?? cause.code})` : String(cause);
    throw new DistrEdgeError('MODEL_EXTERNAL_DATA', 'a file of weights cannot be read', {
      where: path,
      expected: `a file '${location}' beside the model`,
      got: why,
      hint: `put '${location}' where the model expects it: in the model's own folder`,
      cause,
    });
  }
}
