/**
 * A model without the values of its weights: enough to analyse it, to plan for it and to measure it, since none of that depends
 * on them, and small enough to be handed out to every device.
 */
import { DistrEdgeError } from '../errors.js';
import type { TensorProto } from './proto.js';
import { dtypeOf, type ExternalData, tensorOf } from './tensor-proto.js';
import { decodeModelProto, encodeModelProto } from './wire.js';

/** Smaller tensors stay: among them are scales, target shapes and whatever else shapes depend on. */
const SMALL_BYTES = 1024;
const EXTERNAL = 1;
const LOCATION = 'left-out';
/** As the range of a weight's values does not matter, all weights are views of one buffer; none may be larger than this. */
const MAX_BYTES = 2 ** 31;

/**
 * The same model with large floating-point weights left out. Integers stay, since they may be indices. Throws what
 * `decodeModelProto` throws.
 */
export function withoutWeights(bytes: Uint8Array): Uint8Array {
  const model = decodeModelProto(bytes);
  if (model.graph === undefined) return bytes;
  const initializer = model.graph.initializer?.map(leftOut);
  return encodeModelProto({
    ...model,
    graph: { ...model.graph, ...(initializer === undefined ? {} : { initializer }) },
  });
}

function leftOut(proto: TensorProto): TensorProto {
  const dtype = dtypeOf(proto.dataType);
  if (proto.dataLocation === EXTERNAL || dtype === undefined || !dtype.startsWith('float')) return proto;
  const length = tensorOf(proto)?.data.byteLength ?? 0;
  if (length <= SMALL_BYTES) return proto;
  const { name = '', dims = [], dataType = 0 } = proto;
  return {
    name,
    dims,
    dataType,
    dataLocation: EXTERNAL,
    externalData: [
      { key: 'location', value: LOCATION },
      { key: 'length', value: `${length}` },
    ],
  };
}

/**
 * Stands in for the weights that were left out, or are in files that are not here: small numbers that differ, neither zeros nor
 * so small that computing with them is slow.
 */
export function placeholderWeights(): ExternalData {
  let pattern = new Uint8Array(0);
  return (location, _offset, length) => {
    if (length === undefined || length > MAX_BYTES) {
      throw new DistrEdgeError('MODEL_EXTERNAL_DATA', 'a weight that was left out has no length that it can have', {
        where: location,
        expected: `at most ${MAX_BYTES} bytes`,
        got: `${length ?? 'none'}`,
      });
    }
    if (pattern.byteLength < length) {
      const floats = new Float32Array(Math.ceil(length / 4));
      for (let index = 0; index < floats.length; index++) floats[index] = (((index * 7919) % 1000) - 499.5) / 10_000;
      pattern = new Uint8Array(floats.buffer);
    }
    return pattern.subarray(0, length);
  };
}
