/**
 * A plan's volumes become **stages**: runs of nodes between two exchanges. A volume is one stage, unless something in it
 * must be exchanged: a stage ends before the first node that reads a combined result of a `global` op of the stage, and
 * around every `island`. Stages of one volume share its parts; every tensor is cut at the same fraction of its height.
 */

import { reads, typeOf } from '../graph/graph.js';
import type { LocalRule } from '../ops/op.js';
import { isGather, type PlanPart, planError, type RowPlan } from '../plan/plan.js';
import { type Analysis, type PlacedNode, rowsOf } from '../rows/analysis.js';
import { firstFullyConnected, leavesOf } from '../rows/dependence.js';
import { type Range, share } from '../rows/range.js';

export interface StagePart {
  readonly device: number;
  /** Rows of the volume's end tensor; with `Stage.height`, the fraction of everything else. */
  readonly range: Range;
  /** Index in the plan's list of parts. */
  readonly index: number;
}

export interface Stage {
  readonly kind: 'rows' | 'island' | 'gather' | 'channels' | 'head';
  /** Index in the plan's volumes; `plan.volumes.length` for the head. */
  readonly volume: number;
  readonly nodes: readonly PlacedNode[];
  readonly height: number;
  /** Non-empty parts only. */
  readonly parts: readonly StagePart[];
  /** Only for `channels`: the fully connected layer cut by output channels. */
  readonly cut?: { readonly placed: PlacedNode; readonly rule: LocalRule };
}

/** The rows of a value that belong to a part. */
export function ownShare(analysis: Analysis, stage: Stage, part: StagePart, name: string): Range {
  return share(part.range, stage.height, rowsOf(analysis, name));
}

/** Lowers a plan to stages. Throws `PLAN_INVALID` where the plan does not fit the model. */
export function stagesOf(analysis: Analysis, plan: RowPlan): Stage[] {
  const { sequence } = analysis;
  const position = new Map(
    sequence.flatMap(({ node }, index) => node.outputs.map((name): [string, number] => [name, index])),
  );
  const stages: Stage[] = [];
  let start = 0;
  const lastVolume = plan.volumes.findLastIndex((volume) => !isGather(volume));
  plan.volumes.forEach((volume, index) => {
    if (isGather(volume)) {
      const parts = [{ device: volume.gather, range: { from: 0, to: 1 }, index: 0 }];
      stages.push({ kind: 'gather', volume: index, nodes: [], height: 1, parts });
      return;
    }
    const where = `volumes.${index}`;
    const end = position.get(volume.end);
    if (end === undefined || !analysis.axes.has(volume.end)) {
      throw planError('a volume ends at a tensor that cannot be cut by rows', where, {
        expected: 'the name of a tensor of the divided part of the model (see `inspect`)',
        got: `'${volume.end}'`,
        hint: 'is this a plan for another model?',
      });
    }
    if (end < start)
      throw planError('the volumes are not in the order of the model', where, { got: `'${volume.end}'` });
    const height = rowsOf(analysis, volume.end);
    const covered = Math.max(...volume.parts.map((part) => part.to));
    if (covered !== height) {
      throw planError('the parts do not cover the rows of the volume', where, {
        expected: `rows 0 to ${height}`,
        got: `0 to ${covered}`,
      });
    }
    const stop = index === lastVolume ? sequence.length : end + 1;
    const parts = volume.parts.flatMap(({ device, from, to }, at): StagePart[] =>
      to > from ? [{ device, range: { from, to }, index: at }] : [],
    );
    stages.push(...divide(analysis, sequence.slice(start, stop), { volume: index, height, parts }));
    start = stop;
  });
  if (start < sequence.length) {
    throw planError('the volumes do not reach the end of the divided part of the model', 'volumes', {
      expected: `a volume that ends at '${sequence.at(-1)?.node.outputs[0]}'`,
      got: 'none',
    });
  }
  stages.push(...headStages(analysis, plan, stages));
  return stages;
}

