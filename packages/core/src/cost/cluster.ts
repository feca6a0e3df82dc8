/**
 * The `Cluster` artifact: the devices, what kind each is, and how they hang on the network; and files of scenarios, which
 * pair clusters with models. A device is a `type` (of the file's `types` or one that is built in) or has a measured `profile`.
 */
import * as z from 'zod';
import { DistrEdgeError } from '../errors.js';
import { type DeviceModelSpec, deviceModelCosts } from './device-model.js';
import { DEVICE_TYPES } from './device-types.js';
import type { DeviceCosts, Network, NetworkLink, PlanningTask } from './task.js';
import type { Workload } from './workload.js';

export const CLUSTER_VERSION = 1;
/** As many as a plan may have. */
const MAX_DEVICES = 1024;
/** A day. */
const MAX_LATENCY_MS = 86_400_000;

const text: z.ZodString = z.string().min(1).max(4096);
const rate: z.ZodNumber = z.number().positive().max(1e9);
const count: z.ZodNumber = z
  .int()
  .min(1)
  .max(1 << 20);

const link = { mbps: rate, latency_ms: z.number().min(0).max(MAX_LATENCY_MS) };
const numbers = {
  gflops: rate,
  launch_us: z.number().min(0).max(1e9),
  mem_gbps: rate,
  memory_mb: rate,
};
const modelSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('cpu'), cores: count, ...numbers }),
  z.strictObject({ kind: z.literal('gpu'), slots: count, tile: z.tuple([count, count]), ...numbers }),
]);
const typesSchema = z.record(text, modelSchema);

const clusterSchema = z.strictObject({
  version: z.literal(CLUSTER_VERSION).default(CLUSTER_VERSION),
  name: text.optional(),
  medium: z.enum(['switched', 'shared']),
  requester: z.strictObject(link),
  devices: z
    .array(z.strictObject({ id: text, type: text.optional(), profile: text.optional(), ...link }))
    .min(1)
    .max(MAX_DEVICES),
  types: typesSchema.optional(),
});

const scenariosSchema = z.strictObject({
  version: z.literal(CLUSTER_VERSION),
  devices: typesSchema,
  scenarios: z
    .array(
      z.strictObject({
        id: text,
        model: text,
        cluster: clusterSchema,
        trace_mbps: z.array(z.array(rate).min(1).max(1_000_000)).min(1).max(MAX_DEVICES).optional(),
      }),
    )
    .max(10_000),
});

/** A full-duplex link to the access point. */
export interface ClusterLink {
  /** 10⁶ bit/s, each way. */
  readonly mbps: number;
  /** Between two ends the larger counts. */
  readonly latency_ms: number;
}

export interface ClusterDevice extends ClusterLink {
  /** Unique in the cluster. */
  readonly id: string;
  /** A device model by name. Exactly one of `type` and `profile` is given. */
  readonly type?: string;
  /** Where the measured profile is: for the command line, a file beside the cluster's. */
  readonly profile?: string;
}

export interface Cluster {
  readonly version: typeof CLUSTER_VERSION;
  readonly name?: string;
  /** `shared`: the whole medium carries one message at a time (Wi-Fi). */
  readonly medium: 'switched' | 'shared';
  readonly requester: ClusterLink;
  readonly devices: readonly ClusterDevice[];
  /** Device models by name, beside the built-in ones and before them. */
  readonly types?: Readonly<Record<string, DeviceModelSpec>>;
}

export interface Scenario {
  readonly id: string;
  /** A network of the zoo by name. */
  readonly model: string;
  /** Its `types` are those of the file. */
  readonly cluster: Cluster;
  /** For each device, its rate in every second. */
  readonly trace_mbps?: readonly (readonly number[])[];
}

/** Costs of a device that has a measured profile. */
export type ResolveCosts = (profile: string, device: ClusterDevice, workload: Workload) => DeviceCosts;

/** Checks a cluster that came from a file. Throws `CLUSTER_INVALID` with the place. */
export function parseCluster(value: unknown): Cluster {
  const cluster = parsed(clusterSchema, value, 'cluster') as Cluster;
  checkDevices(cluster, 'cluster');
  return cluster;
}

