/**
 * Bytes ⇄ ONNX messages, driven by the field tables of `proto.ts`. Payloads (`bytes` fields) are views of the input, never
 * copies. Unknown fields survive a round trip. Malformed input ends in `MODEL_INVALID` with the byte offset.
 * Wire format: https://protobuf.dev/programming-guides/encoding/
 */
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { DistrEdgeError } from '../errors.js';
import { type Field, type MessageTable, MODEL, type ModelProto, type Scalar } from './proto.js';

/** Nesting of messages that a file may have; real models with control flow stay under 20. */
const MAX_DEPTH = 100;

type Plain = Record<string, unknown> & { unknown?: Uint8Array[] };

const byNumber = new WeakMap<MessageTable, Map<number, [string, Field]>>();

function numbered(table: MessageTable): Map<number, [string, Field]> {
  let map = byNumber.get(table);
  if (map === undefined) {
    map = new Map(Object.entries(table).map(([name, field]) => [field.no, [name, field]]));
    byNumber.set(table, map);
  }
  return map;
}

const WIRE_OF: Record<Scalar, WireType> = {
  string: WireType.LengthDelimited,
  bytes: WireType.LengthDelimited,
  int64: WireType.Varint,
  uint64: WireType.Varint,
  int32: WireType.Varint,
  float: WireType.Bit32,
  double: WireType.Bit64,
};

function readScalar(reader: BinaryReader, type: Scalar): unknown {
  switch (type) {
    case 'string':
      return reader.string();
    case 'bytes':
      return reader.bytes();
    case 'int64':
      return BigInt(reader.int64());
    case 'uint64':
      return BigInt(reader.uint64());
    case 'int32':
      return reader.int32();
    case 'float':
      return reader.float();
    case 'double':
      return reader.double();
  }
}

function readMessage(reader: BinaryReader, end: number, table: MessageTable, buffer: Uint8Array, depth: number): Plain {
  if (depth > MAX_DEPTH) {
    throw new DistrEdgeError('MODEL_LIMIT', 'the model nests messages too deeply', {
      where: `byte ${reader.pos}`,
      expected: `at most ${MAX_DEPTH} levels`,
    });
  }
  const fields = numbered(table);
  const message: Plain = {};
  while (reader.pos < end) {
    const start = reader.pos;
    const [no, wire] = reader.tag();
    const known = fields.get(no);
    const field = known?.[1];
    const scalar = typeof field?.type === 'string' ? field.type : undefined;
    const packed = field?.repeated && scalar !== undefined && WIRE_OF[scalar] !== WireType.LengthDelimited;
    const fits = field !== undefined && wire === (scalar === undefined ? WireType.LengthDelimited : WIRE_OF[scalar]);
    if (known === undefined || field === undefined || !(fits || (packed && wire === WireType.LengthDelimited))) {
      reader.skip(wire, no);
      message.unknown ??= [];
      message.unknown.push(buffer.subarray(start, reader.pos));
      continue;
    }
    const name = known[0];
    if (!fits && scalar !== undefined) {
      const stop = lengthEnd(reader, end);
      const list = listOf(message, name);
      while (reader.pos < stop) list.push(readScalar(reader, scalar));
      if (reader.pos !== stop) throw new RangeError('packed field overruns its length');
      continue;
    }
    const value =
      typeof field.type === 'string'
        ? readScalar(reader, field.type)
        : readMessage(reader, lengthEnd(reader, end), field.type(), buffer, depth + 1);
    if (field.repeated) listOf(message, name).push(value);
    else message[name] = value;
  }
  if (reader.pos !== end) throw new RangeError('message overruns its length');
  return message;
}

function listOf(message: Plain, name: string): unknown[] {
  const list = (message[name] ?? []) as unknown[];
  message[name] = list;
  return list;
}

function lengthEnd(reader: BinaryReader, limit: number): number {
  const length = reader.uint32();
  const end = reader.pos + length;
  if (end > limit) throw new RangeError(`a field of ${length} bytes reaches past the end`);
  return end;
}

