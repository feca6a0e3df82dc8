/**
 * Writes convolutions of a model by Winograd's minimal filtering where that is faster: the same ops of ONNX for any engine, with
 * 16 products in place of 36. For engines that are quick at 1 × 1 convolutions of blocked channels and know no faster 3 × 3
 * ones, as onnxruntime on x64. Weights travel as they are; whoever loads a model transforms them.
 */
import { DistrEdgeError } from '../errors.js';
import { loadGraph } from '../graph/load.js';
import type { ModelProto, NodeProto, TensorProto } from '../onnx/proto.js';
import { tensorOf } from '../onnx/tensor-proto.js';
import { decodeModelProto, encodeModelProto } from '../onnx/wire.js';
import { floats, floatTensor, type Tensor } from '../tensor.js';
import { expectedGain, PRODUCTS, TAPS, transformFilters } from './filters.js';
import { type Convolution, NodeWriter, writeConvolution } from './nodes.js';
import { attributesOf, externalSlice, isDefault, isWhole, locationOf } from './protos.js';

/** A model some of whose convolutions can be written so. */
export interface WinogradModel {
  /** External data that writing it takes, by location. */
  readonly reads: readonly string[];
  /** External data that the written model does not name any more. */
  readonly unread: readonly string[];
  /**
   * Writes the model.
   * @param data the external data of `reads`
   * @returns the ModelProto's bytes, and the external data that it names beside what it named before
   */
  write(data: ReadonlyMap<string, Uint8Array>): {
    readonly bytes: Uint8Array;
    readonly weights: Map<string, Uint8Array>;
  };
}

/** Where the form of `Slice` with its bounds as inputs begins. */
const LEAST_OPSET = 10;
/** Channels and filters are multiples of this, as blocks of channels are. */
const BLOCK = 16;

/**
 * Convolutions of one model that are written so, at most: those that gain most. An engine that goes through all nodes again for each that it
 * changes takes 0.5 s to load 20 of them, 1.5 s for 40 and 6 s for 80 (onnxruntime 1.30).
 */
const MOST = 24;

/** Ops that change each element by itself: as well done before the parts of a result are put together. */
const POINTWISE: ReadonlySet<string> = new Set(['Relu', 'LeakyRelu', 'Clip', 'Sigmoid', 'Tanh', 'HardSigmoid', 'Elu']);

/**
 * Finds the convolutions that are faster so; undefined where there are none, or where the model cannot be read.
 * @param shapes of the model's inputs in a run as most will be. Other numbers of rows stay right.
 * @param everyRun whether they are those of every run: what then need not be found out in each of them is written as known
 */
export function winogradModel(
  bytes: Uint8Array,
  shapes: Readonly<Record<string, readonly number[]>>,
  everyRun = false,
): WinogradModel | undefined {
  try {
    const proto = decodeModelProto(bytes);
    // Most models of a profile and all heads have none, and need not be gone through.
    if (!(proto.graph?.node ?? []).some((node) => isDefault(node, 'Conv'))) return undefined;
    const model = new Rewriting(proto, shapesOf(bytes, shapes), everyRun);
    return model.found === 0 ? undefined : model;
  } catch (error) {
    // Whoever runs the model tells what is wrong with it, a size that no memory has among it.
    if (error instanceof DistrEdgeError || error instanceof RangeError) return undefined;
    throw error;
  }
}

function shapesOf(
  bytes: Uint8Array,
  shapes: Readonly<Record<string, readonly number[]>>,
): (name: string) => readonly number[] | undefined {
  // Shapes do not depend on weights; memory that nobody touches costs nothing.
  const external = (_location: string, _offset: number, length = 0): Uint8Array => new Uint8Array(length);
  const { types } = loadGraph(bytes, { shapes, external });
  return (name) => types.get(name)?.shape;
}

/** A convolution that will be replaced, with the nodes behind it that go with it. */
interface Found {
  readonly node: NodeProto;
  readonly norm: NodeProto | undefined;
  readonly pointwise: NodeProto | undefined;
  readonly weights: TensorProto;
  readonly shape: Pick<Convolution, 'channels' | 'filters' | 'pads' | 'columns' | 'rows'>;
  /** What is expected to be gained, in multiply-adds. */
  readonly gain: number;
}

class Rewriting implements WinogradModel {
  readonly reads: readonly string[];
  readonly unread: readonly string[];
  readonly #model: ModelProto;
  readonly #constants: ReadonlyMap<string, TensorProto>;
  /** The nodes that read each value; a result of the model counts as read by one that does not exist. */
  readonly #readers = new Map<string, (NodeProto | undefined)[]>();
  readonly #shapeOf: (name: string) => readonly number[] | undefined;
  readonly #everyRun: boolean;
  readonly #found: readonly Found[];

