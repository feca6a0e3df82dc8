/**
 * Sub-models leave the heights of their inputs open, so that parts of different heights share one. An engine that knows them can
 * do in advance what it else does in every run: work out sizes, and tell which values have one shape and may be added up where they
 * are made.
 */
import { DistrEdgeError } from '../errors.js';
import type { ValueInfoProto } from '../onnx/proto.js';
import { decodeModelProto, encodeModelProto } from '../onnx/wire.js';

/**
 * A model that takes inputs of these shapes and no others; undefined where a shape is missing or is none that the model takes,
 * or where the bytes are no model.
 * @param shapes by name, of all inputs
 */
export function withFixedShapes(
  bytes: Uint8Array,
  shapes: Readonly<Record<string, readonly number[]>>,
): Uint8Array | undefined {
  try {
    const model = decodeModelProto(bytes);
    const { graph } = model;
    const constants = new Set((graph?.initializer ?? []).map(({ name = '' }) => name));
    const input = (graph?.input ?? []).map((info) => (constants.has(info.name ?? '') ? info : fixed(info, shapes)));
    if (input.length === 0 || !input.every((info) => info !== undefined)) return undefined;
    return encodeModelProto({ ...model, graph: { ...graph, input } });
  } catch (error) {
    // Whoever runs the model tells what is wrong with it.
    if (error instanceof DistrEdgeError) return undefined;
    throw error;
  }
}

function fixed(info: ValueInfoProto, shapes: Readonly<Record<string, readonly number[]>>): ValueInfoProto | undefined {
  const given = Object.hasOwn(shapes, info.name ?? '') ? shapes[info.name ?? ''] : undefined;
  const { tensorType } = info.type ?? {};
  const open = tensorType?.shape?.dim;
  if (given === undefined || open?.length !== given.length) return undefined;
  if (!open.every(({ dimValue }, axis) => dimValue === undefined || Number(dimValue) === given[axis])) return undefined;
  const dim = given.map((size) => ({ dimValue: BigInt(size) }));
  return { ...info, type: { ...info.type, tensorType: { ...tensorType, shape: { dim } } } };
}