/** Decodes a ModelProto. Throws `MODEL_INVALID` (with the byte offset) on anything that is not one. */
export function decodeModelProto(bytes: Uint8Array): ModelProto {
  const reader = new BinaryReader(bytes);
  try {
    return readMessage(reader, bytes.length, MODEL, bytes, 0) as ModelProto;
  } catch (cause) {
    if (cause instanceof DistrEdgeError) throw cause;
    throw new DistrEdgeError('MODEL_INVALID', 'this is not an ONNX model, or it is cut off', {
      where: `byte ${Math.min(reader.pos, bytes.length)} of ${bytes.length}`,
      expected: 'an ONNX ModelProto (.onnx)',
      got: cause instanceof Error ? cause.message : String(cause),
      hint: 'check that the file was downloaded whole and is an .onnx or .onnx.gz file',
      cause,
    });
  }
}

function writeScalar(writer: BinaryWriter, type: Scalar, value: unknown): void {
  switch (type) {
    case 'string':
      writer.string(value as string);
      return;
    case 'bytes':
      writer.bytes(value as Uint8Array);
      return;
    case 'int64':
      writer.int64(value as bigint);
      return;
    case 'uint64':
      writer.uint64(value as bigint);
      return;
    case 'int32':
      writer.int32(value as number);
      return;
    case 'float':
      writer.float(value as number);
      return;
    case 'double':
      writer.double(value as number);
      return;
  }
}

/** Payloads of at least this many bytes are pieces of their own: views of the message's bytes, not copies. */
const OWN_PIECE = 4096;

/** Whether a message holds such a payload, itself or in a message inside it. */
function isLarge(message: Plain, table: MessageTable): boolean {
  return Object.entries(table).some(([name, { type, repeated }]) => {
    const value = message[name];
    if (value === undefined || (typeof type === 'string' && type !== 'bytes')) return false;
    const items = repeated ? (value as unknown[]) : [value];
    return typeof type === 'string'
      ? (items as Uint8Array[]).some((item) => item.byteLength >= OWN_PIECE)
      : items.some((item) => isLarge(item as Plain, type()));
  });
}

/** What has been written: pieces that are done, and a writer for what follows them. */
class Pieces {
  readonly #done: Uint8Array[] = [];
  readonly writer = new BinaryWriter();

  /** A length-delimited field whose bytes stay where they are. */
  field(no: number, bytes: readonly Uint8Array[]): void {
    this.writer.tag(no, WireType.LengthDelimited).uint32(lengthOf(bytes));
    this.#done.push(this.writer.finish(), ...bytes);
  }

  finish(): Uint8Array[] {
    const rest = this.writer.finish();
    return rest.byteLength === 0 ? this.#done : [...this.#done, rest];
  }
}

function lengthOf(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

function piecesOf(message: Plain, table: MessageTable): Uint8Array[] {
  const pieces = new Pieces();
  writeMessage(pieces, message, table);
  return pieces.finish();
}

function writeMessage(pieces: Pieces, message: Plain, table: MessageTable): void {
  const { writer } = pieces;
  for (const [name, field] of Object.entries(table)) {
    const value = message[name];
    if (value === undefined) continue;
    const { type } = field;
    if (typeof type === 'string' && field.repeated && WIRE_OF[type] !== WireType.LengthDelimited) {
      writer.tag(field.no, WireType.LengthDelimited).fork();
      for (const item of value as unknown[]) writeScalar(writer, type, item);
      writer.join();
      continue;
    }
    for (const item of field.repeated ? (value as unknown[]) : [value]) {
      if (type === 'bytes' && (item as Uint8Array).byteLength >= OWN_PIECE)
        pieces.field(field.no, [item as Uint8Array]);
      else if (typeof type === 'string') {
        writer.tag(field.no, WIRE_OF[type]);
        writeScalar(writer, type, item);
      } else if (isLarge(item as Plain, type())) pieces.field(field.no, piecesOf(item as Plain, type()));
      else {
        writer.tag(field.no, WireType.LengthDelimited).fork();
        writeMessage(pieces, item as Plain, type());
        writer.join();
      }
    }
  }
  for (const raw of message.unknown ?? []) writer.raw(raw);
}

/**
 * The encoding of a ModelProto in pieces, to be put one after the other: known fields in field order, then the unknown ones
 * as they came. A large payload is a piece of its own, the very object that the message holds.
 */
export function encodeModelPieces(model: ModelProto): Uint8Array[] {
  return piecesOf(model as Plain, MODEL);
}

/** Encodes a ModelProto; a large payload is copied once. */
export function encodeModelProto(model: ModelProto): Uint8Array {
  const pieces = encodeModelPieces(model);
  const bytes = new Uint8Array(lengthOf(pieces));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.byteLength;
  }
  return bytes;
}
