/**
 * VoxelNet's convolutional middle layers and region proposal network, for cars: Zhou & Tuzel 2017, arXiv 1711.06396, sections
 * 2.1.2, 2.2 and 3.1. Input: the dense grid of voxel features, 128 × 10 × 400 × 352 (channels, height, length, width of the
 * scene); the point-wise layers before it are not convolutions. Rows run along the 400. Outputs: scores and offsets of two
 * anchors at each place. The paper publishes the layers but no counts; `counts.test.ts` adds them up by hand.
 */
import type { Architecture } from './build.js';
import type { ConvOptions, Layer, Size } from './layer.js';

/** Anchors at each place: two rotations. */
const ANCHORS = 2;

function unit(x: Layer, filters: number, kernel: Size, options: ConvOptions): Layer {
  return x
    .conv(filters, kernel, { ...options, bias: false })
    .batchNorm()
    .relu();
}

/** A block of the region proposal network: its first convolution halves the map. */
function block(x: Layer, filters: number, count: number): Layer {
  let y = unit(x, filters, 3, { stride: 2, pad: 1 });
  for (let index = 1; index < count; index++) y = unit(y, filters, 3, { pad: 1 });
  return y;
}

/** Enlarges a block's map to that of the first block. */
function enlarged(x: Layer, kernel: number, stride: number, pad: number): Layer {
  return x.deconv(256, kernel, stride, pad).batchNorm().relu();
}

export const voxelnet: Architecture = {
  title: 'VoxelNet, cars',
  source: 'Zhou & Tuzel 2017, arXiv 1711.06396',
  build(net) {
    const voxels = net.input('voxels', [1, 128, 10, 400, 352]);
    const middle1 = unit(voxels, 64, 3, { stride: [2, 1, 1], pad: [1, 1, 1] });
    const middle2 = unit(middle1, 64, 3, { pad: [0, 1, 1] });
    const middle3 = unit(middle2, 64, 3, { stride: [2, 1, 1], pad: [1, 1, 1] });
    const [, channels = 1, height = 1, length = 1, width = 1] = middle3.shape;
    const birdsEye = middle3.reshape([1, channels * height, length, width]);
    const block1 = block(birdsEye, 128, 4);
    const block2 = block(block1, 128, 6);
    const block3 = block(block2, 256, 6);
    const joined = net.concat([enlarged(block3, 4, 4, 0), enlarged(block2, 2, 2, 0), enlarged(block1, 3, 1, 1)]);
    net.output(joined.conv(ANCHORS, 1, { name: 'scores', gain: 1 }));
    net.output(joined.conv(7 * ANCHORS, 1, { name: 'offsets', gain: 1 }));
  },
};
