/**
 * ResNet-50: He et al. 2015, arXiv 1512.03385, with the stride on the 3×3 convolution of a block (torchvision's "v1.5").
 * Input 224×224. Published: 25,557,032 parameters and 4.09 G multiply-adds, thus 8.18 GFLOP (torchvision, `resnet50`
 * weights). Statistics of batch normalisations do not count as parameters.
 */
import type { Architecture } from './build.js';
import type { Layer } from './layer.js';

/** Scale of the last normalisation of a block: below 1, so that what the shortcuts add up stays small. */
const BRANCH_SCALE = 0.5;

function bottleneck(x: Layer, width: number, stride: number): Layer {
  const bare = { bias: false } as const;
  const narrow = x.conv(width, 1, bare).batchNorm().relu();
  const spatial = narrow
    .conv(width, 3, { ...bare, pad: 1, stride })
    .batchNorm()
    .relu();
  const branch = spatial.conv(4 * width, 1, bare).batchNorm(1e-5, BRANCH_SCALE);
  const same = x.channels === 4 * width && stride === 1;
  const shortcut = same ? x : x.conv(4 * width, 1, { ...bare, stride, gain: 1 }).batchNorm();
  return branch.add(shortcut).relu();
}

/** A stage of the network (`conv2_x` … `conv5_x`): its first block has the stride. */
export function resnetStage(x: Layer, width: number, blocks: number, stride: number): Layer {
  let y = bottleneck(x, width, stride);
  for (let block = 1; block < blocks; block++) y = bottleneck(y, width, 1);
  return y;
}

/** From the image to the end of `conv3_x`. */
export function resnetFront(image: Layer): Layer {
  const conv1 = image.conv(64, 7, { stride: 2, pad: 3, bias: false }).batchNorm().relu();
  const conv2 = resnetStage(conv1.maxPool(3, 2, { pad: 1 }), 64, 3, 1);
  return resnetStage(conv2, 128, 4, 2);
}

export const resnet50: Architecture = {
  title: 'ResNet-50',
  source: 'He et al. 2015, arXiv 1512.03385',
  build(net) {
    const conv3 = resnetFront(net.input('image', [1, 3, 224, 224]));
    const conv4 = resnetStage(conv3, 256, 6, 2);
    const conv5 = resnetStage(conv4, 512, 3, 2);
    net.output(conv5.globalAveragePool().flatten().linear(1000, { name: 'logits', gain: 1 }));
  },
};
