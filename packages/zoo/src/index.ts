export {
  type Color,
  deviceColor,
  drawLegend,
  drawLine,
  drawRowBands,
  fillRect,
  PALETTE,
  type RowBand,
} from './draw.js';
export {
  checkImage,
  type ImageLayout,
  type ImageSpec,
  imageTensor,
  NORMALIZATIONS,
  type Normalization,
  type NormalizationName,
  type PerChannel,
  type RgbImage,
} from './image.js';
export { buildZooModel, type ZooModel, type ZooOptions, zooNames } from './models/zoo.js';
export {
  diffSegments,
  type LineSegment,
  type SegmentDiff,
  type SegmentTolerance,
  type Size,
  scaleSegments,
  segmentDistance,
  segmentLength,
} from './segments.js';
export { MLSD_DEFAULTS, MLSD_SIDES, MLSD_SPEC, type MlsdOptions, mlsdInput, mlsdSegments } from './tasks/mlsd.js';
