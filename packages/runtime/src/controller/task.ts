/** From what is known of devices and links to what a planner is asked: a planning task over the devices that can be planned for. */
import {
  type Analysis,
  CLUSTER_VERSION,
  type DeviceCosts,
  type Graph,
  type PlanningTask,
  type Profile,
  profileCosts,
  taskOf,
  type Workload,
  type WorkPlan,
} from '@distredge/core';
import { starOf } from './network.js';
import { type DeviceRecord, onlineDevices, type Registry } from './registry.js';

/** A model that a controller serves. */
export interface ServedModel {
  readonly name: string;
  readonly graph: Graph;
  readonly analysis: Analysis;
  readonly workload: Workload;
  /** What its profiles are found by. */
  readonly hash: string;
}

export interface Asked {
  readonly task: PlanningTask;
  /** Device ids, in the order of the task's devices. */
  readonly ids: readonly string[];
  /** Addresses of their providers. */
  readonly addresses: readonly string[];
}

/** The devices that are there and have a profile of the model, except for some. */
export function plannable(registry: Registry, hash: string, without: ReadonlySet<string>): DeviceRecord[] {
  return onlineDevices(registry).filter(({ id, profiles }) => profiles.has(hash) && !without.has(id));
}

/**
 * The task; undefined where there is no device to plan for. `pace` tells how much longer than its profile says a device takes
 * (1 where it is silent). A device whose profile does not fit the model is left out, and told to `unfit` with `PROFILE_INVALID`.
 */
export function askedOf(
  model: ServedModel,
  registry: Registry,
  without: ReadonlySet<string>,
  pace: ReadonlyMap<string, number>,
  unfit: (id: string, error: unknown) => void = () => undefined,
): Asked | undefined {
  const costs = new Map<string, DeviceCosts>();
  const devices = plannable(registry, model.hash, without).filter(({ id, profiles }) => {
    try {
      const own = profileCosts(model.workload, profiles.get(model.hash) as Profile, id);
      costs.set(id, paced(own, pace.get(id) ?? 1));
    } catch (error) {
      unfit(id, error);
    }
    return costs.has(id);
  });
  if (devices.length === 0) return undefined;
  const ids = devices.map(({ id }) => id);
  const { requester, devices: links } = starOf(ids, registry.links);
  const cluster = {
    version: CLUSTER_VERSION,
    medium: 'switched',
    requester: { mbps: requester.mbps, latency_ms: requester.latencyMs },
    devices: ids.map((id, index) => ({
      id,
      profile: id,
      mbps: links[index]?.mbps ?? 1,
      latency_ms: links[index]?.latencyMs ?? 0,
    })),
  } as const;
  const task = taskOf(model.workload, cluster, (id) => costs.get(id) as DeviceCosts);
  return { task, ids, addresses: devices.map(({ announcement }) => announcement?.address ?? '') };
}

/** The costs of a device that takes so many times as long as it was measured to. */
function paced(costs: DeviceCosts, factor: number): DeviceCosts {
  if (factor === 1) return costs;
  const slower = (table: Float64Array): Float64Array => table.map((ms) => ms * factor);
  return {
    ...costs,
    opMs: costs.opMs.map(slower),
    readMsPerByte: slower(costs.readMsPerByte),
    ...(costs.partMs === undefined ? {} : { partMs: costs.partMs * factor }),
    ...(costs.edgeMsPerByte === undefined ? {} : { edgeMsPerByte: slower(costs.edgeMsPerByte) }),
    headBeforeMs: costs.headBeforeMs * factor,
    headCutMs: slower(costs.headCutMs),
    headAfterMs: costs.headAfterMs * factor,
  };
}

/** The same plan, its devices by their places in another list; undefined where one with a place in it is not in that list. */
export function moved(work: WorkPlan, from: readonly string[], to: readonly string[]): WorkPlan | undefined {
  const places = from.map((id) => to.indexOf(id));
  const used = [
    ...work.volumes.flatMap((volume) =>
      'gather' in volume ? [volume.gather] : volume.parts.map(({ device }) => device),
    ),
    ...(typeof work.head === 'object'
      ? work.head.map(({ device }) => device)
      : work.head === undefined
        ? []
        : [work.head]),
  ];
  const placeOf = (device: number): number => places[device] ?? -1;
  if (used.some((device) => placeOf(device) < 0)) return undefined;
  const part = <T extends { readonly device: number }>(one: T): T => ({ ...one, device: placeOf(one.device) });
  const { order, head, volumes, schedule } = work;
  return {
    volumes: volumes.map((volume) =>
      'gather' in volume ? { gather: placeOf(volume.gather) } : { ...volume, parts: volume.parts.map(part) },
    ),
    ...(schedule === undefined ? {} : { schedule }),
    ...(order === undefined ? {} : { order: order.map(placeOf).filter((device) => device >= 0) }),
    ...(head === undefined ? {} : { head: typeof head === 'number' ? placeOf(head) : head.map(part) }),
  };
}
