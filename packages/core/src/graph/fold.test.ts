/** What folding leaves alone and refuses; what it computes is held to onnxruntime's results in `e2e/ops`. */
import { describe, expect, test } from 'vitest';
import { OpView } from '../ops/op.js';
import { floatTensor, intTensor, type Tensor } from '../tensor.js';
import { FOLD_LIMIT, foldNode } from './fold.js';
import { type AttributeValue, attributeMap, type TensorType } from './graph.js';

/** A view of one node; operands without data are computed while the model runs. */
function view(
  op: string,
  operands: readonly (Tensor | TensorType)[],
  attributes: Record<string, AttributeValue> = {},
): OpView {
  const inputs = operands.map((_, index) => `in${index}`);
  const node = {
    name: 'node',
    op,
    domain: '',
    inputs,
    outputs: ['out'],
    captures: [],
    attributes: attributeMap(attributes),
  };
  const types = new Map(operands.map(({ dtype, shape }, index) => [`in${index}`, { dtype, shape }]));
  const constants = new Map(
    operands.flatMap((item, index): [string, Tensor][] => ('data' in item ? [[`in${index}`, item]] : [])),
  );
  return new OpView(node, 13, types, constants, false);
}

const fed: TensorType = { dtype: 'float32', shape: [1, 3, 5, 7] };

describe('foldNode', () => {
  test('reads the shape of a value that is not constant', () => {
    expect(foldNode(view('Shape', [fed]))).toEqual([intTensor([1, 3, 5, 7])]);
    expect(foldNode(view('Shape', [{ dtype: 'float32', shape: undefined }]))).toBeUndefined();
  });

  test('leaves nodes with computed operands, unknown ops and other domains', () => {
    expect(foldNode(view('Add', [fed, floatTensor([1], [1])]))).toBeUndefined();
    expect(foldNode(view('Conv', [floatTensor([1], [1, 1, 1]), floatTensor([1], [1, 1, 1])]))).toBeUndefined();
    const known = view('Neg', [intTensor([1])]);
    const node = { ...known.node, domain: 'com.example' };
    expect(foldNode(new OpView(node, 13, new Map(), new Map([['in0', intTensor([1])]]), false))).toBeUndefined();
  });

  test('makes an empty tensor at once, however large its other dimensions', () => {
    const shape = [0, 2 ** 31, 0, 2 ** 31];
    expect(foldNode(view('ConstantOfShape', [intTensor(shape)]))?.[0]).toEqual(floatTensor([], shape));
  });

  test('leaves what is larger than its limit, whatever it would be made from', () => {
    expect(foldNode(view('ConstantOfShape', [intTensor([FOLD_LIMIT])]))?.[0]?.shape).toEqual([FOLD_LIMIT]);
    for (const size of [FOLD_LIMIT + 1, Number.MAX_SAFE_INTEGER]) {
      expect(foldNode(view('ConstantOfShape', [intTensor([size])]))).toBeUndefined();
      expect(foldNode(view('Expand', [intTensor([1]), intTensor([size])]))).toBeUndefined();
      expect(foldNode(view('Tile', [intTensor([1]), intTensor([size])]))).toBeUndefined();
      expect(foldNode(view('Range', [intTensor([0], []), intTensor([size], []), intTensor([1], [])]))).toBeUndefined();
    }
    const column = intTensor(
      Array.from({ length: 2000 }, () => 1),
      [2000, 1],
    );
    const row = intTensor(
      Array.from({ length: 2000 }, () => 1),
      [1, 2000],
    );
    expect(foldNode(view('Add', [column, row]))).toBeUndefined();
  });

  test('leaves what has no value: division by zero, a float that no integer holds, a place outside the data', () => {
    expect(foldNode(view('Div', [intTensor([1]), intTensor([0])]))).toBeUndefined();
    expect(foldNode(view('Mod', [intTensor([1]), intTensor([0])]))).toBeUndefined();
    expect(foldNode(view('Cast', [floatTensor([Number.NaN], [1])], { to: 7 }))).toBeUndefined();
    expect(foldNode(view('Cast', [floatTensor([3e9], [1])], { to: 6 }))).toBeUndefined();
    expect(foldNode(view('Gather', [intTensor([1, 2]), intTensor([2])]))).toBeUndefined();
    expect(foldNode(view('Range', [intTensor([0], []), intTensor([5], []), intTensor([0], [])]))).toBeUndefined();
  });

  test('leaves operands of different types, which onnxruntime refuses', () => {
    expect(foldNode(view('Add', [intTensor([1]), floatTensor([1], [1])]))).toBeUndefined();
    expect(foldNode(view('Concat', [intTensor([1]), floatTensor([1], [1])], { axis: 0 }))).toBeUndefined();
    expect(foldNode(view('ConstantOfShape', [intTensor([-1])]))).toBeUndefined();
  });

  test('refuses a node that breaks the rules of its op', () => {
    expect(() => foldNode(view('Reshape', [intTensor([1, 2, 3]), intTensor([2, -1])]))).toThrow(
      /another number of elements/,
    );
    expect(() => foldNode(view('Reshape', [intTensor([1, 2, 3]), intTensor([-1, -1])]))).toThrow(/new shape/);
    expect(() => foldNode(view('Squeeze', [intTensor([1, 2]), intTensor([0])]))).toThrow(/longer than 1/);
    expect(() =>
      foldNode(view('Slice', [intTensor([1, 2]), ...[0, 1, 0, 0].map((value) => intTensor([value]))])),
    ).toThrow(/step of 0/);
    expect(() => foldNode(view('Concat', [intTensor([1]), intTensor([1])], { axis: 1 }))).toThrow(/axis lies outside/);
  });
});
