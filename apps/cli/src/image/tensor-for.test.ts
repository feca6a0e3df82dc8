import { type DataType, floats } from '@distredge/core';
import type { RgbImage } from '@distredge/zoo';
import { describe, expect, it } from 'vitest';
import { imageSlot, tensorForImage } from './tensor-for.js';

describe('imageSlot', () => {
  it.each([
    [[1, 3, 224, 320], { layout: 'NCHW', channels: 3, height: 224, width: 320 }],
    [[1, 1, 28, 20], { layout: 'NCHW', channels: 1, height: 28, width: 20 }],
    [[1, 512, 500, 4], { layout: 'NHWC', channels: 4, height: 512, width: 500 }],
    [[1, 28, 20, 1], { layout: 'NHWC', channels: 1, height: 28, width: 20 }],
    // Both readings fit: ONNX's own layout wins.
    [[1, 3, 7, 3], { layout: 'NCHW', channels: 3, height: 7, width: 3 }],
  ])('reads %j', (shape, slot) => {
    expect(imageSlot({ dtype: 'float32', shape })).toEqual({ dtype: 'float32', ...slot });
  });

  it.each<[string, DataType, number[], string]>([
    ['3 dimensions', 'float32', [3, 224, 224], '3 dimensions, [3, 224, 224]'],
    ['5 dimensions', 'float32', [1, 3, 4, 5, 6], '5 dimensions, [1, 3, 4, 5, 6]'],
    ['2 channels', 'float32', [1, 2, 224, 224], '[1, 2, 224, 224]'],
    ['a batch', 'float32', [2, 3, 224, 224], 'a batch of 2, [2, 3, 224, 224]'],
    ['no rows', 'float32', [1, 3, 0, 224], '[1, 3, 0, 224]'],
    ['another type', 'int64', [1, 3, 224, 224], 'int64'],
  ])('refuses %s and says so', (_, dtype, shape, got) => {
    const facts = { code: 'IMAGE_INVALID', where: "model input 'x'", got };
    expect(() => imageSlot({ name: 'x', dtype, shape })).toThrowError(expect.objectContaining(facts));
  });
});

describe('tensorForImage', () => {
  const image: RgbImage = { width: 2, height: 1, data: Uint8Array.of(0, 51, 255, 102, 204, 153) };
  const slot = imageSlot({ dtype: 'float32', shape: [1, 3, 1, 2] });

  it('scales RGB to 0..1 unless told otherwise', () => {
    const tensor = tensorForImage(image, slot);
    expect(tensor.shape).toEqual([1, 3, 1, 2]);
    expect([...floats(tensor)]).toEqual([0, 0.4, 0.2, 0.8, 1, 0.6].map(Math.fround));
    expect([...floats(tensorForImage(image, slot, 'raw'))]).toEqual([0, 102, 51, 204, 255, 153]);
    expect(floats(tensorForImage(image, slot, 'imagenet'))[0]).toBeCloseTo(-0.485 / 0.229, 6);
  });

  it('gives the bytes to uint8 inputs, luma rounded, and refuses to normalise them', () => {
    const tall: RgbImage = { width: 1, height: 2, data: image.data };
    const bytes = tensorForImage(tall, imageSlot({ dtype: 'uint8', shape: [1, 2, 1, 3] }));
    expect(bytes).toEqual({ dtype: 'uint8', shape: [1, 2, 1, 3], data: image.data });
    const grey = imageSlot({ dtype: 'uint8', shape: [1, 1, 1, 2] });
    expect([...tensorForImage(image, grey).data]).toEqual([59, 168]);
    expect(() => tensorForImage(image, grey, 'unit')).toThrowError(expect.objectContaining({ code: 'USAGE' }));
  });

  it('refuses a picture of another size', () => {
    const turned = { ...image, width: 1, height: 2 };
    const facts = { code: 'IMAGE_INVALID', expected: '2 × 1', got: '1 × 2' };
    expect(() => tensorForImage(turned, slot)).toThrowError(expect.objectContaining(facts));
  });
});