function divide(
  analysis: Analysis,
  nodes: readonly PlacedNode[],
  base: Pick<Stage, 'volume' | 'height' | 'parts'>,
): Stage[] {
  const stages: Stage[] = [];
  let run: PlacedNode[] = [];
  const pending = new Set<string>();
  const flush = (): void => {
    if (run.length > 0) stages.push({ kind: 'rows', ...base, nodes: run });
    run = [];
    pending.clear();
  };
  for (const placed of nodes) {
    const { node, kind } = placed;
    if (kind === 'island') {
      flush();
      const largest = base.parts.reduce((a, b) => (b.range.to - b.range.from > a.range.to - a.range.from ? b : a));
      const only = { device: largest.device, range: { from: 0, to: base.height }, index: largest.index };
      stages.push({ kind: 'island', ...base, nodes: [placed], parts: [only] });
      continue;
    }
    const waits = reads(node).some((name) => [...leavesOf(analysis, name)].some((leaf) => pending.has(leaf)));
    if (waits) flush();
    run.push(placed);
    if (kind === 'global') for (const name of node.outputs) pending.add(name);
  }
  flush();
  return stages;
}

/** The head: whole on one device, or its first fully connected layer cut by output channels. */
function headStages(analysis: Analysis, plan: RowPlan, before: readonly Stage[]): Stage[] {
  const { head, graph, axes } = analysis;
  if (head.length === 0 && graph.outputs.every((name) => axes.has(name))) return [];
  const base = { volume: plan.volumes.length, height: 1 };
  const one = (device: number): StagePart[] => [{ device, range: { from: 0, to: 1 }, index: 0 }];
  if (plan.head === undefined || typeof plan.head === 'number') {
    const device = plan.head ?? largestDevice(before);
    return [{ kind: 'head', ...base, nodes: head, parts: one(device) }];
  }
  const entries = plan.head.flatMap((part, index) => (part.to > part.from ? [{ ...part, index }] : []));
  const first = plan.head[0] as PlanPart;
  const cut = firstFullyConnected(analysis);
  if (cut === undefined) {
    throw planError(
      'the head cannot be cut by output channels: it has no fully connected layer with constant weights',
      'head',
    );
  }
  const channels = typeOf(graph, cut.placed.node.outputs[0] ?? '').shape?.at(-1) ?? 0;
  const ordered = [...entries].sort((a, b) => a.from - b.from);
  const tiles =
    ordered.every((part, index) => part.from === (ordered[index - 1]?.to ?? 0)) && ordered.at(-1)?.to === channels;
  if (!tiles)
    throw planError('the head parts do not tile the output channels', 'head', {
      expected: `channels 0 to ${channels}`,
    });
  const parts = entries.map(({ device, from, to, index }): StagePart => ({ device, range: { from, to }, index }));
  const ancestors = ancestorsIn(head, cut.placed);
  const rest = head.filter((placed) => placed !== cut.placed);
  return [
    { kind: 'channels', volume: base.volume, nodes: ancestors, height: channels, parts, cut },
    { kind: 'head', ...base, nodes: rest, parts: one(first.device) },
  ];
}

function largestDevice(stages: readonly Stage[]): number {
  const last = stages.findLast(({ parts }) => parts.length > 0);
  const rows = new Map<number, number>();
  for (const { device, range } of last?.parts ?? []) rows.set(device, (rows.get(device) ?? 0) + range.to - range.from);
  return [...rows].reduce((a, b) => (b[1] > a[1] ? b : a), [0, 0])[0];
}

function ancestorsIn(nodes: readonly PlacedNode[], target: PlacedNode): PlacedNode[] {
  const needed = new Set(reads(target.node));
  const found: PlacedNode[] = [];
  for (const placed of [...nodes].reverse()) {
    if (placed === target || !placed.node.outputs.some((name) => needed.has(name))) continue;
    found.push(placed);
    for (const name of reads(placed.node)) needed.add(name);
  }
  return found.reverse();
}
