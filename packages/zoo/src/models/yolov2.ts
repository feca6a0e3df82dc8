/**
 * YOLOv2 for COCO: Redmon & Farhadi 2016, arXiv 1612.08242, as in Darknet's `yolov2.cfg`: Darknet-19 without its classifier,
 * a passthrough of the 26×26 map, and 425 channels for 5 boxes of 80 classes. Input 416×416, output before the boxes are
 * decoded. Published: 50,983,561 numbers in `yolov2.weights`, statistics of batch normalisations included, and 29.5 BFLOPs
 * (Darknet's own count: a multiplication and an addition are two).
 */
import type { Architecture } from './build.js';
import type { Layer } from './layer.js';

const SLOPE = 0.1;
/** He's gain for a leaky ReLU. */
const GAIN = 2 / (1 + SLOPE ** 2);

function unit(x: Layer, filters: number, kernel: number): Layer {
  return x
    .conv(filters, kernel, { pad: (kernel - 1) / 2, bias: false, gain: GAIN })
    .batchNorm()
    .leakyRelu(SLOPE);
}

/** 3×3 convolutions with 1×1 ones of half as many filters between them. */
function alternating(x: Layer, filters: number, count: number): Layer {
  let y = x;
  for (let index = 0; index < count; index++) y = index % 2 === 0 ? unit(y, filters, 3) : unit(y, filters / 2, 1);
  return y;
}

export const yolov2: Architecture = {
  title: 'YOLOv2',
  source: 'Redmon & Farhadi 2016, arXiv 1612.08242; yolov2.cfg of Darknet',
  build(net) {
    const stem = unit(unit(net.input('image', [1, 3, 416, 416]), 32, 3).maxPool(2, 2), 64, 3).maxPool(2, 2);
    const fine = alternating(alternating(alternating(stem, 128, 3).maxPool(2, 2), 256, 3).maxPool(2, 2), 512, 5);
    const coarse = unit(unit(alternating(fine.maxPool(2, 2), 1024, 5), 1024, 3), 1024, 3);
    const passthrough = unit(fine, 64, 1).spaceToDepth(2);
    const joined = unit(net.concat([passthrough, coarse]), 1024, 3);
    net.output(joined.conv(425, 1, { name: 'detections', gain: 1 }));
  },
};
