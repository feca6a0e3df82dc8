/** Tiny ONNX models for tests, written as protobuf bytes by hand. Only tests import it. */

type Field = readonly [number, number | string | Uint8Array | readonly Field[]];

/** ONNX's TensorProto.DataType. */
export const ONNX_TYPE = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
} as const;

export type FixtureType = keyof typeof ONNX_TYPE;

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))];
}

/** A protobuf message: numbers as varints, everything else by length. */
function message(fields: readonly Field[]): Uint8Array {
  const parts = fields.map(([field, value]) => {
    if (typeof value === 'number') return Uint8Array.from([...varint(field * 8), ...varint(value)]);
    const body =
      typeof value === 'string'
        ? new TextEncoder().encode(value)
        : value instanceof Uint8Array
          ? value
          : message(value);
    return Uint8Array.from([...varint(field * 8 + 2), ...varint(body.length), ...body]);
  });
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** A graph input or output; a string is a size that the model leaves open. */
interface FixtureValue {
  readonly name: string;
  readonly type: FixtureType;
  readonly shape: readonly (number | string)[];
}

/** A float32 initialiser whose bytes lie outside the model. */
interface FixtureWeight {
  readonly name: string;
  readonly shape: readonly number[];
  readonly location: string;
  readonly offset: number;
}

interface FixtureNode {
  readonly op: string;
  readonly inputs: string[];
  readonly outputs: string[];
  /** Attributes that are whole numbers. */
  readonly ints?: Readonly<Record<string, number>>;
}

export interface FixtureModel {
  readonly nodes: readonly FixtureNode[];
  readonly inputs: readonly FixtureValue[];
  readonly outputs: readonly FixtureValue[];
  readonly weights?: readonly FixtureWeight[];
}

function valueInfo({ name, type, shape }: FixtureValue): Field[] {
  const dims = shape.map((dim): Field => [1, [typeof dim === 'string' ? [2, dim] : [1, dim]]]);
  return [
    [1, name],
    [
      2,
      [
        [
          1,
          [
            [1, ONNX_TYPE[type]],
            [2, dims],
          ],
        ],
      ],
    ],
  ];
}

function attribute(name: string, int: number): Field[] {
  return [
    [1, name],
    [3, int],
    [20, 2],
  ];
}

function initializer({ name, shape, location, offset }: FixtureWeight): Field[] {
  const length = shape.reduce((product, dim) => product * dim, 4);
  const entries = Object.entries({ location, offset: String(offset), length: String(length) });
  return [
    ...shape.map((dim): Field => [1, dim]),
    [2, ONNX_TYPE.float32],
    [8, name],
    ...entries.map(
      ([key, value]): Field => [
        13,
        [
          [1, key],
          [2, value],
        ],
      ],
    ),
    [14, 1],
  ];
}

/** The bytes of a model of opset 17. */
export function onnxModel({ nodes, inputs, outputs, weights = [] }: FixtureModel): Uint8Array {
  const graph: Field[] = [
    ...nodes.map(
      ({ op, inputs, outputs, ints = {} }): Field => [
        1,
        [
          ...inputs.map((name): Field => [1, name]),
          ...outputs.map((name): Field => [2, name]),
          [4, op],
          ...Object.entries(ints).map(([name, int]): Field => [5, attribute(name, int)]),
        ],
      ],
    ),
    [2, 'fixture'],
    ...weights.map((weight): Field => [5, initializer(weight)]),
    ...inputs.map((value): Field => [11, valueInfo(value)]),
    ...outputs.map((value): Field => [12, valueInfo(value)]),
  ];
  return message([
    [1, 8],
    [7, graph],
    [8, [[2, 17]]],
  ]);
}

/** y = op(x, …) on vectors of open length: one node, every input and output named as given. */
export function vectorModel(op: string, inputs: string[], output: string, type: FixtureType = 'float32'): Uint8Array {
  const vector = (name: string): FixtureValue => ({ name, type, shape: ['n'] });
  return onnxModel({
    nodes: [{ op, inputs, outputs: [output] }],
    inputs: inputs.map(vector),
    outputs: [vector(output)],
  });
}
