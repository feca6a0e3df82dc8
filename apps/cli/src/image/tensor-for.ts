/** Decides from a model input's type and shape whether and how it takes a photo, and makes the tensor. */
import { type DataType, DistrEdgeError, floats, type Tensor } from '@distredge/core';
import { type ImageLayout, imageTensor, NORMALIZATIONS, type NormalizationName, type RgbImage } from '@distredge/zoo';

/** A model input with every dimension known. */
export interface ConcreteInput {
  readonly name?: string;
  readonly dtype: DataType;
  readonly shape: readonly number[];
}

/** How a model input takes a photo: the size to load it at, in pixels, and how its values lie. */
export interface ImageSlot {
  readonly dtype: 'float32' | 'uint8';
  readonly layout: ImageLayout;
  readonly channels: 1 | 3 | 4;
  readonly width: number;
  readonly height: number;
}

function isChannels(dim: number): dim is ImageSlot['channels'] {
  return dim === 1 || dim === 3 || dim === 4;
}

function refuse(input: ConcreteInput, expected: string, got: string): DistrEdgeError {
  return new DistrEdgeError('IMAGE_INVALID', 'this model input cannot take a photo', {
    where: input.name === undefined ? 'model input' : `model input '${input.name}'`,
    expected,
    got,
    hint: 'run the model on random input instead, or choose a model that takes a picture',
  });
}

/**
 * How the input takes a photo. Its shape is [1, C, H, W] (NCHW) or [1, H, W, C] (NHWC) with 1, 3 or 4 channels;
 * where both readings fit, it is NCHW, ONNX's own layout. Throws IMAGE_INVALID where neither fits, or where
 * the type is not float32 or uint8.
 */
export function imageSlot(input: ConcreteInput): ImageSlot {
  const { dtype, shape } = input;
  const shown = `[${shape.join(', ')}]`;
  if (dtype !== 'float32' && dtype !== 'uint8') throw refuse(input, 'float32 or uint8 values', dtype);
  const [batch, second, third, fourth, ...rest] = shape;
  if (second === undefined || third === undefined || fourth === undefined || rest.length > 0) {
    throw refuse(input, '4 dimensions, [1, C, H, W] or [1, H, W, C]', `${shape.length} dimensions, ${shown}`);
  }
  if (batch !== 1) throw refuse(input, 'a batch of 1', `a batch of ${batch}, ${shown}`);
  if (!shape.every((dim) => Number.isSafeInteger(dim) && dim > 0)) throw refuse(input, 'whole, positive sides', shown);
  if (isChannels(second)) return { dtype, layout: 'NCHW', channels: second, height: third, width: fourth };
  if (isChannels(fourth)) return { dtype, layout: 'NHWC', channels: fourth, height: second, width: third };
  throw refuse(input, '1, 3 or 4 channels as dimension 1 (NCHW) or 3 (NHWC)', shown);
}

/**
 * The tensor that feeds a photo to such an input; the picture has the slot's size already (`loadImage` with
 * `size`). Values of float32 are RGB scaled to 0..1 unless another normalisation is named; values of uint8 are
 * always the bytes, and luma is rounded. One channel is luma; a fourth channel is ones. Throws IMAGE_INVALID
 * where the size is not the slot's, USAGE where a normalisation other than `raw` is asked of uint8.
 */
export function tensorForImage(image: RgbImage, slot: ImageSlot, normalization?: NormalizationName): Tensor {
  if (image.width !== slot.width || image.height !== slot.height) {
    throw new DistrEdgeError('IMAGE_INVALID', "the picture does not have the model input's size", {
      expected: `${slot.width} × ${slot.height}`,
      got: `${image.width} × ${image.height}`,
      hint: 'load the picture at the size of the model input',
    });
  }
  const { dtype, layout, channels } = slot;
  if (dtype === 'uint8' && normalization !== undefined && normalization !== 'raw') {
    throw new DistrEdgeError('USAGE', 'a uint8 input takes the bytes of the picture as they are', {
      expected: "normalisation 'raw'",
      got: normalization,
      hint: 'leave the normalisation out',
    });
  }
  const rule = NORMALIZATIONS[normalization ?? (dtype === 'uint8' ? 'raw' : 'unit')];
  const tensor = imageTensor(image, { ...rule, layout, channels });
  return dtype === 'float32'
    ? tensor
    : { dtype, shape: tensor.shape, data: Uint8Array.from(floats(tensor), Math.round) };
}
