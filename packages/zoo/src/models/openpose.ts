/**
 * OpenPose's body model for COCO: Cao et al. 2017, arXiv 1611.08050, as in CMU's `pose_deploy_linevec.prototxt`: the first ten
 * convolutions of VGG-19, two more, and six stages of two branches, one for part affinity fields and one for confidence
 * maps. Input 368×656, the default of CMU's program. Published: 52,311,446 parameters (torch summaries of ports of
 * CMU's model, whose file is 209 MB). No count of work at this size is published; `counts.test.ts` adds it up by hand.
 */
import type { Architecture, Net } from './build.js';
import type { Layer } from './layer.js';
import { vggBlock } from './vgg16.js';

/** x and y of 19 limbs. */
const FIELDS = 38;
/** 18 body parts and the background. */
const PARTS = 19;

const conv3 = (x: Layer, filters: number): Layer => x.conv(filters, 3, { pad: 1 }).relu();

function firstBranch(features: Layer, outputs: number): Layer {
  const y = conv3(conv3(conv3(features, 128), 128), 128)
    .conv(512, 1)
    .relu();
  return y.conv(outputs, 1, { gain: 1 });
}

function laterBranch(x: Layer, outputs: number, name?: string): Layer {
  let y = x;
  for (let index = 0; index < 5; index++) y = y.conv(128, 7, { pad: 3 }).relu();
  y = y.conv(128, 1).relu();
  return y.conv(outputs, 1, { gain: 1, ...(name === undefined ? {} : { name }) });
}

/** Both branches read what the stage before found, beside the features. */
function stage(net: Net, found: readonly Layer[], features: Layer, names: readonly string[] = []): Layer[] {
  const x = net.concat([...found, features]);
  return [laterBranch(x, FIELDS, names[0]), laterBranch(x, PARTS, names[1])];
}

export const openpose: Architecture = {
  title: 'OpenPose, COCO body',
  source: 'Cao et al. 2017, arXiv 1611.08050',
  build(net) {
    const pool1 = vggBlock(net.input('image', [1, 3, 368, 656]), 1, 64, 2).maxPool(2, 2);
    const pool2 = vggBlock(pool1, 2, 128, 2).maxPool(2, 2);
    const pool3 = vggBlock(pool2, 3, 256, 4).maxPool(2, 2);
    const features = conv3(conv3(vggBlock(pool3, 4, 512, 2), 256), 128);
    let found = [firstBranch(features, FIELDS), firstBranch(features, PARTS)];
    for (let index = 2; index < 6; index++) found = stage(net, found, features);
    net.output(...stage(net, found, features, ['fields', 'parts']));
  },
};
