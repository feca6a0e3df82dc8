/**
 * Random networks of every op family, as ONNX models. A network is a list of blocks; each reads an earlier value, most
 * often the last one, and adds its nodes, so that skips, dense blocks and U-Nets come about by themselves. The list is the
 * fast-check value, which therefore shrinks by dropping blocks and by making them plainer.
 */
import fc from 'fast-check';
import { ATTENTION_BLOCKS } from './blocks-attention.js';
import { GLOBAL_BLOCKS, head } from './blocks-global.js';
import { LAYOUT_BLOCKS } from './blocks-layout.js';
import { POINTWISE_BLOCKS } from './blocks-pointwise.js';
import { type Block, MAX_CHANNELS, WINDOW_BLOCKS } from './blocks-window.js';
import { Choices } from './choices.js';
import { ModelWriter, type RandomModel, type Value } from './model-writer.js';

const BLOCKS: Readonly<Record<string, Block>> = {
  ...POINTWISE_BLOCKS,
  ...WINDOW_BLOCKS,
  ...LAYOUT_BLOCKS,
  ...GLOBAL_BLOCKS,
  ...ATTENTION_BLOCKS,
};

/** Ops that networks have more of than of others. */
const FREQUENT: Readonly<Record<string, number>> = {
  conv: 6,
  pool: 2,
  merge: 4,
  concat: 3,
  resize: 2,
  squeezeExcite: 2,
  channelsLast: 2,
  resizeLike: 2,
};

export interface BlockRecipe {
  readonly kind: string;
  /** How many values back its input lies, modulo the number of values. */
  readonly back: number;
  readonly choices: readonly number[];
}

export interface GraphRecipe {
  readonly opset: number;
  /** Dimensions of an image: [height], [height, width] or [depth, height, width]. */
  readonly spatial: readonly number[];
  readonly batch: number;
  readonly channels: number;
  /** What else the model is given: an image of the same size, one twice as large, a vector; or the first is of bytes, or channels last. */
  readonly extras: readonly ('same' | 'larger' | 'vector' | 'bytes' | 'channelsLast')[];
  readonly constantNodes: boolean;
  readonly blocks: readonly BlockRecipe[];
  readonly head: readonly number[] | undefined;
  /** Values, counted from the last, that are outputs too. */
  readonly outputs: readonly number[];
  readonly seed: number;
}

const number = fc.nat({ max: 59 });
const choices = fc.array(number, { maxLength: 24, size: 'max' });

const block: fc.Arbitrary<BlockRecipe> = fc.record({
  kind: fc.oneof(...Object.keys(BLOCKS).map((kind) => ({ weight: FREQUENT[kind] ?? 1, arbitrary: fc.constant(kind) }))),
  back: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat({ max: 6 }) }),
  choices,
});

const rows = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: 4, max: 24 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 5 }) },
);
const columns = fc.integer({ min: 1, max: 10 });

/** @param blocks how many blocks a network has at most */
export function graphRecipe(blocks = 10): fc.Arbitrary<GraphRecipe> {
  return fc.record({
    opset: fc.constantFrom(13, 9, 11, 17, 18, 21),
    spatial: fc.oneof(
      { weight: 8, arbitrary: fc.tuple(rows, columns) },
      { weight: 1, arbitrary: fc.tuple(rows) },
      {
        weight: 1,
        arbitrary: fc.tuple(
          fc.integer({ min: 1, max: 8 }),
          fc.integer({ min: 1, max: 6 }),
          fc.integer({ min: 1, max: 5 }),
        ),
      },
    ),
    batch: fc.oneof({ weight: 7, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: fc.constantFrom(2, 3) }),
    channels: fc.integer({ min: 1, max: 6 }),
    extras: fc.oneof(
      { weight: 4, arbitrary: fc.constant([]) },
      {
        weight: 1,
        arbitrary: fc.uniqueArray(
          fc.constantFrom(
            'same' as const,
            'larger' as const,
            'vector' as const,
            'bytes' as const,
            'channelsLast' as const,
          ),
          { minLength: 1, maxLength: 2 },
        ),
      },
    ),
    constantNodes: fc.boolean(),
    blocks: fc.array(block, { minLength: 1, maxLength: blocks, size: 'max' }),
    head: fc.option(fc.array(number, { maxLength: 16, size: 'max' }), { nil: undefined }),
    outputs: fc.oneof(
      { weight: 2, arbitrary: fc.constant([]) },
      { weight: 1, arbitrary: fc.array(fc.nat({ max: 9 }), { minLength: 1, maxLength: 3 }) },
    ),
    seed: fc.nat({ max: 999_999 }),
  });
}

/** Writes the model that a recipe describes. */
export function buildGraph(recipe: GraphRecipe): RandomModel {
  const w = new ModelWriter(recipe.opset, recipe.seed, recipe.constantNodes);
  const values: Value[] = [];
  const shape = [recipe.batch, recipe.channels, ...recipe.spatial];
  values.push(imageOf(w, recipe, shape));
  if (recipe.extras.includes('larger'))
    values.unshift(w.input('larger', [recipe.batch, 2, ...recipe.spatial.map((size) => size * 2)]));
  if (recipe.extras.includes('same')) values.unshift(w.input('same', shape));
  if (recipe.extras.includes('vector')) {
    const vector = w.input('vector', [1, 4]);
    const wide = w.node('Gemm', [vector, w.weight([4, recipe.channels]), w.weight([recipe.channels])], {}, [
      1,
      recipe.channels,
    ]);
    const map = w.node('Reshape', [wide, w.ints([1, recipe.channels, ...recipe.spatial.map(() => 1)])], {}, [
      1,
      recipe.channels,
      ...recipe.spatial.map(() => 1),
    ]);
    const last = values.pop() as Value;
    values.push(last, w.node('Mul', [last, map], {}, last.shape));
  }
  let made: Value | undefined;
  for (const { kind, back, choices: numbers } of recipe.blocks) {
    const x = values[values.length - 1 - (back % values.length)] as Value;
    const results = (BLOCKS[kind] as Block)(w, new Choices(numbers), x, values).filter(usable);
    values.push(...results);
    made = results.at(-1) ?? made;
  }
  if (recipe.head !== undefined)
    made = head(w, new Choices(recipe.head), values.at(-1) as Value, values).at(-1) ?? made;
  made ??= w.node('Relu', [values.at(-1)], {}, (values.at(-1) as Value).shape);
  const outputs = recipe.outputs.map((index) => values[values.length - 1 - (index % values.length)] as Value);
  return w.finish([made, ...outputs.filter(({ name }) => name.startsWith('v') && name !== 'vector')]);
}

/** The first image, with channels before rows, as real numbers. */
function imageOf(w: ModelWriter, { extras, spatial }: GraphRecipe, shape: readonly number[]): Value {
  const last = extras.includes('channelsLast');
  const [batch = 1, channels = 1] = shape;
  const dtype = extras.includes('bytes') ? 'uint8' : 'float32';
  let image = w.input('image', last ? [batch, ...spatial, channels] : shape, dtype);
  const rank = shape.length;
  const perm = [0, rank - 1, ...spatial.map((_, axis) => axis + 1)];
  if (last) image = w.node('Transpose', [image], { perm }, shape);
  if (dtype === 'float32') return image;
  return w.node('Mul', [w.node('Cast', [image], { to: 1 }, shape), w.floats([1 / 255], [])], {}, shape);
}

/** Images only, none too large. */
function usable({ shape }: Value): boolean {
  return (
    shape.length >= 3 && (shape[1] as number) <= 3 * MAX_CHANNELS && shape.every((size) => size >= 1 && size <= 64)
  );
}
