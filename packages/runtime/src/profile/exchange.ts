/**
 * Measures what an exchange of rows costs providers that compute meanwhile: not only the way of the bytes, but also handing
 * rows over, being woken, and waiting for the one that is a little late this time. A network whose layers all take the same
 * time is divided evenly; whatever a device does not compute between two of its layers is the exchange.
 */
import { analyse, compile, floatTensor, loadGraph, type Program, planByRule } from '@distredge/core';
import { convolutionChain } from '../engine/convolution-chain.js';
import type { Transport } from '../link/link.js';
import { median } from '../median.js';
import { connect } from '../requester.js';
import type { RunTrace } from '../run-timeline.js';
import type { LinkFigures } from './link.js';

export interface ExchangeOptions {
  readonly transport: Transport;
  /** Of the providers; the first two are used. They should be equal, with a core of their own each. */
  readonly addresses: readonly string[];
  /** How fast bytes travel between them, in 10⁶ bit/s. */
  readonly mbps: number;
  /** Images that count, after half as many to warm up. Default 40: about three seconds. */
  readonly images?: number;
}

/** Layers of the network: as many exchanges, less one. */
const LAYERS = 12;
/** As in the middle of a classifier: a layer takes a core one or two milliseconds. */
const CHANNELS = 64;
const ROWS = 56;

/**
 * The link between two providers as their exchanges have it. Rejects as `connect` and `infer` do. Fewer than two providers
 * exchange nothing: `latencyMs` is 0.
 */
export async function measureExchange({
  transport,
  addresses,
  mbps,
  images = 40,
}: ExchangeOptions): Promise<LinkFigures> {
  if (addresses.length < 2) return { mbps, latencyMs: 0 };
  const program = layers();
  const cluster = await connect(program, { transport, addresses: addresses.slice(0, 2) });
  try {
    const image = { x: floatTensor(new Float32Array(CHANNELS * ROWS * ROWS), [1, CHANNELS, ROWS, ROWS]) };
    const idle: number[] = [];
    for (let done = -Math.floor(images / 2); done < images; done++) {
      await cluster.infer(image);
      if (done >= 0) idle.push(...idleTimes(program, await cluster.trace()));
    }
    const sentMs = (CHANNELS * ROWS * 4 * 8) / (mbps * 1000);
    return { mbps, latencyMs: Math.max(0, median(idle) - sentMs) };
  } finally {
    await cluster.close();
  }
}

/** For each device, the mean time between two of its steps of one image, in ms. */
export function idleTimes({ steps: all }: Pick<Program, 'steps'>, { steps }: Pick<RunTrace, 'steps'>): number[] {
  const byDevice = new Map<number, { start: number; end: number }[]>();
  for (const { step, start, end } of steps) {
    const device = all[step]?.device ?? -1;
    byDevice.set(device, [...(byDevice.get(device) ?? []), { start, end }]);
  }
  return [...byDevice.values()].flatMap((own) => {
    if (own.length < 2) return [];
    const sorted = [...own].sort((a, b) => a.start - b.start);
    const gaps = sorted.slice(1).map(({ start }, index) => start - (sorted[index]?.end ?? start));
    return [gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length];
  });
}

/** Equal convolutions one behind another, each a volume of its own, cut in halves. */
function layers(): Program {
  const graph = loadGraph(convolutionChain({ layers: LAYERS, channels: CHANNELS, rows: ROWS, weight: 0 }));
  const analysis = analyse(graph);
  return compile(graph, planByRule(analysis, { volumes: 'layers', weights: [1, 1] }), analysis);
}
