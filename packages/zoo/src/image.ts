/** Pictures as plain bytes, and the exact rule by which one becomes a model's input tensor. */
import { DistrEdgeError, floatTensor, type Tensor } from '@distredge/core';

/**
 * An 8-bit RGB picture, row-major, interleaved: pixel (x, y) is `data[3 · (y · width + x)]` and the two bytes
 * after it. As a plane, (0, 0) is the picture's top left corner and (width, height) its bottom right one, so
 * the centre of pixel (x, y) is at (x + ½, y + ½).
 */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** How the channels of a tensor lie: before rows and columns, or after them. */
export type ImageLayout = 'NCHW' | 'NHWC';

/** One value for each of red, green and blue. */
export type PerChannel = readonly [red: number, green: number, blue: number];

/** The arithmetic between a byte and a model's number: `(byte · scale − mean) / std`, channel by channel. */
export interface Normalization {
  readonly scale: number;
  readonly mean: PerChannel;
  readonly std: PerChannel;
}

/** How a picture becomes a tensor of shape [1, channels, H, W] (NCHW) or [1, H, W, channels] (NHWC). */
export interface ImageSpec extends Normalization {
  readonly layout: ImageLayout;
  /**
   * 3: red, green, blue. 4: those and a constant 1, not normalised. 1: luma by ITU-R BT.601
   * (0.299 R + 0.587 G + 0.114 B), taken from the bytes and then normalised with the first mean and std.
   */
  readonly channels: 1 | 3 | 4;
}

/** A normalisation by its name. */
export type NormalizationName = 'unit' | 'raw' | 'imagenet';

/** The normalisations in common use. */
export const NORMALIZATIONS: Readonly<Record<NormalizationName, Normalization>> = {
  /** 0..1: what a model without a stated rule most often wants. */
  unit: { scale: 1 / 255, mean: [0, 0, 0], std: [1, 1, 1] },
  /** The bytes themselves, 0..255: for models that normalise inside their graph. */
  raw: { scale: 1, mean: [0, 0, 0], std: [1, 1, 1] },
  /** torchvision's ImageNet statistics: https://docs.pytorch.org/vision/stable/models.html */
  imagenet: { scale: 1 / 255, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
};

const LUMA: PerChannel = [0.299, 0.587, 0.114];

/** Throws IMAGE_INVALID unless the sides are whole and positive and the bytes are exactly width · height · 3. */
export function checkImage(image: RgbImage): void {
  const { width, height, data } = image;
  const whole = Number.isSafeInteger(width) && Number.isSafeInteger(height) && width > 0 && height > 0;
  if (!whole || data.length !== width * height * 3) {
    throw new DistrEdgeError('IMAGE_INVALID', 'the picture does not have the size it states', {
      expected: whole ? `${width} × ${height} × 3 = ${width * height * 3} bytes` : 'whole, positive sides',
      got: whole ? `${data.length} bytes` : `${width} × ${height}`,
    });
  }
}

/**
 * The picture as a float32 tensor of its own height and width (no resizing here), by the rule of `spec`:
 * computed in double precision, rounded once. Throws IMAGE_INVALID where the picture is malformed.
 */
export function imageTensor(image: RgbImage, spec: ImageSpec): Tensor {
  checkImage(image);
  const { width, height, data } = image;
  const { layout, channels } = spec;
  const area = width * height;
  const values = new Float32Array(area * channels);
  // A byte takes 256 values only, so each channel's arithmetic is done once per value; luma is not a byte.
  const normalize = (value: number, channel: 0 | 1 | 2): number =>
    (value * spec.scale - spec.mean[channel]) / spec.std[channel];
  const tables = ([0, 1, 2] as const).map((channel) =>
    Float32Array.from({ length: 256 }, (_, byte) => normalize(byte, channel)),
  );
  const [pixelStride, channelStride] = layout === 'NCHW' ? [1, area] : [channels, 1];
  for (let pixel = 0; pixel < area; pixel += 1) {
    const at = pixel * pixelStride;
    if (channels === 1) {
      const [red = 0, green = 0, blue = 0] = data.subarray(pixel * 3, pixel * 3 + 3);
      values[at] = normalize(LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue, 0);
      continue;
    }
    for (let channel = 0; channel < 3; channel += 1) {
      values[at + channel * channelStride] = tables[channel]?.[data[pixel * 3 + channel] ?? 0] ?? 0;
    }
    if (channels === 4) values[at + 3 * channelStride] = 1;
  }
  return floatTensor(values, layout === 'NCHW' ? [1, channels, height, width] : [1, height, width, channels]);
}
