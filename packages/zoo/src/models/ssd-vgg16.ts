/**
 * SSD300 with VGG-16, for the 20 classes of Pascal VOC: Liu et al. 2016, arXiv 1512.02325. The classifier's fc6 and fc7 are
 * a dilated and a 1×1 convolution, conv4_3 is normalised to a learned length of 20, and four pairs of convolutions go down
 * to one pixel. Input 300×300. Published: 26,285,486 parameters (the Caffe model; 26.285 M in the Open Model Zoo) and
 * 62.815 GFLOP (Open Model Zoo, `ssd300`).
 */
import type { Architecture } from './build.js';
import type { Layer } from './layer.js';
import { ssdHeads } from './ssd-heads.js';
import { vggBlock } from './vgg16.js';

/** 20 classes and the background. */
const CLASSES = 21;

/** A 1×1 convolution, and a 3×3 one that makes the next map. */
function extra(
  x: Layer,
  block: number,
  filters: number,
  options: { readonly stride?: number; readonly pad?: number },
): Layer {
  const narrow = x.conv(filters / 2, 1, { name: `conv${block}_1` }).relu();
  return narrow.conv(filters, 3, { ...options, name: `conv${block}_2` }).relu();
}

export const ssdVgg16: Architecture = {
  title: 'SSD300, VGG-16',
  source: 'Liu et al. 2016, arXiv 1512.02325',
  build(net) {
    const pool1 = vggBlock(net.input('image', [1, 3, 300, 300]), 1, 64, 2).maxPool(2, 2);
    const pool2 = vggBlock(pool1, 2, 128, 2).maxPool(2, 2);
    const pool3 = vggBlock(pool2, 3, 256, 3).maxPool(2, 2, { ceil: true });
    const conv4 = vggBlock(pool3, 4, 512, 3);
    const pool5 = vggBlock(conv4.maxPool(2, 2), 5, 512, 3).maxPool(3, 1, { pad: 1 });
    const fc6 = pool5.conv(1024, 3, { pad: 6, dilation: 6, name: 'fc6' }).relu();
    const fc7 = fc6.conv(1024, 1, { name: 'fc7' }).relu();
    const conv8 = extra(fc7, 8, 512, { stride: 2, pad: 1 });
    const conv9 = extra(conv8, 9, 256, { stride: 2, pad: 1 });
    const conv10 = extra(conv9, 10, 256, {});
    const conv11 = extra(conv10, 11, 256, {});
    ssdHeads(net, [conv4.l2Norm(20), fc7, conv8, conv9, conv10, conv11], CLASSES);
  },
};
