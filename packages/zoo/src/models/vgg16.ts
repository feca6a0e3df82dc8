/**
 * VGG-16: Simonyan & Zisserman 2015, arXiv 1409.1556, configuration D. Input 224×224.
 * Published: 138,357,544 parameters and 15.47 G multiply-adds, thus 30.9 GFLOP (torchvision, `vgg16` weights).
 */
import type { Architecture } from './build.js';
import type { Layer } from './layer.js';

/** Convolutions of 3×3 with a ReLU each, named as in the Caffe models: `conv3_1`, `conv3_2`, … */
export function vggBlock(x: Layer, block: number, filters: number, count: number): Layer {
  let y = x;
  for (let index = 1; index <= count; index++) y = y.conv(filters, 3, { pad: 1, name: `conv${block}_${index}` }).relu();
  return y;
}

export const vgg16: Architecture = {
  title: 'VGG-16',
  source: 'Simonyan & Zisserman 2015, arXiv 1409.1556',
  build(net) {
    const image = net.input('image', [1, 3, 224, 224]);
    const pool1 = vggBlock(image, 1, 64, 2).maxPool(2, 2);
    const pool2 = vggBlock(pool1, 2, 128, 2).maxPool(2, 2);
    const pool3 = vggBlock(pool2, 3, 256, 3).maxPool(2, 2);
    const pool4 = vggBlock(pool3, 4, 512, 3).maxPool(2, 2);
    const pool5 = vggBlock(pool4, 5, 512, 3).maxPool(2, 2);
    const fc6 = pool5.flatten().linear(4096, { name: 'fc6' }).relu();
    const fc7 = fc6.linear(4096, { name: 'fc7' }).relu();
    net.output(fc7.linear(1000, { name: 'logits', gain: 1 }));
  },
};
