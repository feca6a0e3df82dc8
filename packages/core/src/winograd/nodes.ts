/** Writes a convolution as Winograd's: the nodes and constants that replace one node of an ONNX model. */
import { type AttributeValue, attributeProto } from '../graph/graph.js';
import type { NodeProto, TensorProto, ValueInfoProto } from '../onnx/proto.js';
import { protoOf } from '../onnx/tensor-proto.js';
import { floatTensor, intTensor, type Tensor } from '../tensor.js';
import { INPUT_TAPS, PRODUCTS, TILE } from './filters.js';

/** Collects nodes and constants; every method that makes a value returns its name. */
export class NodeWriter {
  readonly nodes: NodeProto[] = [];
  readonly initializers: TensorProto[] = [];
  /** Shapes that are known of values made here. */
  readonly valueInfo: ValueInfoProto[] = [];
  readonly #prefix: string;
  readonly #constants = new Map<string, string>();
  #fresh = 0;

  /** @param prefix of all names made here; nothing else in the model begins with it */
  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  fresh(): string {
    this.#fresh += 1;
    return `${this.#prefix}${this.#fresh}`;
  }

  node(
    opType: string,
    input: readonly string[],
    attributes: Readonly<Record<string, AttributeValue>> = {},
    output: string = this.fresh(),
  ): string {
    const attribute = Object.entries(attributes).map(([name, value]) => attributeProto(name, value));
    this.nodes.push({ opType, name: `${this.#prefix}n${this.nodes.length}`, input, output: [output], attribute });
    return output;
  }

  /**
   * Says that a value is the image of one number of every tile. How many rows of tiles there are may be known at run time only, but
   * they are as many for all of them: an engine that knows may add them up where they are made.
   */
  tiles(value: string, { filters, columns, rows }: Pick<Convolution, 'filters' | 'columns' | 'rows'>): string {
    const dim = [
      { dimValue: 1n },
      { dimValue: BigInt(filters) },
      rows === undefined ? { dimParam: `${this.#prefix}rows` } : { dimValue: BigInt(Math.ceil(rows / TILE)) },
      { dimValue: BigInt(Math.ceil(columns / TILE)) },
    ];
    this.valueInfo.push({ name: value, type: { tensorType: { elemType: 1, shape: { dim } } } });
    return value;
  }

  /** A node as it stands, on another first input. */
  copy(node: NodeProto, input: string): string {
    const output = this.fresh();
    const inputs = [input, ...(node.input ?? []).slice(1)];
    this.nodes.push({ ...node, name: `${this.#prefix}n${this.nodes.length}`, input: inputs, output: [output] });
    return output;
  }

  /** A constant, once however often it is asked for; `key` stands for its value. */
  constant(key: string, make: () => Tensor): string {
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    const name = this.fresh();
    this.#constants.set(key, name);
    this.initializers.push(protoOf(name, make()));
    return name;
  }

  integers(values: readonly number[]): string {
    return this.constant(`integers ${values}`, () => intTensor(values));
  }
}

/** A 3 × 3 convolution with stride 1, of one image: what is needed to write it. */
export interface Convolution {
  readonly input: string;
  readonly channels: number;
  readonly filters: number;
  /** Rows of zeros above and below, columns left and right: 0 or 1 each. */
  readonly pads: { readonly top: number; readonly left: number; readonly bottom: number; readonly right: number };
  /** Of the output. */
  readonly columns: number;
  /** Of the output; undefined where they may differ from run to run. */
  readonly rows: number | undefined;
  /** Names of the transformed filters, by product: [filters, channels, 1, 1] each. */
  readonly products: readonly string[];
  /** Name of the bias [filters]; undefined: none. */
  readonly bias: string | undefined;
  /** Writes what is done to every element of the result, on a quarter of the result at a time. */
  readonly pointwise: ((input: string) => string) | undefined;
  readonly output: string;
}

/**
 * Bᵀ d B are depthwise convolutions with four taps and stride 2, one for each product; the products are 1 × 1 convolutions; sums
 * and differences of them are the four outputs of every tile, each as an image of a quarter of the size; with channels last,
 * these are laced into one image by two concatenations. So an engine that keeps channels in blocks stays in its blocks almost
 * throughout, and one that adds to what a convolution makes while it makes it goes through memory 16 times for all the sums.
 */
export function writeConvolution(write: NodeWriter, convolution: Convolution): void {
  const sums = new Sums(write, convolution);
  const rows: [string[], string[]] = [[], []];
  for (let j = 0; j < PRODUCTS; j++) {
    const [first, second, third, fourth] = Array.from({ length: PRODUCTS }, (_, i) =>
      sums.tiles(writeProduct(write, convolution, i, j)),
    ) as [string, string, string, string];
    rows[0].push(sums.add(first, sums.add(second, third)));
    // Not as their sum minus twice one of them, which would be made along with the sum: where both are large, nothing right is left of that.
    rows[1].push(sums.add(fourth, sums.add(sums.scaled(third, -1), second)));
  }
  lace(
    write,
    convolution,
    rows.map((row) => sums.outputs(row)),
  );
}

/**
 * Sums of numbers of tiles. What is added to is a convolution wherever that can be: engines do not go through memory again for
 * that. So a value is scaled by a depthwise 1 × 1 convolution.
 */
class Sums {
  readonly #write: NodeWriter;
  readonly #convolution: Convolution;

  constructor(write: NodeWriter, convolution: Convolution) {
    this.#write = write;
    this.#convolution = convolution;
  }

  /** Says that a value has one number for each filter and tile. */
  tiles(value: string): string {
    return this.#write.tiles(value, this.#convolution);
  }

