/** Cases of Resize and Upsample: modes, coordinates and the forms in which sizes are given, by opset. */
import { type CaseDefinition, fed, ints, type Operand, weight } from '../golden-case.js';

interface Options {
  readonly opset?: number;
  readonly mode?: string;
  readonly row?: number;
  readonly kind?: 'local' | 'whole';
  readonly image?: Operand;
  readonly attributes?: CaseDefinition['attributes'];
}

const IMAGE = fed([1, 1, 4, 2]);
const ROI = weight([0], []);

function scaled(name: string, scales: readonly number[], options: Options = {}): CaseDefinition {
  const { opset = 13, mode = 'nearest', row = 2, kind = 'local', image = IMAGE, attributes = {} } = options;
  const op = opset < 10 ? 'Upsample' : 'Resize';
  const rowAxes = (inputs: readonly unknown[]): (number | null)[] =>
    inputs.map((_, index) => (index === 0 ? row : null));
  if (opset < 9) {
    const given = { mode, scales: { floats: scales } };
    return { name, opset, op, attributes: given, kind, inputs: [image], rowAxes: [row] };
  }
  const factors = weight([scales.length], scales);
  const inputs = opset < 11 ? [image, factors] : [image, opset < 13 ? ROI : null, factors];
  return { name, opset, op, attributes: { mode, ...attributes }, kind, inputs, rowAxes: rowAxes(inputs) };
}

function sized(name: string, sizes: readonly number[], options: Options = {}): CaseDefinition {
  const { opset = 13, mode = 'nearest', row = 2, kind = 'local', image = IMAGE, attributes = {} } = options;
  const inputs = [image, opset < 13 ? ROI : null, opset < 13 ? ROI : null, ints(sizes)];
  return {
    name,
    opset,
    op: 'Resize',
    attributes: { mode, ...attributes },
    kind,
    inputs,
    rowAxes: [row, null, null, null],
  };
}

const COORDINATES = ['half_pixel', 'half_pixel_symmetric', 'pytorch_half_pixel', 'align_corners', 'asymmetric'];
const ROUNDINGS = ['round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil'];
const FACTORS = [2, 3, 0.5, 1.3];
const tall = fed([1, 1, 24, 1]);

export const cases: readonly CaseDefinition[] = [
  ...['nearest', 'linear'].flatMap((mode) => [
    ...[7, 9, 10, 11, 13, 18, 19, 21].map((opset) => scaled(`${mode}, twice`, [1, 1, 2, 2], { opset, mode })),
    ...[7, 9].map((opset) => scaled(`${mode}, by 1.5 and 3`, [1, 1, 1.5, 3], { opset, mode })),
    scaled(`${mode}, smaller`, [1, 1, 0.6, 0.5], { opset: 10, mode }),
    scaled(`${mode}, columns only`, [1, 1, 1, 1.7], { mode }),
    scaled(`${mode}, rows along the columns`, [1, 1, 1.3, 2], { mode, row: 3 }),
    scaled(`${mode}, a volume`, [1, 1, 2, 1, 1.5], { mode, row: 4, image: fed([1, 1, 2, 1, 4]) }),
  ]),
  ...COORDINATES.flatMap((coordinates) =>
    FACTORS.map((factor) =>
      scaled(`linear ${coordinates} by ${factor}`, [1, 1, factor, 1.5], {
        mode: 'linear',
        image: fed([1, 1, 6, 3]),
        attributes: { coordinate_transformation_mode: coordinates },
      }),
    ),
  ),
  ...COORDINATES.flatMap((coordinates) =>
    ROUNDINGS.map((rounding) =>
      sized(`nearest ${coordinates} ${rounding}`, [1, 1, 9, 3], {
        image: fed([1, 1, 6, 2]),
        attributes: { coordinate_transformation_mode: coordinates, nearest_mode: rounding },
      }),
    ),
  ),
  // Row 19 lies within a rounding error of half way between two rows.
  ...['round_prefer_floor', 'round_prefer_ceil'].map((rounding) =>
    scaled(`nearest just beside half way, ${rounding}`, [1, 1, 1.3, 1], {
      image: tall,
      attributes: { nearest_mode: rounding },
    }),
  ),
  ...[2, 0.5, 1.3].flatMap((factor) =>
    [0, 1].map((outside) =>
      scaled(`cubic by ${factor}${outside === 1 ? ', nothing from outside' : ''}`, [1, 1, factor, 2], {
        mode: 'cubic',
        image: fed([1, 1, 6, 3]),
        attributes: { exclude_outside: outside, cubic_coeff_a: { float: -0.5 } },
      }),
    ),
  ),
  ...[11, 13, 19].map((opset) => sized('linear to a size', [1, 1, 7, 5], { opset, mode: 'linear' })),
  sized('a size that no scale makes', [1, 1, 7, 1], { mode: 'linear', image: fed([1, 1, 3, 41]) }),
  sized('chosen axes', [8, 7], { opset: 18, attributes: { axes: [3, 2] } }),
  sized('keeps its shape, inside', [9, 9], {
    opset: 18,
    mode: 'linear',
    attributes: { axes: [2, 3], keep_aspect_ratio_policy: 'not_larger' },
  }),
  sized('keeps its shape, around', [9, 9], {
    opset: 19,
    attributes: { axes: [2, 3], keep_aspect_ratio_policy: 'not_smaller' },
  }),
  scaled('scales that change nothing', [1, 1, 1.1, 1.2], { mode: 'linear', image: fed([1, 1, 4, 4]) }),
  scaled('rows change, columns only by their scale', [1, 1, 2, 1.1], { mode: 'linear', image: fed([1, 1, 4, 4]) }),
  scaled('channels last', [1, 2, 2, 1], { mode: 'linear', row: 1, image: fed([1, 4, 3, 2]) }),
  scaled('bytes', [1, 1, 1.5, 2], { image: { dtype: 'uint8', shape: [1, 1, 6, 3] } }),
  scaled('smooths as it shrinks', [1, 1, 0.5, 0.5], {
    opset: 18,
    mode: 'linear',
    kind: 'whole',
    attributes: { antialias: 1 },
  }),
];