  constructor(model: ModelProto, shapeOf: (name: string) => readonly number[] | undefined, everyRun: boolean) {
    this.#everyRun = everyRun;
    this.#model = model;
    this.#shapeOf = shapeOf;
    const { node = [], initializer = [], output = [] } = model.graph ?? {};
    this.#constants = new Map(initializer.map((item) => [item.name ?? '', item]));
    // A graph inside a node may read any value.
    const nested = node.some(({ attribute = [] }) => attribute.some(({ g, graphs }) => g ?? graphs?.[0]));
    const opset = model.opsetImport?.find(({ domain = '' }) => domain === '' || domain === 'ai.onnx')?.version ?? 1n;
    for (const reader of node) for (const name of reader.input ?? []) this.#read(name, reader);
    for (const { name = '' } of output) this.#read(name, undefined);
    const all =
      nested || opset < LEAST_OPSET ? [] : node.map((item) => this.#find(item)).filter((item) => item !== undefined);
    this.#found = [...all].sort((a, b) => b.gain - a.gain).slice(0, MOST);
    this.reads = [...new Set(this.#found.flatMap((item) => this.#needed(item)).flatMap(locationOf))];
    const replaced = new Set<NodeProto | undefined>(this.#found.map((item) => item.node));
    const stays = ({ name = '' }: TensorProto): boolean =>
      this.#readers.get(name)?.some((reader) => !replaced.has(reader)) ?? true;
    const still = new Set(initializer.filter(stays).flatMap(locationOf));
    this.unread = [...new Set(this.#found.flatMap(({ weights }) => locationOf(weights)))].filter(
      (location) => !still.has(location),
    );
  }

  /** How many convolutions will be replaced. */
  get found(): number {
    return this.#found.length;
  }

  #read(name: string, reader: NodeProto | undefined): void {
    const readers = this.#readers.get(name);
    if (readers === undefined) this.#readers.set(name, [reader]);
    else readers.push(reader);
  }

  /** The constants whose values are looked at. */
  #needed({ node, norm, weights }: Found): TensorProto[] {
    const bias = norm === undefined ? [] : [node.input?.[2] ?? '', ...(norm.input ?? []).slice(1)];
    return [weights, ...bias.flatMap((name) => this.#constants.get(name) ?? [])];
  }

  #find(node: NodeProto): Found | undefined {
    const [input = '', filter = '', bias = ''] = node.input ?? [];
    const [output = ''] = node.output ?? [];
    const weights = this.#constants.get(filter);
    const attributes = attributesOf(node);
    const given = this.#shapeOf(input);
    const made = this.#shapeOf(output);
    const [filters = 0, channels = 0, ...kernel] = (weights?.dims ?? []).map(Number);
    const ones = (name: string): boolean => attributes.ints(name)?.every((item) => item === 1) ?? true;
    const pads = attributes.ints('pads') ?? [0, 0, 0, 0];
    if (!isDefault(node, 'Conv') || weights?.dataType !== 1 || given?.length !== 4 || made?.length !== 4)
      return undefined;
    if (`${kernel}` !== `${[TAPS, TAPS]}` || attributes.int('group', 1) !== 1 || !ones('strides') || !ones('dilations'))
      return undefined;
    if (attributes.string('auto_pad', 'NOTSET') !== 'NOTSET' || !pads.every((pad) => pad === 0 || pad === 1))
      return undefined;
    if (given[0] !== 1 || channels % BLOCK !== 0 || filters % BLOCK !== 0 || !isWhole(weights)) return undefined;
    const [, , rows = 0, columns = 0] = made;
    const gain = expectedGain(channels, filters, rows, columns);
    if (gain === 0 || (bias !== '' && !this.#constants.has(bias))) return undefined;
    const norm = this.#onlyReader(output, (reader) => this.#isNorm(reader));
    const pointwise = this.#onlyReader(norm?.output?.[0] ?? output, (reader) => this.#isPointwise(reader));
    const [top = 0, left = 0, bottom = 0, right = 0] = pads;
    return {
      node,
      norm,
      pointwise,
      weights,
      shape: {
        channels,
        filters,
        columns,
        rows: this.#everyRun ? rows : undefined,
        pads: { top, left, bottom, right },
      },
      gain,
    };
  }

  /** The node that alone reads a value, if it is of this kind and reads it as its first input. */
  #onlyReader(value: string, fits: (reader: NodeProto) => boolean): NodeProto | undefined {
    const [reader, ...others] = this.#readers.get(value) ?? [];
    return reader !== undefined && others.length === 0 && reader.input?.[0] === value && fits(reader)
      ? reader
      : undefined;
  }

  /** A normalisation by constants, which goes into the filters. */
  #isNorm(node: NodeProto): boolean {
    const { input = [], output = [] } = node;
    const constants = input.slice(1).map((name) => this.#constants.get(name));
    return (
      isDefault(node, 'BatchNormalization') &&
      constants.length === 4 &&
      constants.every((item) => item?.dataType === 1 && isWhole(item)) &&
      output.filter((name) => name !== '').length === 1 &&
      attributesOf(node).int('training_mode', 0) === 0
    );
  }

  #isPointwise(node: NodeProto): boolean {
    const bounds = (node.input ?? []).slice(1);
    return (
      (node.domain ?? '') === '' &&
      POINTWISE.has(node.opType ?? '') &&
      bounds.every((name) => name === '' || this.#constants.has(name))
    );
  }

  write(data: ReadonlyMap<string, Uint8Array>): { bytes: Uint8Array; weights: Map<string, Uint8Array> } {
    const written = new Map<NodeProto, NodeWriter>();
    const gone = new Set<NodeProto>();
    const weights = new Map<string, Uint8Array>();
    const taken = new Set([...this.#constants.values()].flatMap(locationOf));
    let prefix = 'winograd';
    while ([...taken].some((location) => location.startsWith(prefix))) prefix += '_';
    this.#found.forEach((found, index) => {
      const writer = new NodeWriter(`~w${index}.`);
      written.set(found.node, writer);
      for (const node of [found.norm, found.pointwise]) if (node !== undefined) gone.add(node);
      this.#write(found, writer, data, `${prefix}-${index}`, weights);
    });
    const { graph } = this.#model;
    const node = (graph?.node ?? []).flatMap((item) => (gone.has(item) ? [] : (written.get(item)?.nodes ?? [item])));
    const outputs = (graph?.output ?? []).map(({ name = '' }) => name);
    const read = new Set([...outputs, ...node.flatMap(({ input = [] }) => input)]);
    const initializer = [
      ...(graph?.initializer ?? []).filter(({ name = '' }) => read.has(name)),
      ...[...written.values()].flatMap(({ initializers }) => initializers),
    ];
    const valueInfo = [...(graph?.valueInfo ?? []), ...[...written.values()].flatMap((writer) => writer.valueInfo)];
    return { bytes: encodeModelProto({ ...this.#model, graph: { ...graph, node, initializer, valueInfo } }), weights };
  }

  #write(
    { node, norm, pointwise, weights, shape }: Found,
    writer: NodeWriter,
    data: ReadonlyMap<string, Uint8Array>,
    file: string,
    files: Map<string, Uint8Array>,
  ): void {
    const valuesOf = (name: string): Float32Array => floats(this.#tensor(this.#constants.get(name), data));
    const { channels, filters } = shape;
    const [input = '', , biasName = ''] = node.input ?? [];
    let bias = biasName === '' ? undefined : biasName;
    let scale: Float64Array | undefined;
    if (norm !== undefined) {
      const folded = foldNorm(norm, valuesOf, bias === undefined ? undefined : valuesOf(bias));
      scale = folded.scale;
      bias = writer.constant('bias', () => folded.bias);
    }
    const transformed = transformFilters(floats(this.#tensor(weights, data)), filters, channels, scale);
    files.set(file, new Uint8Array(transformed.buffer));
    const bytes = filters * channels * Float32Array.BYTES_PER_ELEMENT;
    const products = Array.from({ length: PRODUCTS ** 2 }, (_, index) => {
      const name = writer.fresh();
      writer.initializers.push(externalSlice(name, [filters, channels, 1, 1], file, index * bytes, bytes));
      return name;
    });
    const last = pointwise ?? norm ?? node;
    writeConvolution(writer, {
      ...shape,
      input,
      products,
      bias,
      pointwise: pointwise === undefined ? undefined : (value) => writer.copy(pointwise, value),
      output: last.output?.[0] ?? '',
    });
  }

  #tensor(proto: TensorProto | undefined, data: ReadonlyMap<string, Uint8Array>): Tensor {
    const tensor = proto && tensorOf(proto, (location) => data.get(location) ?? new Uint8Array());
    if (tensor !== undefined) return tensor;
    throw new DistrEdgeError('INTERNAL', 'a constant is not there', { where: proto?.name ?? '' });
  }
}

/** What a normalisation by constants comes to: a factor for each filter, and the bias after it. */
function foldNorm(
  norm: NodeProto,
  valuesOf: (name: string) => Float32Array,
  before: Float32Array | undefined,
): { scale: Float64Array; bias: Tensor } {
  const [, gamma, beta, mean, variance] = (norm.input ?? []).map((name, index) =>
    index === 0 ? new Float32Array() : valuesOf(name),
  ) as [Float32Array, Float32Array, Float32Array, Float32Array, Float32Array];
  const epsilon = attributesOf(norm).float('epsilon', 1e-5);
  const scale = Float64Array.from(
    gamma,
    (factor, filter) => factor / Math.sqrt((variance[filter] as number) + epsilon),
  );
  const bias = Float32Array.from(
    beta,
    (offset, filter) => ((before?.[filter] ?? 0) - (mean[filter] as number)) * (scale[filter] as number) + offset,
  );
  return { scale, bias: floatTensor(bias, [bias.length]) };
}
