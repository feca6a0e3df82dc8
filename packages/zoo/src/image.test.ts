import { floats } from '@distredge/core';
import { describe, expect, it } from 'vitest';
import { type ImageSpec, imageTensor, NORMALIZATIONS, type RgbImage } from './image.js';

/** 3 × 2 pixels whose eighteen bytes all differ. */
const image: RgbImage = { width: 3, height: 2, data: Uint8Array.from({ length: 18 }, (_, at) => at * 10) };
const raw: Pick<ImageSpec, 'scale' | 'mean' | 'std'> = NORMALIZATIONS.raw;

describe('imageTensor', () => {
  it('puts channels first for NCHW', () => {
    const tensor = imageTensor(image, { ...raw, layout: 'NCHW', channels: 3 });
    expect(tensor.shape).toEqual([1, 3, 2, 3]);
    expect([...floats(tensor)]).toEqual([
      ...[0, 30, 60, 90, 120, 150],
      ...[10, 40, 70, 100, 130, 160],
      ...[20, 50, 80, 110, 140, 170],
    ]);
  });

  it('keeps channels last for NHWC, with a fourth channel of ones that is not normalised', () => {
    const tensor = imageTensor(image, { layout: 'NHWC', channels: 4, scale: 0.1, mean: [1, 2, 3], std: [2, 1, 0.5] });
    expect(tensor.shape).toEqual([1, 2, 3, 4]);
    expect([...floats(tensor).slice(0, 8)]).toEqual([-0.5, -1, -2, 1, 1, 2, 4, 1]);
  });

  it('puts the fourth channel last for NCHW', () => {
    const values = floats(imageTensor(image, { ...raw, layout: 'NCHW', channels: 4 }));
    expect([...values.slice(18)]).toEqual([1, 1, 1, 1, 1, 1]);
    expect(values[17]).toBe(170);
  });

  it('scales bytes to 0..1, both ends exactly', () => {
    const ends = { width: 1, height: 1, data: Uint8Array.of(0, 255, 51) };
    const values = floats(imageTensor(ends, { ...NORMALIZATIONS.unit, layout: 'NCHW', channels: 3 }));
    expect([...values]).toEqual([0, 1, Math.fround(0.2)]);
  });

  it('applies the ImageNet statistics channel by channel', () => {
    const pixel = { width: 1, height: 1, data: Uint8Array.of(255, 0, 128) };
    const values = floats(imageTensor(pixel, { ...NORMALIZATIONS.imagenet, layout: 'NCHW', channels: 3 }));
    const golden = [2.2489082969, -2.0357142857, 0.4264923747];
    for (const [channel, value] of golden.entries()) expect(values[channel]).toBeCloseTo(value, 6);
  });

  it('makes one channel by BT.601 luma', () => {
    const colours = { width: 4, height: 1, data: Uint8Array.of(255, 0, 0, 0, 255, 0, 0, 0, 255, 200, 200, 200) };
    const tensor = imageTensor(colours, { ...raw, layout: 'NHWC', channels: 1 });
    expect(tensor.shape).toEqual([1, 1, 4, 1]);
    for (const [at, value] of [76.245, 149.685, 29.07, 200].entries()) {
      expect(floats(tensor)[at]).toBeCloseTo(value, 4);
    }
  });

  it.each([
    ['bytes missing', { width: 3, height: 2, data: new Uint8Array(17) }],
    ['no width', { width: 0, height: 2, data: new Uint8Array(0) }],
    ['half a pixel', { width: 1.5, height: 2, data: new Uint8Array(9) }],
  ])('refuses a picture with %s', (_, bad) => {
    const convert = (): unknown => imageTensor(bad, { ...raw, layout: 'NCHW', channels: 3 });
    expect(convert).toThrowError(expect.objectContaining({ code: 'IMAGE_INVALID' }));
  });
});
