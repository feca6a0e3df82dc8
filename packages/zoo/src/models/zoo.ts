/** The zoo: networks by name, built as ONNX models with seeded weights or with none. */
import {
  DistrEdgeError,
  elements,
  encodeModelPieces,
  encodeModelProto,
  externalProtoOf,
  type GraphProto,
  type LoadOptions,
  type ModelProto,
  protoOf,
  type Tensor,
} from '@distredge/core';
import { type Architecture, Net, type WeightSpec } from './build.js';
import { inceptionV3 } from './inception-v3.js';
import { openpose } from './openpose.js';
import { resnet50 } from './resnet50.js';
import { ssdResnet50 } from './ssd-resnet50.js';
import { ssdVgg16 } from './ssd-vgg16.js';
import { vgg16 } from './vgg16.js';
import { voxelnet } from './voxelnet.js';
import { seededFiller } from './weights.js';
import { yolov2 } from './yolov2.js';

const ARCHITECTURES: ReadonlyMap<string, Architecture> = new Map([
  ['vgg16', vgg16],
  ['resnet50', resnet50],
  ['inception_v3', inceptionV3],
  ['yolov2', yolov2],
  ['ssd_vgg16', ssdVgg16],
  ['ssd_resnet50', ssdResnet50],
  ['openpose', openpose],
  ['voxelnet', voxelnet],
]);

/** The names of the networks that can be built. */
export const zooNames: readonly string[] = [...ARCHITECTURES.keys()];

export interface ZooOptions {
  /** What the weights are drawn from; the lower 32 bits count. */
  readonly seed?: number;
  /** `none`: shapes without values, for planning. Such a model loads in milliseconds, but what it computes means nothing. */
  readonly weights?: 'seeded' | 'none';
}

/** A model that `loadGraph(model.bytes, model)` reads. */
export interface ZooModel {
  readonly title: string;
  /** Where the network is published. */
  readonly source: string;
  /** A whole ONNX file; without weights, one that names them as external data. */
  readonly bytes: Uint8Array;
  /** Stands in for weights that have no values: zeros. Only without weights. */
  readonly external?: NonNullable<LoadOptions['external']>;
}

/** Builds a network of the zoo. Throws `USAGE` for a name that is none. */
export function buildZooModel(name: string, { seed = 1, weights = 'seeded' }: ZooOptions = {}): ZooModel {
  const architecture = ARCHITECTURES.get(name);
  if (architecture === undefined) {
    throw new DistrEdgeError('USAGE', 'the zoo has no network of this name', {
      where: `zoo:${name}`,
      expected: `one of ${zooNames.join(', ')}`,
      got: name,
    });
  }
  const net = new Net();
  architecture.build(net);
  const { title, source } = architecture;
  // Memory that nobody writes to is not taken from the machine: as many zeros as the largest weight has.
  const zeros = new Uint8Array(Math.max(...net.weights.map(byteCount)));
  if (weights === 'none') {
    const tensors = net.weights.map((spec) => externalProtoOf(spec.name, tensorOf(spec, zeros), 'none'));
    const external = (_location: string, _offset: number, length?: number): Uint8Array => zeros.subarray(0, length);
    return { title, source, bytes: encodeModelProto(modelOf(net.graph(name, tensors))), external };
  }
  const fill = seededFiller(seed);
  const places = new Map<Uint8Array, (place: Uint8Array) => void>();
  const tensors = net.weights.map((spec, index) => {
    if (byteCount(spec) < LARGE) {
      const data = new Uint8Array(byteCount(spec));
      fill(data, spec, index);
      return protoOf(spec.name, tensorOf(spec, data));
    }
    const tensor = tensorOf(spec, zeros);
    places.set(tensor.data, (place) => fill(place, spec, index));
    return protoOf(spec.name, tensor);
  });
  return { title, source, bytes: joined(encodeModelPieces(modelOf(net.graph(name, tensors))), places) };
}

/** Weights of at least this many bytes get their values at their place in the file, so that they are in memory once. */
const LARGE = 65_536;

function byteCount({ shape }: WeightSpec): number {
  return 4 * elements(shape);
}

/** The weight with the first of these bytes as its values. */
function tensorOf(spec: WeightSpec, bytes: Uint8Array): Tensor {
  return { dtype: 'float32', shape: spec.shape, data: bytes.subarray(0, byteCount(spec)) };
}

function modelOf(graph: GraphProto): ModelProto {
  return { irVersion: 8n, producerName: 'distredge', opsetImport: [{ domain: '', version: 17n }], graph };
}

/** The pieces one after the other; those that are named are made at their place instead of copied. */
function joined(
  pieces: readonly Uint8Array[],
  places: ReadonlyMap<Uint8Array, (place: Uint8Array) => void>,
): Uint8Array {
  const bytes = new Uint8Array(pieces.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let at = 0;
  for (const piece of pieces) {
    const fill = places.get(piece);
    if (fill === undefined) bytes.set(piece, at);
    else fill(bytes.subarray(at, at + piece.byteLength));
    at += piece.byteLength;
  }
  return bytes;
}
