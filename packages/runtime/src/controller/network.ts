/**
 * From links between pairs to the star that planners think in: every device and the requester hang on one switch, each by a
 * link of its own; between two ends the slower rate and the longer latency count.
 */

import { linkKey, type Registry } from './registry.js';
import { CONTROLLER } from './topics.js';

/** One end's link to the switch. */
export interface StarLink {
  /** 10⁶ bit/s. */
  readonly mbps: number;
  readonly latencyMs: number;
}

export interface Star {
  readonly requester: StarLink;
  /** In the order of the ids. */
  readonly devices: readonly StarLink[];
}

/** What a link is taken for that nobody has measured: a plain local network. */
export const UNMEASURED: StarLink = { mbps: 1000, latencyMs: 0.2 };

/**
 * The star that explains the measured pairs: an end is as fast as its fastest pair and as quick as its quickest. Where a star
 * is what there is, it gives every pair back as measured. An end without any measured pair is taken for `UNMEASURED`.
 */
export function starOf(ids: readonly string[], links: Registry['links']): Star {
  const ends = [CONTROLLER, ...ids];
  const linkOf = (end: string): StarLink => {
    const pairs = ends.flatMap((other) => (other === end ? [] : (links.get(linkKey(end, other)) ?? [])));
    if (pairs.length === 0) return UNMEASURED;
    return {
      mbps: Math.max(...pairs.map(({ mbps }) => mbps)),
      latencyMs: Math.min(...pairs.map(({ latencyMs }) => latencyMs)),
    };
  };
  return { requester: linkOf(CONTROLLER), devices: ids.map(linkOf) };
}

/**
 * The pairs to be measured so that `starOf` knows every end, not all n²: each device with the controller, and round a ring of
 * the devices, so that a slow link of the controller does not hide how fast devices are among each other.
 */
export function pairsToMeasure(ids: readonly string[]): (readonly [string, string])[] {
  const spokes = ids.map((id) => [CONTROLLER, id] as const);
  const ring = ids.flatMap((id, index) => {
    const next = ids[(index + 1) % ids.length];
    return next === undefined || next === id || (ids.length === 2 && index === 1) ? [] : [[id, next] as const];
  });
  return [...spokes, ...ring];
}
