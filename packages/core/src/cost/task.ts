/** What a plan is made for and judged by: a workload, what each device takes for it, and the network between them. */
import type { PlanGather, PlanPart } from '../plan/plan.js';
import type { Workload } from './workload.js';

/** What one device takes for the ops of a workload. Times in milliseconds. */
export interface DeviceCosts {
  readonly id: string;
  /** Hard limit on weights + rows read and owned by its largest part, in bytes; Infinity where unknown. */
  readonly memoryBytes: number;
  /** For each op, the time to make r rows, r = 0 … rows; opMs[op][0] is 0. */
  readonly opMs: readonly Float64Array[];
  /** For each op, further time per byte of rows read, for ops bound by memory rather than by arithmetic. */
  readonly readMsPerByte: Float64Array;
  /** What a part takes beyond its ops: to be started. Not for the head. Default 0. */
  readonly partMs?: number;
  /**
   * For each tensor, what a part takes per byte of its rows that it reads from outside or owns afterwards: copies and changes
   * of layout at a part's edges, which ops inside one part spare each other. Not for the head. Default 0.
   */
  readonly edgeMsPerByte?: Float64Array;
  /** Head ops before the one that can be cut, together. */
  readonly headBeforeMs: number;
  /** The fully connected layer of the head with n output channels, n = 0 … channels; empty where there is none. */
  readonly headCutMs: Float64Array;
  readonly headAfterMs: number;
}

export interface NetworkLink {
  /** 10⁶ bit/s, each way. */
  readonly mbps: number;
  /** Delays a message without occupying anything; between two ends the larger counts. */
  readonly latencyMs: number;
}

/** A star: every device and the requester hang on one switch or access point. */
export interface Network {
  /** `shared`: the whole medium carries one message at a time (Wi-Fi). */
  readonly medium: 'switched' | 'shared';
  readonly requester: NetworkLink;
  readonly devices: readonly NetworkLink[];
}

export interface PlanningTask {
  readonly workload: Workload;
  readonly costs: readonly DeviceCosts[];
  readonly network: Network;
}

/** Ops up to and including op `end`, the rows of whose first output are tiled by the parts. */
export interface WorkVolume {
  readonly end: number;
  readonly parts: readonly PlanPart[];
}

/** A plan by indices: what planners make and the simulator reads. `toPlan` and `fromPlan` translate to the `Plan` artifact. */
export interface WorkPlan {
  readonly volumes: readonly (WorkVolume | PlanGather)[];
  readonly schedule?: readonly (readonly [number, number])[];
  readonly order?: readonly number[];
  readonly head?: number | readonly PlanPart[];
}

/** One thing that happened in a simulated run: a device computed a part, or a message was on its way. Times in ms. */
export type SimulatedEvent =
  | {
      readonly kind: 'compute';
      readonly device: number;
      /** Index in the plan's volumes; their number for the head. */
      readonly volume: number;
      readonly part: number;
      /** When all rows it needs had arrived. */
      readonly ready: number;
      readonly start: number;
      readonly end: number;
    }
  | {
      readonly kind: 'message';
      /** -1 is the requester. */
      readonly from: number;
      readonly to: number;
      /** Volume whose parts need it; the number of volumes for the head, one more for the requester's results. */
      readonly volume: number;
      readonly bytes: number;
      readonly issued: number;
      /** When it began to occupy the links. */
      readonly start: number;
      /** When it stopped occupying them. */
      readonly sent: number;
      readonly arrived: number;
    };

export interface SimulatedRun {
  readonly latencyMs: number;
  readonly events: readonly SimulatedEvent[];
  /** Per device, the bytes it needs at most. */
  readonly memoryBytes: readonly number[];
}

/** For how long one image occupies every device and link, in ms. */
export interface PlanLoads {
  readonly computeMs: Float64Array;
  /** Per device, then the requester: what it sends. */
  readonly uplinkMs: Float64Array;
  /** Per device, then the requester: what it receives. */
  readonly downlinkMs: Float64Array;
  /** The whole medium; 0 where it is not shared. */
  readonly mediumMs: number;
  /** The largest of them all: no stream of images can be faster than one in this time. */
  readonly periodMs: number;
}

/** Simulates plans for one task. Implementations must agree to 1e-9 relative. */
export interface PlanSimulator {
  readonly task: PlanningTask;
  /**
   * End-to-end latency of one image in ms; Infinity where a device's memory does not suffice. Throws `PLAN_INVALID` for a plan that cannot run.
   * @param bound a plan that takes at least this long need not be simulated to its end: the answer is exact below it, otherwise the latency or Infinity
   */
  latency(plan: WorkPlan, bound?: number): number;
  /** Busy times of one image, whether memory suffices or not. Throws as `latency` does. */
  loads(plan: WorkPlan): PlanLoads;
  /**
   * Says that the plans asked for from now on are like this one: volumes that they share with it, the very same values, need not
   * be read again. Its volumes must not be changed until another plan is kept. Answers do not depend on it.
   */
  keep?(plan: WorkPlan): void;
  /** The same run with all its events. */
  run(plan: WorkPlan): SimulatedRun;
}
