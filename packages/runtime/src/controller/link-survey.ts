/**
 * Which links are measured when: those that a new device brings along, all of them when rows are late, those of a device that is
 * taken back, and now and then those that carry nothing. One at a time: side by side, measurements would disturb each other.
 */
import type { Context } from './context.js';
import type { Generation } from './generation.js';
import { SLOWER } from './links.js';
import { pairsToMeasure } from './network.js';
import { linkKey } from './registry.js';
import { plannable } from './task.js';
import { CONTROLLER } from './topics.js';

/** Links between devices with a profile: those never measured, all, or all of one device. */
export type Which = 'new' | 'all' | { readonly of: string };

/** How many links were measured, and how many could not be. */
export interface Surveyed {
  readonly measured: number;
  readonly failed: number;
}

/** What one measurement is given where nothing else is said. */
const LINK_MS = 10_000;
/** What a glance at one is given. */
const GLANCE_DEADLINE_MS = 1000;
/** On top of what one measurement is given, for its order and answer. */
const ORDER_MS = 2000;
/** How often links that carry nothing are looked at, and by which factor they must have changed. */
const REFRESH_MS = 15_000;
const REFRESH_CHANGE = 1.3;

export interface IdleTerms {
  /** The plan in force. */
  current(): Generation | undefined;
  /** Whether a device is being measured. */
  isBusy(id: string): boolean;
  /** The links of a device without work were measured; whether they are not what they were. */
  looked(id: string, differs: boolean): void;
}

export class LinkSurvey {
  readonly #context: Context;
  #last: Promise<Surveyed> = Promise.resolve({ measured: 0, failed: 0 });
  #refreshing = false;
  #timer: NodeJS.Timeout | undefined;

  readonly #slower: () => void;

  /** @param slower called when a link was measured that is much slower than known: nobody should wait for the others */
  constructor(context: Context, slower: () => void) {
    this.#context = context;
    this.#slower = slower;
  }

  /** Measures links, after all that is being measured already. Never rejects: what goes wrong is told. */
  measure(which: Which): Promise<Surveyed> {
    const links = this.#last.then(() => this.#measure(which));
    this.#last = links;
    return links;
  }

  /**
   * Looks whether a device is much worse connected to this process than known, and takes all its links for as slow then. Returns how many are.
   * Never rejects: of a link at which there is nothing to be seen in time, measuring it tells why.
   *
   * @param ends devices that are looked at, or this process for all of them; by default all
   */
  glance(ends: ReadonlySet<string> = new Set([CONTROLLER])): Promise<number> {
    const slower = this.#last.then(() => this.#glance(ends));
    this.#last = slower.then(() => ({ measured: 0, failed: 0 }));
    return slower;
  }

  async #glance(ends: ReadonlySet<string>): Promise<number> {
    const { registry, model, suspects, directory } = this.#context;
    let slower = 0;
    for (const { id } of plannable(registry, model?.hash ?? '', suspects)) {
      const known = registry.links.get(linkKey(CONTROLLER, id));
      if (known === undefined || this.#context.closed || !(ends.has(CONTROLLER) || ends.has(id))) continue;
      const mbps = await directory.slowerLink(id, known, GLANCE_DEADLINE_MS).catch(() => undefined);
      if (mbps === undefined) continue;
      slower += 1;
      const own = [...registry.links.values()].filter(({ from, to }) => from === id || to === id);
      directory.suppose(own.filter((link) => link.mbps > mbps).map((link) => ({ ...link, mbps, at: Date.now() })));
    }
    return slower;
  }

  async #measure(which: Which): Promise<Surveyed> {
    const context = this.#context;
    const own = typeof which === 'object' ? which.of : undefined;
    const without = new Set([...context.suspects].filter((id) => id !== own));
    const ids = plannable(context.registry, context.model?.hash ?? '', without).map(({ id }) => id);
    let [measured, failed] = [0, 0];
    for (const [from, to] of pairsToMeasure(ids)) {
      if (context.closed) break;
      if (which === 'new' && context.registry.links.has(linkKey(from, to))) continue;
      if (own !== undefined && from !== own && to !== own) continue;
      const address = context.registry.devices.get(to)?.announcement?.probe;
      if (address === undefined) continue;
      try {
        const was = context.registry.links.get(linkKey(from, to))?.mbps ?? 0;
        await this.#one(from, to, address);
        measured += 1;
        const is = context.registry.links.get(linkKey(from, to))?.mbps ?? was;
        if (was > SLOWER * is) this.#slower();
      } catch (error) {
        failed += 1;
        context.problem(error);
      }
    }
    return { measured, failed };
  }

  async #one(from: string, to: string, address: string): Promise<void> {
    const { directory, options } = this.#context;
    const { linkMs = LINK_MS } = options;
    if (from === CONTROLLER) await directory.measureLink(to, linkMs);
    else {
      const order = { kind: 'links', peers: [{ id: to, address }], deadlineMs: linkMs } as const;
      await directory.order(from, order, linkMs + ORDER_MS);
    }
  }

  /**
   * From now on looks, now and then, at devices that the plan in force does without: those of the others are seen from what
   * they compute and carry.
   */
  watch(terms: IdleTerms): void {
    this.#timer = setInterval(() => void this.#refresh(terms), REFRESH_MS);
  }

  async #refresh({ current: inForce, isBusy, looked }: IdleTerms): Promise<void> {
    const context = this.#context;
    const current = inForce();
    if (current === undefined || this.#refreshing) return;
    this.#refreshing = true;
    try {
      for (const { id } of plannable(context.registry, context.model?.hash ?? '', context.suspects)) {
        if (current.uses(id) || isBusy(id)) continue;
        const before = context.registry.links;
        await this.measure({ of: id });
        const differs = [...context.registry.links].some(([key, { mbps }]) => {
          const was = before.get(key)?.mbps ?? mbps;
          return Math.max(was, mbps) > REFRESH_CHANGE * Math.min(was, mbps);
        });
        looked(id, differs);
      }
    } finally {
      this.#refreshing = false;
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