/** Checks a file of scenarios. Throws `CLUSTER_INVALID` with the place. */
export function parseScenarios(value: unknown): Scenario[] {
  const file = parsed(scenariosSchema, value, 'scenarios') as {
    devices: Readonly<Record<string, DeviceModelSpec>>;
    scenarios: Scenario[];
  };
  const known = new Set<string>();
  return file.scenarios.map((scenario, index) => {
    const where = `scenarios.${index} ('${scenario.id}')`;
    if (known.has(scenario.id)) throw clusterError('a scenario is given twice', where);
    known.add(scenario.id);
    const cluster = { ...scenario.cluster, types: { ...file.devices, ...scenario.cluster.types } };
    checkDevices(cluster, `${where}.cluster`);
    checkTrace(scenario, where);
    return { ...scenario, cluster };
  });
}

function parsed(schema: z.ZodType, value: unknown, name: string): unknown {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const path = issue?.path ?? [];
  const got = path.reduce<unknown>(
    (at, key) => (typeof at === 'object' && at !== null ? (at as Record<PropertyKey, unknown>)[key] : undefined),
    value,
  );
  const shown = typeof got === 'object' && got !== null ? {} : { got: got === undefined ? 'nothing' : `${got}` };
  throw clusterError(issue?.message ?? 'not a cluster', [name, ...path].join('.'), shown);
}

function checkDevices({ devices, types }: Cluster, where: string): void {
  const known = new Set<string>();
  devices.forEach(({ id, type, profile }, index) => {
    const at = `${where}.devices.${index} ('${id}')`;
    if (known.has(id)) throw clusterError('two devices have the same id', at, { expected: 'another id' });
    known.add(id);
    if ((type === undefined) === (profile === undefined)) {
      throw clusterError('a device has either a type or a profile', at, {
        expected: 'one of type and profile',
        got: type === undefined ? 'neither' : 'both',
      });
    }
    if (type !== undefined && modelOf(type, types) === undefined) {
      throw clusterError('a device has a type that is not known', at, {
        expected: `one of ${[...new Set([...Object.keys(types ?? {}), ...Object.keys(DEVICE_TYPES)])].join(', ')}`,
        got: `'${type}'`,
        hint: 'describe it under "types", or measure the device and give its "profile"',
      });
    }
  });
}

function checkTrace({ trace_mbps, cluster }: Scenario, where: string): void {
  if (trace_mbps === undefined) return;
  const [first = []] = trace_mbps;
  if (trace_mbps.length !== cluster.devices.length || trace_mbps.some((rates) => rates.length !== first.length)) {
    throw clusterError('the trace does not give every device a rate in every second', `${where}.trace_mbps`, {
      expected: `${cluster.devices.length} lists of one length`,
      got: `${trace_mbps.length} of ${[...new Set(trace_mbps.map(({ length }) => length))].join(', ')} rates`,
    });
  }
}

/** A file may call a type as it likes, so only what it says itself counts. */
function modelOf(type: string, types: Cluster['types']): DeviceModelSpec | undefined {
  for (const known of [types ?? {}, DEVICE_TYPES]) if (Object.hasOwn(known, type)) return known[type];
  return undefined;
}

/** The network that a cluster hangs on. */
export function networkOf({ medium, requester, devices }: Cluster): Network {
  const linkOf = ({ mbps, latency_ms }: ClusterLink): NetworkLink => ({ mbps, latencyMs: latency_ms });
  return { medium, requester: linkOf(requester), devices: devices.map(linkOf) };
}

/** What a plan is made for. Throws `CLUSTER_INVALID` for a device whose costs nobody can tell. */
export function taskOf(workload: Workload, cluster: Cluster, resolve?: ResolveCosts): PlanningTask {
  const costs = cluster.devices.map((device): DeviceCosts => {
    const { id, type, profile } = device;
    if (profile !== undefined && resolve !== undefined) return resolve(profile, device, workload);
    const model = type === undefined ? undefined : modelOf(type, cluster.types);
    if (model !== undefined) return deviceModelCosts(workload, model, id);
    throw clusterError('nothing tells what a device takes', `device '${id}'`, {
      expected: profile === undefined ? 'a known type' : 'a way to read profiles',
      got: `${profile ?? type}`,
    });
  });
  return { workload, costs, network: networkOf(cluster) };
}

function clusterError(
  message: string,
  where: string,
  facts: { expected?: string; got?: string; hint?: string } = {},
): DistrEdgeError {
  return new DistrEdgeError('CLUSTER_INVALID', message, { where, ...facts });
}
