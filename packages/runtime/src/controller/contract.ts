/** What a controller is given, what it answers, and what can be asked of it. */
import type { Analysis, Graph, PlanningTask, Workload, WorkPlan } from '@distredge/core';
import type { Transport } from '../link/link.js';
import type { Identity } from '../security/index.js';
import type { Images, StreamOptions, StreamResult } from '../stream.js';
import type { Endpoint } from './bus.js';
import type { ControllerEvent } from './events.js';
import type { Tensors } from './generation.js';
import type { DeviceRecord, Registry } from './registry.js';

/**
 * Finds a plan. `urgent`: images wait for it, or are slower than they need be. `start`: plans that are good to begin with. `signal` is
 * aborted when the plan is not wanted any more: it is not waited for then, and the next one may be asked for at once.
 */
export type PlanFunction = (
  task: PlanningTask,
  options: { readonly urgent: boolean; readonly start: readonly WorkPlan[]; readonly signal: AbortSignal },
) => Promise<WorkPlan>;

export interface ControllerOptions {
  readonly cluster: string;
  /** Where the broker inside the controller listens; or an external broker. */
  readonly broker: { readonly listen: string } | { readonly endpoint: Endpoint };
  /** The controller's; without one nothing leaves this machine. */
  readonly identity?: Identity | undefined;
  /** Of data links. */
  readonly transport: Transport;
  /** What is served; without a model the controller keeps the registry only. `bytes`: the ModelProto, to be handed out without its weights. */
  readonly model?:
    | {
        readonly name: string;
        readonly bytes: Uint8Array;
        readonly graph: Graph;
        readonly analysis: Analysis;
        readonly workload: Workload;
        readonly shapes?: Readonly<Record<string, readonly number[]>> | undefined;
        readonly size?: { readonly height: number; readonly width: number } | undefined;
      }
    | undefined;
  readonly plan: PlanFunction;
  /** Runs an image on this machine, unsplit: the last resort. */
  readonly whole: (inputs: Tensors) => Promise<Tensors>;
  readonly software: string;
  /** How long a device measures a model. Default: that of `measureProfile`. */
  readonly profileMs?: number | undefined;
  /** One link. Default 10000 ms. */
  readonly linkMs?: number | undefined;
  /** Loading a plan's models, on the slowest device. Default 300000 ms. */
  readonly prepareMs?: number | undefined;
  /** One image on one plan. Default 20000 ms. */
  readonly requestMs?: number | undefined;
  /** A provider that does not answer for so long is lost. Default 2000 ms. */
  readonly silenceMs?: number | undefined;
  /** Images that may be under way at once. Default 1: the least memory on the devices. */
  readonly inFlight?: number | undefined;
  readonly keepaliveS?: number | undefined;
  /** Share by which a new plan must be faster. Default 0.03. */
  readonly margin?: number | undefined;
  /** Change that counts as drift, and images that a judgement takes. Defaults 0.25 and 5. */
  readonly drift?: { readonly threshold?: number; readonly window?: number } | undefined;
  /**
   * For so many of the busiest devices, a plan that does without them is prepared ahead of time, at the price of memory for its rows.
   * Default 3.
   */
  readonly standbys?: number | undefined;
  /** Whether an image that is late is begun again whole, where that is expected to be sooner. Default true. */
  readonly overtake?: boolean | undefined;
  readonly onEvent?: ((event: ControllerEvent) => void) | undefined;
  /** What the broker and hostile messages had refused, for logs. */
  readonly log?: ((line: string) => void) | undefined;
}

export interface Inferred {
  readonly outputs: Tensors;
  readonly ms: number;
  /** Number of the plan that the image was finished on; 0: whole on this machine. */
  readonly generation: number;
}

export interface Controller {
  /** Where devices join; empty with an external broker. */
  readonly address: string;
  /** The plan in force. */
  readonly generation:
    | { readonly number: number; readonly devices: readonly string[]; readonly predictedMs: number }
    | undefined;
  /** All devices that ever announced themselves and are not forgotten. */
  devices(): readonly DeviceRecord[];
  readonly registry: Registry;
  /**
   * Answers one image, by the devices or, where they fail, whole on this machine. Rejects with `DEADLINE` after `deadlineMs`
   * (default 60000), with `SHAPE_MISMATCH` for wrong inputs, and with what `whole` rejects with.
   */
  infer(inputs: Tensors, options?: { readonly deadlineMs?: number }): Promise<Inferred>;
  /** Answers a stream of images, in their order. Each is finished as `infer` finishes it. */
  stream(images: Images, options?: StreamOptions): AsyncGenerator<StreamResult, void, undefined>;
  /** Resolves once at least so many devices are measured and a plan for them is in force; at once for 0. Rejects with `DEADLINE`. */
  ready(devices: number, deadlineMs: number): Promise<void>;
  close(): Promise<void>;
}
