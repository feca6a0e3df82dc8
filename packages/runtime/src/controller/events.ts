/** What a controller tells whoever runs it. Everything that is not as planned is told, so nothing falls back silently. */
import type { DistrEdgeError } from '@distredge/core';

/** Why a plan was made. */
export type PlanReason = 'joined' | 'lost' | 'failed' | 'measured' | 'drift';

/** How a plan came about. */
export interface PlanMade {
  readonly reason: PlanReason;
  /** From the reason to the switch, in ms: measuring, planning, loading. */
  readonly tookMs: number;
  /** Of that, what the planner took, and what compiling the plan and preparing its devices took, in ms; 0 for a plan that stood by. */
  readonly planMs: number;
  readonly prepareMs: number;
}

export type ControllerEvent =
  | { readonly type: 'device'; readonly id: string; readonly name: string; readonly change: 'joined' | 'left' | 'lost' }
  | { readonly type: 'profiled'; readonly id: string }
  | {
      readonly type: 'link';
      readonly from: string;
      readonly to: string;
      readonly mbps: number;
      readonly latencyMs: number;
    }
  /** A plan is in force from the next image on. `devices` are those with work. */
  | (PlanMade & {
      readonly type: 'plan';
      readonly generation: number;
      readonly devices: readonly string[];
      readonly predictedMs: number;
    })
  /** A plan that does without a device is ready on `devices`, in case that one is lost or becomes slow. */
  | {
      readonly type: 'standby';
      readonly without: string;
      readonly devices: readonly string[];
      readonly predictedMs: number;
    }
  /** A better plan was found, but not so much better that a switch would pay. */
  | { readonly type: 'kept'; readonly generation: number; readonly runningMs: number; readonly bestMs: number }
  /** An image could not be finished as planned: it is finished by another plan, or whole on this machine. */
  | { readonly type: 'fallback'; readonly to: 'plan' | 'whole'; readonly error: DistrEdgeError }
  /**
   * An image is late, and is begun again, because that is expected to be sooner: whole on this machine, or on another plan that is in
   * force by now. `ids` are the devices whose results are missing; it has taken `ms`, where images take `expectedMs`.
   */
  | {
      readonly type: 'late';
      readonly generation: number;
      readonly ids: readonly string[];
      readonly ms: number;
      readonly expectedMs: number;
      readonly to: 'plan' | 'whole';
    }
  /** An image that was begun again is done: where it was (`first`), or where it was begun again. */
  | { readonly type: 'raced'; readonly generation: number; readonly by: 'first' | 'second'; readonly ms: number }
  | {
      readonly type: 'drift';
      readonly generation: number;
      readonly what: 'compute' | 'network';
      readonly factor: number;
      readonly id?: string;
    }
  | { readonly type: 'broker'; readonly connected: boolean }
  /** Something went wrong in the background; images go on. `held`: so many before it were not told, for there were too many. */
  | { readonly type: 'problem'; readonly error: DistrEdgeError; readonly held?: number };