  add(a: string, b: string): string {
    return this.tiles(this.#write.node('Add', [a, b]));
  }

  scaled(value: string, factor: number): string {
    const { filters } = this.#convolution;
    const factors = this.#write.constant(`${filters} times ${factor}`, () =>
      floatTensor(new Float32Array(filters).fill(factor), [filters, 1, 1, 1]),
    );
    return this.tiles(this.#write.node('Conv', [value, factors], { group: filters, kernel_shape: [1, 1] }));
  }

  /** The left and the right outputs of tiles, from the four columns of a row. */
  outputs([first = '', second = '', third = '', fourth = '']: readonly string[]): string[] {
    const difference = this.add(this.scaled(third, -1), second);
    return [this.add(this.scaled(first, 1), this.add(second, third)), this.add(this.scaled(fourth, 1), difference)].map(
      (output) => {
        const changed = this.#convolution.pointwise?.(output);
        return changed === undefined ? output : this.tiles(changed);
      },
    );
  }
}

/** Product (i, j): one number of every tile, channel by channel, times its filters. */
function writeProduct(write: NodeWriter, convolution: Convolution, i: number, j: number): string {
  const { channels, input, pads, products, bias } = convolution;
  const vertical = axisTaps(i, pads.top, pads.bottom);
  const horizontal = axisTaps(j, pads.left, pads.right);
  const [height, width] = [vertical.taps.length, horizontal.taps.length];
  const kernel = vertical.taps.flatMap((a) => horizontal.taps.map((b) => a * b));
  const taps = write.constant(`taps ${channels} ${height} ${kernel}`, () =>
    floatTensor(
      Float32Array.from({ length: channels * kernel.length }, (_, at) => kernel[at % kernel.length] as number),
      [channels, 1, height, width],
    ),
  );
  const tiles = write.node('Conv', [input, taps], {
    group: channels,
    kernel_shape: [height, width],
    strides: [TILE, TILE],
    dilations: [vertical.dilation, horizontal.dilation],
    pads: [vertical.begin, horizontal.begin, vertical.end, horizontal.end],
  });
  const filter = products[i * PRODUCTS + j] as string;
  // All four outputs of a tile hold this product once.
  const inputs = i === 1 && j === 1 && bias !== undefined ? [tiles, filter, bias] : [tiles, filter];
  return write.node('Conv', inputs, { kernel_shape: [1, 1] });
}

/**
 * The taps along one axis. Padding at the end is such that there are as many tiles as cover the output, whether its size is
 * even or odd. Where the first tap would stand before the padding begins, it is moved behind taps of 0.
 */
function axisTaps(
  product: number,
  before: number,
  after: number,
): { taps: number[]; dilation: number; begin: number; end: number } {
  const { at, apart, factors } = INPUT_TAPS[product] as (typeof INPUT_TAPS)[number];
  const end = after - 2 + at + apart;
  if (before >= at) return { taps: [...factors], dilation: apart, begin: before - at, end };
  const taps = new Array<number>(at + apart + 1 - before).fill(0);
  taps[at - before] = factors[0];
  taps[at + apart - before] = factors[1];
  return { taps, dilation: 1, begin: 0, end };
}

/** Makes one image of the four quarters, by row and column of a tile. */
function lace(write: NodeWriter, convolution: Convolution, quarters: readonly (readonly string[])[]): void {
  const { filters, columns, output } = convolution;
  const width = Math.ceil(columns / TILE) * TILE;
  const lines = quarters.map((quarter) => {
    const last = quarter.map((name) => write.node('Transpose', [name], { perm: [0, 2, 3, 1] }));
    const line = write.node('Concat', last, { axis: 3 });
    return write.node('Reshape', [line, write.integers([-1, 1, width * filters])]);
  });
  const image = write.node('Concat', lines, { axis: 1 });
  const full = write.node('Reshape', [image, write.integers([1, -1, width, filters])]);
  write.node('Transpose', [cropped(write, convolution, full)], { perm: [0, 3, 1, 2] }, output);
}

/** Without the row and the column that a tile has too many where the output's size is odd. */
function cropped(write: NodeWriter, convolution: Convolution, image: string): string {
  const { columns, rows } = convolution;
  const cut = (ends: string, axes: readonly number[]): string =>
    write.node('Slice', [image, write.integers(axes.map(() => 0)), ends, write.integers(axes)]);
  if (rows !== undefined)
    return rows % TILE === 0 && columns % TILE === 0 ? image : cut(write.integers([rows, columns]), [1, 2]);
  const measured = measuredRows(write, convolution);
  if (columns % TILE === 0) return cut(measured, [1]);
  return cut(write.node('Concat', [measured, write.integers([columns])], { axis: 0 }), [1, 2]);
}

/**
 * The rows of the output, where they are known at run time only. A convolution of the first column says it without bringing the
 * whole input out of the engine's blocks, as asking for its shape would.
 */
function measuredRows(write: NodeWriter, { input, channels, pads, columns }: Convolution): string {
  const nothing = write.constant(`nothing ${channels}`, () =>
    floatTensor(new Float32Array(MEASURED * channels), [MEASURED, channels, 1, 1]),
  );
  const side = write.node('Conv', [input, nothing], { kernel_shape: [1, 1], strides: [1, columns + 2] });
  const height = write.node('Gather', [write.node('Shape', [side]), write.integers([2])], { axis: 0 });
  return write.node('Add', [height, write.integers([pads.top + pads.bottom - 2])]);
}

/** Channels of the convolution that measures the height: as many as engines keep in a block. */
const MEASURED = 16;
