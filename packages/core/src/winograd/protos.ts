/** Reading nodes and constants as they stand in a model's file, and naming constants that are parts of a file. */
import { Attributes } from '../graph/graph.js';
import type { NodeProto, TensorProto } from '../onnx/proto.js';
import { dtypeNumber } from '../onnx/tensor-proto.js';

const EXTERNAL = 1;

/** A node's attributes. */
export function attributesOf({ attribute = [] }: NodeProto): Attributes {
  return new Attributes(new Map(attribute.map((item) => [item.name ?? '', item])));
}

/** Whether a node is this op of ONNX's own. */
export function isDefault({ domain = '', opType }: NodeProto, op: string): boolean {
  return domain === '' && opType === op;
}

/** What a tensor's place outside the model says. */
function entry({ externalData = [] }: TensorProto, key: string): string | undefined {
  return externalData.find((item) => item.key === key)?.value;
}

/** Where a constant's bytes are, if outside the model. */
export function locationOf(proto: TensorProto): string[] {
  const location = proto.dataLocation === EXTERNAL ? entry(proto, 'location') : undefined;
  return location === undefined ? [] : [location];
}

/** Whether a tensor stands in the model, or is all of its external data. */
export function isWhole(proto: TensorProto): boolean {
  return proto.dataLocation !== EXTERNAL || Number(entry(proto, 'offset') ?? 0) === 0;
}

/** A float32 constant that is a part of external data. */
export function externalSlice(
  name: string,
  shape: readonly number[],
  location: string,
  offset: number,
  length: number,
): TensorProto {
  return {
    name,
    dataType: dtypeNumber('float32'),
    dims: shape.map(BigInt),
    dataLocation: EXTERNAL,
    externalData: [
      { key: 'location', value: location },
      { key: 'offset', value: `${offset}` },
      { key: 'length', value: `${length}` },
    ],
  };
}
