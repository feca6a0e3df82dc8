/**
 * Groups of devices in the manner of the DistrEdge paper: unequal types (D*), unequal links (N*), sixteen devices (L*), and
 * links that change every second. All hang on one switch; the requester's link is as fast as the fastest of theirs.
 */
import { CLUSTER_VERSION, type Cluster, type Scenario } from '@distredge/core';

const LATENCY_MS = 1;
/** Slowest and fastest rate of changing links, and how much they change in a second at most, Mbit/s. */
const SLOWEST = 40;
const FASTEST = 100;
const CHANGE = 20;

/** Devices by type, with the rates of their links in Mbit/s; one rate for all, or one for each. */
export function cluster(name: string, types: readonly string[], mbps: number | readonly number[]): Cluster {
  const rates = types.map((_, device) => (typeof mbps === 'number' ? mbps : (mbps[device] as number)));
  return {
    version: CLUSTER_VERSION,
    name,
    medium: 'switched',
    requester: { mbps: Math.max(...rates), latency_ms: LATENCY_MS },
    devices: types.map((type, device) => ({
      id: `${type}-${device}`,
      type,
      mbps: rates[device] as number,
      latency_ms: LATENCY_MS,
    })),
  };
}

const times = (count: number, type: string): string[] => new Array<string>(count).fill(type);

/** Unequal device types. */
export const TYPES: Readonly<Record<string, readonly string[]>> = {
  DA: ['pi4', 'pi4', 'nano', 'nano'],
  DB: ['xavier', 'xavier', 'nano', 'nano'],
  DC: ['xavier', 'tx2', 'nano', 'pi4'],
  DD: ['tx2', 'tx2', 'nano', 'nano'],
};

/** Unequal links. */
export const LINKS: readonly Cluster[] = [
  cluster('NA', times(4, 'nano'), [50, 50, 200, 200]),
  cluster('NB', times(4, 'nano'), [100, 100, 200, 200]),
  cluster('NC', times(4, 'tx2'), [200, 200, 300, 300]),
  cluster('ND', times(4, 'pi4'), [50, 100, 200, 300]),
];

/** Sixteen devices. */
export const LARGE: readonly Cluster[] = [
  cluster(
    'LA',
    ['pi3', 'pi4', 'nano', 'tx2'].flatMap((type) => times(4, type)),
    times(4, '').flatMap(() => [50, 100, 200, 300]),
  ),
  cluster('LB', times(16, 'pi4'), 200),
  cluster(
    'LC',
    [...times(12, 'nano'), ...times(4, 'xavier')],
    [...new Array<number>(8).fill(50), ...new Array<number>(8).fill(300)],
  ),
  cluster('LD', times(16, 'nano'), 100),
];

/** A cluster whose devices' rates wander; the requester's stays. The trace depends on the seed alone. */
export function changing(
  name: string,
  model: string,
  types: readonly string[],
  seconds: number,
  seed: number,
): Scenario {
  let state = seed >>> 0;
  const random = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  const trace = types.map(() => {
    let rate = SLOWEST + (FASTEST - SLOWEST) * random();
    return Array.from({ length: seconds }, () => {
      rate = Math.min(FASTEST, Math.max(SLOWEST, rate + CHANGE * (2 * random() - 1)));
      return Math.round(10 * rate) / 10;
    });
  });
  return { id: `${name}/${model}`, model, cluster: cluster(name, types, FASTEST), trace_mbps: trace };
}
