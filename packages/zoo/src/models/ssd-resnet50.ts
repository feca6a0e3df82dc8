/**
 * SSD300 with ResNet-50, for the 80 classes of COCO: NVIDIA's SSD300 v1.1 (DeepLearningExamples, PyTorch/Detection/SSD),
 * after Huang et al. 2016, arXiv 1611.10012: ResNet-50 to the end of conv4_x, which does not halve the map, and five pairs of
 * convolutions. Input 300×300. NVIDIA publishes the layers but no counts; `counts.test.ts` adds them up by hand.
 */
import type { Architecture } from './build.js';
import type { Layer } from './layer.js';
import { resnetFront, resnetStage } from './resnet50.js';
import { ssdHeads } from './ssd-heads.js';

/** 80 classes and the background. */
const CLASSES = 81;

/** A 1×1 convolution, and a 3×3 one that makes the next map, with batch normalisation each. */
function extra(
  x: Layer,
  narrow: number,
  filters: number,
  options: { readonly stride?: number; readonly pad?: number },
): Layer {
  const first = x.conv(narrow, 1, { bias: false }).batchNorm().relu();
  return first
    .conv(filters, 3, { ...options, bias: false })
    .batchNorm()
    .relu();
}

export const ssdResnet50: Architecture = {
  title: 'SSD300, ResNet-50',
  source: 'NVIDIA SSD300 v1.1; Liu et al. 2016, arXiv 1512.02325',
  build(net) {
    const conv3 = resnetFront(net.input('image', [1, 3, 300, 300]));
    const conv4 = resnetStage(conv3, 256, 6, 1);
    const halving = { stride: 2, pad: 1 };
    const map2 = extra(conv4, 256, 512, halving);
    const map3 = extra(map2, 256, 512, halving);
    const map4 = extra(map3, 128, 256, halving);
    const map5 = extra(map4, 128, 256, {});
    const map6 = extra(map5, 128, 256, {});
    ssdHeads(net, [conv4, map2, map3, map4, map5, map6], CLASSES);
  },
};
