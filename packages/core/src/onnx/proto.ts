/**
 * The messages of ONNX's protobuf schema (onnx.proto3), as plain objects and as field tables that drive `wire.ts`.
 * Only the fields that something here reads are named; every other field is kept as raw bytes in `unknown` and written
 * back as it came.
 */

interface Message {
  /** Fields that this schema does not name: tag and value, as they stood in the file. */
  readonly unknown?: readonly Uint8Array[];
}

export interface ModelProto extends Message {
  readonly irVersion?: bigint;
  readonly producerName?: string;
  readonly producerVersion?: string;
  readonly graph?: GraphProto;
  readonly opsetImport?: readonly OperatorSetIdProto[];
}

export interface OperatorSetIdProto extends Message {
  readonly domain?: string;
  readonly version?: bigint;
}

export interface GraphProto extends Message {
  readonly node?: readonly NodeProto[];
  readonly name?: string;
  readonly initializer?: readonly TensorProto[];
  readonly input?: readonly ValueInfoProto[];
  readonly output?: readonly ValueInfoProto[];
  readonly valueInfo?: readonly ValueInfoProto[];
}

export interface NodeProto extends Message {
  readonly input?: readonly string[];
  readonly output?: readonly string[];
  readonly name?: string;
  readonly opType?: string;
  readonly domain?: string;
  readonly attribute?: readonly AttributeProto[];
}

export interface AttributeProto extends Message {
  readonly name?: string;
  readonly type?: number;
  readonly f?: number;
  readonly i?: bigint;
  readonly s?: Uint8Array;
  readonly t?: TensorProto;
  readonly g?: GraphProto;
  readonly floats?: readonly number[];
  readonly ints?: readonly bigint[];
  readonly strings?: readonly Uint8Array[];
  readonly graphs?: readonly GraphProto[];
}

export interface ValueInfoProto extends Message {
  readonly name?: string;
  readonly type?: TypeProto;
}

export interface TypeProto extends Message {
  readonly tensorType?: TensorTypeProto;
}

export interface TensorTypeProto extends Message {
  readonly elemType?: number;
  readonly shape?: TensorShapeProto;
}

export interface TensorShapeProto extends Message {
  readonly dim?: readonly DimensionProto[];
}

export interface DimensionProto extends Message {
  readonly dimValue?: bigint;
  readonly dimParam?: string;
}

export interface TensorProto extends Message {
  readonly dims?: readonly bigint[];
  readonly dataType?: number;
  readonly floatData?: readonly number[];
  readonly int32Data?: readonly number[];
  readonly int64Data?: readonly bigint[];
  readonly doubleData?: readonly number[];
  readonly uint64Data?: readonly bigint[];
  readonly name?: string;
  readonly rawData?: Uint8Array;
  readonly externalData?: readonly StringStringEntryProto[];
  readonly dataLocation?: number;
}

export interface StringStringEntryProto extends Message {
  readonly key?: string;
  readonly value?: string;
}

/** AttributeProto.type, by name. */
export const AttributeType = {
  float: 1,
  int: 2,
  string: 3,
  tensor: 4,
  graph: 5,
  floats: 6,
  ints: 7,
  strings: 8,
} as const;

export type Scalar = 'string' | 'bytes' | 'int64' | 'uint64' | 'int32' | 'float' | 'double';

/** One field: its number, what it holds, and whether it repeats. A table stands for a nested message. */
export interface Field {
  readonly no: number;
  readonly type: Scalar | (() => MessageTable);
  readonly repeated?: true;
}

export type MessageTable = Readonly<Record<string, Field>>;

const one = (no: number, type: Field['type']): Field => ({ no, type });
const many = (no: number, type: Field['type']): Field => ({ no, type, repeated: true });

export const MODEL: MessageTable = {
  irVersion: one(1, 'int64'),
  producerName: one(2, 'string'),
  producerVersion: one(3, 'string'),
  graph: one(7, () => GRAPH),
  opsetImport: many(8, () => OPERATOR_SET_ID),
};

const OPERATOR_SET_ID: MessageTable = { domain: one(1, 'string'), version: one(2, 'int64') };

const GRAPH: MessageTable = {
  node: many(1, () => NODE),
  name: one(2, 'string'),
  initializer: many(5, () => TENSOR),
  input: many(11, () => VALUE_INFO),
  output: many(12, () => VALUE_INFO),
  valueInfo: many(13, () => VALUE_INFO),
};

const NODE: MessageTable = {
  input: many(1, 'string'),
  output: many(2, 'string'),
  name: one(3, 'string'),
  opType: one(4, 'string'),
  attribute: many(5, () => ATTRIBUTE),
  domain: one(7, 'string'),
};

const ATTRIBUTE: MessageTable = {
  name: one(1, 'string'),
  f: one(2, 'float'),
  i: one(3, 'int64'),
  s: one(4, 'bytes'),
  t: one(5, () => TENSOR),
  g: one(6, () => GRAPH),
  floats: many(7, 'float'),
  ints: many(8, 'int64'),
  strings: many(9, 'bytes'),
  graphs: many(11, () => GRAPH),
  type: one(20, 'int32'),
};

const VALUE_INFO: MessageTable = { name: one(1, 'string'), type: one(2, () => TYPE) };
const TYPE: MessageTable = { tensorType: one(1, () => TENSOR_TYPE) };
const TENSOR_TYPE: MessageTable = { elemType: one(1, 'int32'), shape: one(2, () => TENSOR_SHAPE) };
const TENSOR_SHAPE: MessageTable = { dim: many(1, () => DIMENSION) };
const DIMENSION: MessageTable = { dimValue: one(1, 'int64'), dimParam: one(2, 'string') };

const TENSOR: MessageTable = {
  dims: many(1, 'int64'),
  dataType: one(2, 'int32'),
  floatData: many(4, 'float'),
  int32Data: many(5, 'int32'),
  int64Data: many(7, 'int64'),
  name: one(8, 'string'),
  rawData: one(9, 'bytes'),
  doubleData: many(10, 'double'),
  uint64Data: many(11, 'uint64'),
  externalData: many(13, () => STRING_STRING_ENTRY),
  dataLocation: one(14, 'int32'),
};

const STRING_STRING_ENTRY: MessageTable = { key: one(1, 'string'), value: one(2, 'string') };
