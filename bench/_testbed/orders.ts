/** What the testbed says to its processes, and what they answer. Plain data, over the channel between parent and child. */
import type { Plan } from '@distredge/core';

/** How a member is told who it is: its only argument, as JSON. */
export interface MemberSettings {
  /** 0 is the requester, device i is i + 1. */
  readonly member: number;
  /** The access point's socket; undefined where links are shared freely. */
  readonly accessPoint?: string;
  /** Whether engines wait for the time of another device; otherwise they take what they take. */
  readonly paced: boolean;
}

/** What a member must do. Every order is answered by a `Done` or a `Failed` with its number. */
export type Order =
  /** How long steps take on this device, by number in the program, and messages from each member; model times, ms. */
  | {
      readonly kind: 'pace';
      readonly stepMs: Readonly<Record<number, number>>;
      readonly latencyMs: readonly number[];
      /** Whether images are computed once and then only paced. */
      readonly reuse: boolean;
    }
  /** From now on times are those of the model, multiplied by this; 0: nothing waits. */
  | { readonly kind: 'dilate'; readonly dilation: number }
  /** The requester: connects the devices for a plan and runs one image, which is compared with the unsplit model's result. */
  | {
      readonly kind: 'prepare';
      /** What the plan is called by, of those that are prepared at the same time. */
      readonly slot: number;
      readonly model: string;
      readonly plan: Plan;
      readonly addresses: readonly string[];
      readonly requestMs: number;
    }
  /** The requester: runs images one after another on the plan in slot 0. */
  | { readonly kind: 'measure'; readonly images: number }
  /** The requester: runs images one after another until it is halted; the next ones on the plan in this slot. */
  | { readonly kind: 'stream'; readonly slot: number }
  | { readonly kind: 'halt' }
  /** The requester: disconnects from all plans. */
  | { readonly kind: 'release' }
  /** A device: how often, and by how much at most, computing took longer than it may; and begins to count anew. */
  | { readonly kind: 'lateness' };

export interface Prepared {
  /** Largest difference to the unsplit model, as a share of the range of its results. */
  readonly difference: number;
}

export interface Measured {
  /** Each image, in ms as waited. */
  readonly ms: readonly number[];
  /** As above, the largest of all images. */
  readonly difference: number;
  /** Of the last image: when steps ran and messages arrived, ms as waited, by number in the program. */
  readonly steps: readonly { readonly step: number; readonly start: number; readonly end: number }[];
  readonly messages: readonly { readonly message: number; readonly arrived: number }[];
}

export interface Streamed {
  /** When each image began and ended, in ms since the first began, as waited; and on which plan. */
  readonly images: readonly { readonly began: number; readonly ended: number; readonly slot: number }[];
  readonly difference: number;
}

export interface Lateness {
  readonly times: number;
  readonly worstMs: number;
}

export type Asked = { readonly id: number; readonly order: Order };
export type Answer =
  | { readonly ready: string }
  | { readonly id: number; readonly done: unknown }
  | { readonly id: number; readonly failed: Readonly<Record<string, string>> };
