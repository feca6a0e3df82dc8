/**
 * Line segment detection with the M-LSD models: what goes in, and what the outputs mean.
 *
 * Source: Gu et al., "Towards Light-weight and Real-time Line Segment Detection" (M-LSD), arXiv 2106.00186,
 * section 3: a line is a peak of the centre map, with a displacement from that centre to either end point.
 * The models: `mlsd_{512x512,320x320}_{large,tiny}.onnx` of the npm package `jp.keijiro.mlsd`, Apache-2.0.
 *
 * Input, float32 [1, S, S, 4], S = 512 or 320: red, green, blue as bytes 0..255 and a fourth channel of ones;
 * the graph scales them itself. Outputs over a grid of half the resolution, h = w = S / 2: `scores` [1, h, w, 1]
 * in 0..1, 0 wherever a cell is not the largest of its 3 × 3 neighbourhood (the graph does that, by an exact
 * comparison: see diffSegments); `offsets` [1, h, w, 4], the steps (dx1, dy1, dx2, dy2) in cells from a cell
 * to the two end points.
 */
import { DistrEdgeError, floats, type Tensor } from '@distredge/core';
import { type ImageSpec, imageTensor, NORMALIZATIONS, type RgbImage } from '../image.js';
import { type LineSegment, segmentLength } from '../segments.js';

/** The input sides, in pixels, that M-LSD models exist for. */
export const MLSD_SIDES: readonly number[] = [512, 320];

/** How a picture becomes M-LSD's input. */
export const MLSD_SPEC: ImageSpec = { ...NORMALIZATIONS.raw, layout: 'NHWC', channels: 4 };

/** Input pixels per cell of the output grid. */
const STRIDE = 2;

/** Which detections to keep. */
export interface MlsdOptions {
  /** Least score, 0..1. Default 0.2: below it the models answer to wheel tracks and clouds. */
  readonly minScore?: number;
  /** Least length in input pixels. Default 20: shorter ones are texture, such as grass or planks. */
  readonly minLength?: number;
  /** Most segments to keep, the best first. Default 200. */
  readonly maxSegments?: number;
}

/** The values of every option of `mlsdSegments` that is not given. */
export const MLSD_DEFAULTS: Required<MlsdOptions> = { minScore: 0.2, minLength: 20, maxSegments: 200 };

/** A picture of 512 × 512 or 320 × 320 pixels as M-LSD's input tensor; throws IMAGE_INVALID for another size. */
export function mlsdInput(image: RgbImage): Tensor {
  if (image.width !== image.height || !MLSD_SIDES.includes(image.width)) {
    throw new DistrEdgeError('IMAGE_INVALID', 'M-LSD takes a square picture of one of its own sizes', {
      expected: MLSD_SIDES.map((side) => `${side} × ${side}`).join(' or '),
      got: `${image.width} × ${image.height}`,
      hint: 'resize the picture to the input size of the model first',
    });
  }
  return imageTensor(image, MLSD_SPEC);
}

function shapeError(name: string, tensor: Tensor, expected: string): DistrEdgeError {
  return new DistrEdgeError('SHAPE_MISMATCH', `the tensor '${name}' is not an M-LSD output`, {
    where: `output '${name}'`,
    expected,
    got: `${tensor.dtype} [${tensor.shape.join(', ')}]`,
  });
}

function checkOutputs(offsets: Tensor, scores: Tensor): { rows: number; columns: number } {
  const [batch, rows, columns, one] = scores.shape;
  const fits = batch === 1 && one === 1 && scores.shape.length === 4 && scores.dtype === 'float32';
  if (!fits || rows === undefined || columns === undefined) {
    throw shapeError('scores', scores, 'float32 [1, h, w, 1]');
  }
  const wanted = [1, rows, columns, 4];
  if (offsets.dtype !== 'float32' || offsets.shape.join() !== wanted.join()) {
    throw shapeError('offsets', offsets, `float32 [${wanted.join(', ')}]`);
  }
  return { rows, columns };
}

/**
 * The line segments in M-LSD's outputs, in input pixels, the best score first. The rule: a cell counts if its
 * score ≥ minScore and its line is ≥ minLength pixels long; of those the maxSegments best are kept, and of
 * equal scores the one further up, then further left, comes first. The end points of cell (column, row) are
 * 2 · (column + dx, row + dy); they may lie a little outside of the picture. Scores that are not numbers
 * never count. Throws SHAPE_MISMATCH where the tensors are not M-LSD's.
 */
export function mlsdSegments(offsets: Tensor, scores: Tensor, options: MlsdOptions = {}): LineSegment[] {
  const { minScore, minLength, maxSegments } = { ...MLSD_DEFAULTS, ...options };
  const { columns } = checkOutputs(offsets, scores);
  const steps = floats(offsets);
  const segments: LineSegment[] = [];
  for (const [cell, score] of floats(scores).entries()) {
    if (!(score >= minScore)) continue;
    const column = cell % columns;
    const row = (cell - column) / columns;
    const [dx1 = 0, dy1 = 0, dx2 = 0, dy2 = 0] = steps.subarray(cell * 4, cell * 4 + 4);
    const segment = {
      x1: STRIDE * (column + dx1),
      y1: STRIDE * (row + dy1),
      x2: STRIDE * (column + dx2),
      y2: STRIDE * (row + dy2),
      score,
    };
    if (segmentLength(segment) >= minLength) segments.push(segment);
  }
  // Array.prototype.sort is stable, so equal scores keep the row-major order of their cells.
  return segments.sort((a, b) => b.score - a.score).slice(0, maxSegments);
}
