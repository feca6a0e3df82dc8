/** The heads of an SSD: Liu et al. 2016, arXiv 1512.02325, section 2. */
import type { Net } from './build.js';
import type { Layer } from './layer.js';

/** Default boxes at each place of the six maps of SSD300. */
const BOXES = [4, 6, 6, 6, 4, 4];

/**
 * Two 3×3 convolutions on every map: offsets of the boxes (`loc_1` …) and scores of the classes, the background's
 * included (`conf_1` …). Each stays a map and is an output; choosing boxes is not part of the network.
 */
export function ssdHeads(net: Net, maps: readonly Layer[], classes: number): void {
  maps.forEach((map, index) => {
    const boxes = BOXES[index] ?? 4;
    const head = (name: string, filters: number): Layer =>
      map.conv(boxes * filters, 3, { pad: 1, gain: 1, name: `${name}_${index + 1}` });
    net.output(head('loc', 4), head('conf', classes));
  });
}
