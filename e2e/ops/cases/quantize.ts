/** Cases of QuantizeLinear and DequantizeLinear: a scale for the tensor, for each channel, for each row and in blocks. */
import { type CaseDefinition, fed, type Operand, weight } from '../golden-case.js';

const IMAGE = [1, 2, 5, 3];
const points = (
  dtype: 'uint8' | 'int8' | 'int16',
  data: readonly number[],
  shape: readonly number[] = [data.length],
): Operand => {
  return { dtype, shape, data, constant: true };
};
const scales = (count: number): Operand =>
  weight(
    [count],
    Array.from({ length: count }, (_, index) => 2 ** -(index + 3)),
  );

function quantize(
  name: string,
  scale: Operand,
  point: Operand | null,
  more: Partial<CaseDefinition> = {},
): CaseDefinition {
  const inputs = point === null ? [fed(IMAGE), scale] : [fed(IMAGE), scale, point];
  const rowAxes = [2, null, null].slice(0, inputs.length);
  return { name: `quantize ${name}`, opset: 13, op: 'QuantizeLinear', kind: 'local', inputs, rowAxes, ...more };
}

/** The same scales the other way. */
function dequantize(
  name: string,
  scale: Operand,
  point: Operand | null,
  more: Partial<CaseDefinition> = {},
): CaseDefinition {
  const dtype = point?.dtype ?? 'uint8';
  const definition = quantize(name, scale, point, more);
  const inputs = [{ dtype, shape: IMAGE }, ...definition.inputs.slice(1)];
  return { ...definition, name: `de${definition.name}`, op: 'DequantizeLinear', inputs };
}

export const cases: readonly CaseDefinition[] = [quantize, dequantize].flatMap((make) => [
  ...[10, 13, 19, 21].map((opset) => make('at one scale', weight([], [0.0625]), points('uint8', [128], []), { opset })),
  make('at one scale, unsaid zero', weight([], [0.0625]), null, { opset: 10 }),
  make('at a list of one scale', weight([1], [0.125]), points('int8', [3])),
  make('for each channel', scales(2), points('uint8', [100, 7])),
  make('for each channel, unsaid zero', scales(2), null, { attributes: { axis: -3 } }),
  make('for each column', scales(3), points('int8', [0, -5, 5]), { attributes: { axis: 3 } }),
  make('for each row', scales(5), points('uint8', [0, 10, 20, 30, 40]), { attributes: { axis: 2 } }),
  make('to 16 bits', weight([], [0.001]), points('int16', [-3], []), { opset: 21 }),
  make(
    'in blocks of channels',
    weight(
      [1, 1, 5, 3],
      Array.from({ length: 15 }, (_, index) => 1 / (8 + index)),
    ),
    null,
    {
      opset: 21,
      attributes: { axis: 1, block_size: 2 },
    },
  ),
  make(
    'in blocks of rows',
    weight(
      [1, 2, 2, 3],
      Array.from({ length: 12 }, (_, index) => 1 / (8 + index)),
    ),
    null,
    {
      opset: 21,
      kind: 'whole',
      attributes: { axis: 2, block_size: 3 },
    },
  ),
]);
