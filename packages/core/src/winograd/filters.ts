/**
 * The arithmetic of Winograd's minimal filtering F(2×2, 3×3): A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural
 * Networks, CVPR 2016, section 4.1. A tile of 4 × 4 inputs makes 2 × 2 outputs, Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A, with 16 products
 * for what takes 36 directly. All factors of B and A are 0 and ±1, so that results differ from direct ones by rounding alone.
 */

/** Outputs along each side of a tile. */
export const TILE = 2;
/** Inputs along each side of a tile: that many products are made along each axis. */
export const PRODUCTS = 4;
/** Filter taps along each axis. */
export const TAPS = 3;

/**
 * The rows of Bᵀ, each as two taps: the input of a tile at which the first stands, how far the second is from it, and their
 * factors. Product k is made of `factors[0] · d[at] + factors[1] · d[at + apart]`.
 */
export const INPUT_TAPS: readonly {
  readonly at: number;
  readonly apart: number;
  readonly factors: readonly [number, number];
}[] = [
  { at: 0, apart: 2, factors: [1, -1] },
  { at: 1, apart: 1, factors: [1, 1] },
  { at: 1, apart: 1, factors: [-1, 1] },
  { at: 1, apart: 2, factors: [1, -1] },
];

/**
 * Filters G g Gᵀ as 16 matrices one behind another, each [filters, channels]: product (i, j) is matrix 4i + j. The last product
 * along an axis only ever is subtracted, so its sign is turned here.
 * @param weights [filters, channels, 3, 3]
 * @param scale a factor for every filter; absent: 1
 */
export function transformFilters(
  weights: Float32Array,
  filters: number,
  channels: number,
  scale?: ArrayLike<number>,
): Float32Array {
  const plane = filters * channels;
  const out = new Float32Array(PRODUCTS * PRODUCTS * plane);
  const half = new Float64Array(PRODUCTS * TAPS);
  for (let pair = 0; pair < plane; pair++) {
    const from = pair * TAPS * TAPS;
    const factor = scale === undefined ? 1 : (scale[Math.floor(pair / channels)] as number);
    for (let column = 0; column < TAPS; column++) {
      const a = (weights[from + column] as number) * factor;
      const b = (weights[from + TAPS + column] as number) * factor;
      const c = (weights[from + 2 * TAPS + column] as number) * factor;
      half[column] = a;
      half[TAPS + column] = (a + b + c) / 2;
      half[2 * TAPS + column] = (a - b + c) / 2;
      half[3 * TAPS + column] = -c;
    }
    for (let row = 0; row < PRODUCTS; row++) {
      const a = half[row * TAPS] as number;
      const b = half[row * TAPS + 1] as number;
      const c = half[row * TAPS + 2] as number;
      const to = row * PRODUCTS * plane + pair;
      out[to] = a;
      out[to + plane] = (a + b + c) / 2;
      out[to + 2 * plane] = (a - b + c) / 2;
      out[to + 3 * plane] = -c;
    }
  }
  return out;
}

/** Multiply-adds in the time that one element takes on its way into tiles and out of them, where caches keep what is between. */
const ELEMENT_COST = 68;
/** What it takes more where they do not: nothing of it for an input and an output of `near` bytes together, all of it for `far`. */
const FAR_COST = { multiplyAdds: 77, near: 4e6, far: 4e7 };
/** Multiply-adds in the time that one weight takes to come from memory, where few positions share it. */
const WEIGHT_COST = 7;
/** Multiply-adds in the time that the nodes themselves take, some 60 in place of one. */
const NODES_COST = 2.4e6;
/** Predicted gain, as a share of the direct convolution's time, below which it stays as it is. */
const LEAST_GAIN = 0.08;

/**
 * What is expected to be gained by computing a convolution so, in multiply-adds of the direct one; 0 where that is little or nothing. The
 * costs were measured with onnxruntime on one x64 core with AVX2, against its direct convolution of blocked channels; they are ratios of
 * time, which differ less between such machines than times do.
 * @param rows and `columns` of the output
 */
export function expectedGain(channels: number, filters: number, rows: number, columns: number): number {
  const pairs = channels * filters;
  const positions = rows * columns;
  const tiles = Math.ceil(rows / TILE) * Math.ceil(columns / TILE);
  const direct = pairs * (TAPS * TAPS * positions + TAPS * TAPS * WEIGHT_COST);
  const products = PRODUCTS * PRODUCTS;
  const elements = (channels + filters) * tiles * TILE * TILE;
  const { multiplyAdds, near, far } = FAR_COST;
  const distance = Math.log((elements * Float32Array.BYTES_PER_ELEMENT) / near) / Math.log(far / near);
  const each = ELEMENT_COST + multiplyAdds * Math.min(1, Math.max(0, distance));
  const winograd = pairs * products * (tiles + WEIGHT_COST) + elements * each + NODES_COST;
  return winograd < (1 - LEAST_GAIN) * direct ? direct - winograd : 0;
}
