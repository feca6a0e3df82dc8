/**
 * One plan, prepared on its devices, from the switch to it until the last of its images is done. An image runs in one generation
 * from beginning to end, so plans never mix.
 */
import type { Plan, SimulatedRun, Tensor, WorkPlan } from '@distredge/core';
import type { Cluster } from '../requester.js';
import type { RunProgress, RunTrace } from '../run-timeline.js';
import { Pace } from '../straggler.js';

export type Tensors = Readonly<Record<string, Tensor>>;

export interface GenerationFacts {
  /** Counts up from 1. */
  readonly number: number;
  /** Device ids; the plan names devices by their place among these. */
  readonly ids: readonly string[];
  readonly work: WorkPlan;
  readonly plan: Plan;
  /** What the simulator said when the plan was chosen. */
  readonly predicted: SimulatedRun;
  readonly cluster: Cluster;
}

export class Generation {
  readonly facts: GenerationFacts;
  /** What images take on it. */
  readonly pace: Pace = new Pace();
  /** When it came into force, in ms of this process's clock. */
  readonly since: number = performance.now();
  /** Images that this generation has answered. */
  images = 0;
  #inFlight = 0;
  #retired = false;
  /** Whether its cluster stays ready when its last image is done. */
  #kept = false;
  #closed: Promise<void> | undefined;
  /** Those of the images under way who want to hear that a better plan has replaced it. */
  readonly #hearing = new Set<(ms: number) => void>();

  constructor(facts: GenerationFacts) {
    this.facts = facts;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Whether no image begins here any more. */
  get retired(): boolean {
    return this.#retired;
  }

  /** Whether it has ended, or its cluster is somebody else's. */
  get closed(): boolean {
    return this.#closed !== undefined;
  }

  /** A better plan is in force: images take so many ms here by now, and those under way may be begun again there. */
  supersede(ms: number): void {
    for (const call of [...this.#hearing]) call(ms);
  }

  /** Has called when it is superseded, with how many ms images take on it by now; until the returned function is called. */
  onSuperseded(call: (ms: number) => void): () => void {
    this.#hearing.add(call);
    return () => this.#hearing.delete(call);
  }

  /** Whether a device takes part in it. */
  uses(id: string): boolean {
    const index = this.facts.ids.indexOf(id);
    return this.facts.cluster.program.steps.some(({ device }) => device === index);
  }

  /** Ids of the devices that take part in it. */
  get devices(): string[] {
    return this.facts.ids.filter((id) => this.uses(id));
  }

  async infer(inputs: Tensors): Promise<{ readonly outputs: Tensors; readonly ms: number }> {
    this.#inFlight += 1;
    const start = performance.now();
    try {
      const outputs = await this.facts.cluster.infer(inputs);
      this.images += 1;
      return { outputs, ms: performance.now() - start };
    } finally {
      this.#inFlight -= 1;
      if (this.#retired && !this.#kept && this.#inFlight === 0) void this.close();
    }
  }

  /** The timeline of the last image; undefined while others are under way, or where the devices do not tell. */
  async trace(): Promise<RunTrace | undefined> {
    if (this.#inFlight > 0 || this.#closed !== undefined) return undefined;
    return this.facts.cluster.trace().catch(() => undefined);
  }

  /** How far the image under way has come, as devices tell within so many ms; undefined where none is, or others are, too. */
  async progress(ms: number): Promise<RunProgress | undefined> {
    if (this.#inFlight !== 1 || this.#closed !== undefined) return undefined;
    return this.facts.cluster.progress(ms).catch(() => undefined);
  }

  /** No image begins here any more; those under way are finished. */
  retire(): void {
    this.#retired = true;
    this.#kept = false;
    if (this.#inFlight === 0) void this.close();
  }

  /** As `retire`, but its cluster stays ready, until it is closed or handed on. */
  keep(): void {
    this.#retired = true;
    this.#kept = true;
  }

  /** Its cluster is somebody else's from now on. */
  handOn(): void {
    this.#closed ??= Promise.resolve();
  }

  /** Ends it; images under way fail. */
  close(): Promise<void> {
    this.#closed ??= this.facts.cluster.close();
    return this.#closed;
  }
}
