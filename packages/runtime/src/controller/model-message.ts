/** A model on its way to the devices that are to measure it: without weights, packed; and back to an analysis there. */
import { gunzipSync, gzipSync } from 'node:zlib';
import {
  type Analysis,
  analyse,
  DistrEdgeError,
  type LoadOptions,
  loadGraph,
  placeholderWeights,
  type Workload,
  withoutWeights,
  workloadOf,
} from '@distredge/core';
import { modelHash } from '../profile/measure.js';
import { decodeModel, encodeModel, MESSAGE_VERSION } from './messages.js';

/** Unpacked, a model without weights is not larger than this. */
const MAX_UNPACKED_BYTES = 2 ** 26;

export interface SharedModel {
  readonly name: string;
  /** The ModelProto's bytes. */
  readonly bytes: Uint8Array;
  /** How its open dimensions are bound. */
  readonly bind?: Pick<LoadOptions, 'shapes' | 'size'> | undefined;
}

/** The message that hands a model out. Throws `MODEL_LIMIT` for one that is too large even so. */
export function packModel({ name, bytes, bind }: SharedModel): Uint8Array {
  const { shapes, size } = bind ?? {};
  return encodeModel(
    {
      version: MESSAGE_VERSION,
      name: name.slice(0, 512),
      ...(shapes === undefined || Object.keys(shapes).length === 0 ? {} : { shapes }),
      ...(size === undefined ? {} : { size }),
    },
    gzipSync(withoutWeights(bytes)),
  );
}

/** Reads such a message. Throws `PROTOCOL`, what `loadGraph` throws, and `PROTOCOL` where it is another model than `hash` says. */
export function unpackModel(
  payload: Uint8Array,
  hash: string,
): { readonly analysis: Analysis; readonly workload: Workload } {
  const { header, packed } = decodeModel(payload);
  let bytes: Uint8Array;
  try {
    bytes = gunzipSync(packed, { maxOutputLength: MAX_UNPACKED_BYTES });
  } catch (cause) {
    throw new DistrEdgeError('PROTOCOL', 'a model to be measured cannot be unpacked', {
      where: header.name,
      got: cause instanceof Error ? cause.message : String(cause),
      cause,
    });
  }
  const graph = loadGraph(bytes, {
    ...(header.shapes === undefined ? {} : { shapes: header.shapes }),
    ...(header.size === undefined ? {} : { size: header.size }),
    external: placeholderWeights(),
  });
  const analysis = analyse(graph);
  const got = modelHash(analysis);
  if (got !== hash) {
    throw new DistrEdgeError('PROTOCOL', 'a model to be measured is another one than its name says', {
      where: header.name,
      expected: hash,
      got,
    });
  }
  return { analysis, workload: workloadOf(analysis, header.name) };
}
