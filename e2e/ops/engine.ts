/** Runs sub-models and whole nodes in onnxruntime. */
import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { type BuiltModel, type Port, SubModelBuilder } from '../../packages/core/src/compile/builder.js';
import type { Node } from '../../packages/core/src/graph/graph.js';
import { decodeModelProto, encodeModelProto } from '../../packages/core/src/onnx/wire.js';
import { type DataType, DTYPE_BYTES, type Tensor } from '../../packages/core/src/tensor.js';
import { type GoldenCase, graphOf, toTensor } from './golden-case.js';

/** Runs the one node of a case in onnxruntime, which itself tells the types of the outputs. */
export async function runWhole(
  golden: Omit<GoldenCase, 'outputs'>,
  outputs: readonly (object | null)[],
): Promise<Map<string, Tensor>> {
  const graph = graphOf(golden, outputs);
  const node = graph.nodes[0] as Node;
  const build = new SubModelBuilder(graph);
  const feeds = new Map<string, Tensor>();
  const ports: Port[] = [];
  const names = node.inputs.map((name, index) => {
    const input = golden.inputs[index];
    if (!input) return '';
    if (input.constant === true) return build.weight(name);
    const tensor = toTensor(input);
    feeds.set(name, tensor);
    ports.push({ name, dtype: tensor.dtype, shape: tensor.shape });
    return name;
  });
  build.copy(node, names, node.outputs);
  const { bytes, weights } = build.build(ports, []);
  const model = decodeModelProto(bytes);
  const untyped = { ...model, graph: { ...model.graph, output: graph.outputs.map((name) => ({ name })) } };
  return new Sessions().run({ bytes: encodeModelProto(untyped), weights }, feeds, 'whole op');
}

/** Sessions by model: parts whose sub-models are the same share one, as they do on a device. */
export class Sessions {
  readonly #byModel = new Map<string, InferenceSession>();

  async run(
    { bytes, weights }: BuiltModel,
    feeds: ReadonlyMap<string, Tensor>,
    place: string,
  ): Promise<Map<string, Tensor>> {
    try {
      const key = Buffer.from(bytes).toString('latin1');
      const session =
        this.#byModel.get(key) ??
        (await InferenceSession.create(bytes, {
          externalData: [...weights].map(([path, data]) => ({ path, data })),
          intraOpNumThreads: 1,
          logSeverityLevel: 3,
        }));
      this.#byModel.set(key, session);
      const inputs = Object.fromEntries([...feeds].map(([name, tensor]) => [name, toOrt(tensor)]));
      const results = await session.run(inputs);
      return new Map(Object.entries(results).map(([name, value]) => [name, fromOrt(value as OrtTensor)]));
    } catch (error) {
      throw new Error(`${place}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  }
}

const ORT_ARRAYS = {
  float32: Float32Array,
  float64: Float64Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
} as const;

function toOrt({ dtype, shape, data }: Tensor): OrtTensor {
  const copy = Uint8Array.from(data);
  const values = new ORT_ARRAYS[dtype](copy.buffer as ArrayBuffer, 0, copy.byteLength / DTYPE_BYTES[dtype]);
  return new OrtTensor(dtype as 'float32', values as Float32Array, shape);
}

function fromOrt(tensor: OrtTensor): Tensor {
  const { buffer, byteOffset, byteLength } = tensor.data as Float32Array;
  return { dtype: tensor.type as DataType, shape: tensor.dims, data: new Uint8Array(buffer, byteOffset, byteLength) };
}
