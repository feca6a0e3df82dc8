/** Small models for tests, written piece by piece. Only tests import it. */
import { type AttributeValue, attributeMap } from '../graph/graph.js';
import type { NodeProto, TensorProto, ValueInfoProto } from '../onnx/proto.js';
import { protoOf } from '../onnx/tensor-proto.js';
import { elements, floatTensor } from '../tensor.js';

/** A float32 value. */
export function value(name: string, shape: readonly number[]): ValueInfoProto {
  const dim = shape.map((size) => ({ dimValue: BigInt(size) }));
  return { name, type: { tensorType: { elemType: 1, shape: { dim } } } };
}

/** Weights 0, 1, 2, …, so that every one tells its place. */
export function weight(name: string, shape: readonly number[]): TensorProto {
  return protoOf(
    name,
    floatTensor(
      Float32Array.from({ length: elements(shape) }, (_, index) => index),
      shape,
    ),
  );
}

export function node(
  opType: string,
  input: readonly string[],
  output: readonly string[],
  attributes: Readonly<Record<string, AttributeValue>> = {},
): NodeProto {
  return { opType, input, output, attribute: [...attributeMap(attributes).values()] };
}

/** Padding that keeps the size behind a window of three. */
export const same = { pads: [1, 1, 1, 1] };
