/** Every op family, by the op types it answers for. Supporting a new op is one entry here and its golden vectors. */
import type { Node } from '../graph/graph.js';
import { concat } from './concat.js';
import { conv } from './conv.js';
import { convTranspose } from './conv-transpose.js';
import { depthToSpace, spaceToDepth } from './depth-space.js';
import { expand, gather, gatherElements, tile } from './gather.js';
import { matmul } from './matmul.js';
import {
  batchNormalization,
  imageNormalization,
  layerNormalization,
  lpNormalization,
  lrn,
  meanVarianceNormalization,
} from './normalization.js';
import type { ChannelRule, OpFamily, OpView } from './op.js';
import { pad } from './pad.js';
import { pointwise } from './pointwise.js';
import { pool } from './pool.js';
import { quantize } from './quantize.js';
import { argExtreme, globalAveragePool, globalLpPool, globalMaxPool, reduce } from './reduce.js';
import { reshape } from './reshape.js';
import { resize } from './resize.js';
import { rowMoments } from './row-moments.js';
import { shapes, topK } from './shape.js';
import { slice, split } from './slice.js';
import { softmax } from './softmax.js';
import { transpose } from './transpose.js';

const FAMILIES: readonly OpFamily[] = [
  ...[conv, convTranspose, pool, quantize, pointwise, resize, pad, depthToSpace, spaceToDepth],
  ...[
    batchNormalization,
    layerNormalization,
    imageNormalization,
    meanVarianceNormalization,
    lpNormalization,
    lrn,
    rowMoments,
  ],
  ...[concat, slice, split, reshape, transpose, gather, gatherElements, expand, tile, shapes, topK],
  ...[reduce, argExtreme, globalAveragePool, globalMaxPool, globalLpPool, softmax, matmul],
];

const byType = new Map(FAMILIES.flatMap((family) => family.ops.map((op): [string, OpFamily] => [op, family])));

/** The family that answers for a node; undefined for ops that nothing here knows. */
export function familyOf(node: Pick<Node, 'op' | 'domain'>): OpFamily | undefined {
  return byType.get(node.domain === '' ? node.op : `${node.domain}:${node.op}`);
}

/** Whether and how runs of a node's output channels can be computed apart. */
export function channelsOf(view: OpView): ChannelRule | undefined {
  const sized = [...view.inputs, ...view.outputs].every((type) => type === undefined || type.shape !== undefined);
  return sized && view.outShape.length > 2 ? familyOf(view.node)?.channels?.(view) : undefined;
}

/** Every op type that a family answers for, those of other domains as `domain:Type`. */
export function knownOps(): string[] {
  return [...byType.keys()];
}
