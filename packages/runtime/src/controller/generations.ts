/**
 * The plan in force and its successors: one generation at a time takes new images, and the one before ends with the last image
 * that began in it. A switch is one assignment, between two images.
 */
import type { Plan, SimulatedRun, WorkPlan } from '@distredge/core';
import type { Cluster } from '../requester.js';
import type { Context } from './context.js';
import type { PlanMade, PlanReason } from './events.js';
import { Generation } from './generation.js';
import { encode, MESSAGE_VERSION } from './messages.js';
import { isOnline } from './registry.js';

/** A plan that is ready on its devices. */
export interface Prepared {
  readonly ids: readonly string[];
  readonly work: WorkPlan;
  readonly plan: Plan;
  readonly predicted: SimulatedRun;
  readonly cluster: Cluster;
}

export interface GenerationTerms {
  /** A plan is in force. */
  switched(generation: Generation): void;
  /** Another plan has taken over from one that works: it is to be retired, or kept. */
  replaced(generation: Generation): void;
  /** The plan in force is so no more, and another one is due. */
  abandoned(reason: PlanReason): void;
  /** A device failed. */
  suspect(id: string): void;
}

export class Generations {
  readonly #context: Context;
  readonly #terms: GenerationTerms;
  #current: Generation | undefined;
  /** Those that may have images under way: the one in force, and those before. */
  readonly #open = new Set<Generation>();
  /** By cluster, the last one that it had. */
  readonly #on = new WeakMap<Cluster, Generation>();
  #count = 0;

  constructor(context: Context, terms: GenerationTerms) {
    this.#context = context;
    this.#terms = terms;
  }

  /** The plan in force. */
  get current(): Generation | undefined {
    return this.#current;
  }

  /** Plans that were in force so far. */
  get count(): number {
    return this.#count;
  }

  /** Puts a plan in force, from the next image on. */
  switchTo(prepared: Prepared, made: PlanMade): Generation {
    const context = this.#context;
    const generation = new Generation({ ...prepared, number: ++this.#count });
    const before = this.#current;
    this.#current = generation;
    this.#on.set(prepared.cluster, generation);
    if (before !== undefined) this.#terms.replaced(before);
    for (const one of this.#open) if (one.closed) this.#open.delete(one);
    this.#open.add(generation);
    this.#terms.switched(generation);
    const { number, predicted, plan, ids } = generation.facts;
    const { devices } = generation;
    context.tell({ type: 'plan', generation: number, devices, predictedMs: predicted.latencyMs, ...made });
    try {
      const message = {
        version: MESSAGE_VERSION,
        generation: number,
        devices: ids,
        predictedMs: predicted.latencyMs,
        plan,
      };
      context.directory.state({ kind: 'plan' }, encode('plan', message));
    } catch (error) {
      // A plan too large for the broker runs all the same.
      context.problem(error);
    }
    // A device of the plan may have gone while it was prepared.
    const gone = devices.find((id) => {
      const device = context.registry.devices.get(id);
      return device === undefined || !isOnline(device);
    });
    if (gone !== undefined) this.abandon(generation, 'lost');
    context.wake();
    return generation;
  }

  /** No image begins on this plan any more; those under way may end there. */
  abandon(generation: Generation, reason: PlanReason): void {
    generation.retire();
    // Of several images that fail together, the first one has seen to it.
    if (this.#current !== generation) return;
    this.#current = undefined;
    this.#terms.abandoned(reason);
  }

  /** A cluster has failed; nothing to do where no plan of it was in force yet. */
  failed(cluster: Cluster, error: Error): void {
    const generation = this.#on.get(cluster);
    if (generation !== undefined) this.giveUp(generation, error);
  }

  /** A plan failed: its devices are planned for anew, without those that are to blame. */
  giveUp(generation: Generation, error: unknown): void {
    const { cluster, ids } = generation.facts;
    const current = this.#current;
    if (!this.#context.closed) {
      // Also those of a plan that was replaced meanwhile: they are as lost for the next one.
      const lost = [...cluster.lost].flatMap((index) => ids[index] ?? []);
      for (const id of lost) this.#terms.suspect(id);
      if (current === generation && generation.inFlight === 0) this.#context.problem(error);
      if (current !== undefined && current !== generation && lost.some((id) => current.uses(id)))
        this.abandon(current, 'failed');
    }
    this.abandon(generation, 'failed');
    void generation.close();
  }

  /** There is nobody to plan for. */
  clear(): void {
    const current = this.#current;
    this.#current = undefined;
    current?.retire();
  }

  /** Images under way fail. */
  async close(): Promise<void> {
    this.#current = undefined;
    await Promise.all([...this.#open].map((generation) => generation.close()));
    this.#open.clear();
  }
}
