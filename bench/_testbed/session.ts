/** One scenario on the testbed: its star and its processes, and what a plan takes on them. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  analyse,
  type Cluster,
  compile,
  fromPlan,
  type Graph,
  loadGraph,
  networkOf,
  type Plan,
  type PlanningTask,
  type SimulatedRun,
  simulator,
} from '@distredge/core';
import { buildZooModel } from '@distredge/zoo';
import { type Access, AccessPoint } from './access-point.js';
import { chooseDilation } from './dilation.js';
import { TestbedMember } from './members.js';
import { makeFolder, Testnet } from './namespaces.js';
import type { Lateness, Measured, Prepared, Streamed } from './orders.js';
import { coreOf, limit, removeQuotas } from './quota.js';
import { hurry } from './serve.js';
import { stepTimes } from './step-times.js';

const ANSWER_MS = 30_000;
/** Building a model with its weights, and loading it on all devices. */
const PREPARE_MS = 600_000;

/** The most that one image may take, in ms as waited. */
function requestMsOf({ latencyMs }: SimulatedRun, dilation: number): number {
  return Math.ceil(10 * latencyMs * dilation + 60_000);
}

export interface SessionOptions {
  readonly access: Access;
  /** Undefined: chosen for every plan. */
  readonly dilation: number | undefined;
  readonly images: number;
  /** Whether a step is computed for the first image only, as long as it gets the same rows. */
  readonly reuse: boolean;
  /** Share of a core that each device computes with, really; undefined: engines are paced. */
  readonly shares: readonly number[] | undefined;
}

export interface PlanMeasured {
  readonly predictedMs: number;
  /** Median of the images, in model time. */
  readonly measuredMs: number;
  /** All images, in model time. */
  readonly imagesMs: readonly number[];
  readonly dilation: number;
  /** Largest difference to the unsplit model, as a share of the range of its results. */
  readonly difference: number;
  /** Steps that took longer to compute than the device would have, and by how much at most, in model time. */
  readonly late: Lateness;
}

export class Session {
  readonly #net: Testnet;
  readonly #folder: string;
  readonly #point: AccessPoint | undefined;
  readonly #cluster: Cluster;
  readonly #model: string;
  readonly #graph: Graph;
  readonly #task: PlanningTask;
  readonly #options: SessionOptions;
  #members: readonly TestbedMember[] = [];

  private constructor(
    parts: { net: Testnet; folder: string; point: AccessPoint | undefined },
    { cluster, model, task }: { cluster: Cluster; model: string; task: PlanningTask },
    options: SessionOptions,
  ) {
    this.#net = parts.net;
    this.#folder = parts.folder;
    this.#point = parts.point;
    this.#cluster = cluster;
    this.#model = model;
    this.#task = task;
    this.#options = options;
    const shapes = buildZooModel(model, { weights: 'none' });
    this.#graph = loadGraph(shapes.bytes, shapes);
  }

  /** Builds the star and starts its processes. */
  static async open(
    scenario: { cluster: Cluster; model: string; task: PlanningTask },
    options: SessionOptions,
  ): Promise<Session> {
    const { medium, devices } = scenario.cluster;
    const folder = await makeFolder();
    const path = join(folder, 'access-point');
    let point: AccessPoint | undefined;
    let net: Testnet;
    try {
      if (options.access !== 'fair') point = await AccessPoint.open(path, options.access, medium === 'shared');
      net = await Testnet.build(devices.length + 1);
    } catch (error) {
      await point?.close();
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
    const session = new Session({ net, folder, point }, scenario, options);
    try {
      const { shares } = options;
      const paced = shares === undefined;
      const starts = [undefined, ...devices].map(async (device, member) => {
        const settings = { member, paced, ...(point === undefined ? {} : { accessPoint: path }) };
        const space = net.namespaceOf(member);
        if (device === undefined) return TestbedMember.start('requester', space, settings);
        const provider = await TestbedMember.start('provider', space, settings, paced ? undefined : coreOf(member - 1));
        if (!paced) limit(provider.pid, member, shares[member - 1] as number);
        return provider;
      });
      session.#members = (await Promise.allSettled(starts)).flatMap((start) =>
        start.status === 'fulfilled' ? [start.value] : [],
      );
      await Promise.all(starts);
      return session;
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  /** Runs a plan on the devices. Rejects with what a process says, or `DEADLINE`. */
  async measure(plan: Plan): Promise<PlanMeasured> {
    const [requester] = this.#members as readonly [TestbedMember];
    try {
      await this.#standStill();
      const predicted = this.#simulated(plan);
      // What computes really takes its own time.
      const dilation = this.#options.shares !== undefined ? 1 : (this.#options.dilation ?? chooseDilation(predicted));
      const difference = await this.prepare(plan, 0, dilation);
      const { requester: own, devices } = networkOf(this.#cluster);
      await this.run(
        [own, ...devices].map(({ mbps }) => mbps),
        dilation,
      );
      await this.#lateness();
      const { images } = this.#options;
      const deadlineMs = (images + 1) * requestMsOf(predicted, dilation);
      const measured = (await requester.ask({ kind: 'measure', images }, deadlineMs)) as Measured;
      const late = await this.#lateness();
      const imagesMs = measured.ms.map((ms) => ms / dilation);
      return {
        predictedMs: predicted.latencyMs,
        measuredMs: [...imagesMs].sort((a, b) => a - b)[imagesMs.length >> 1] as number,
        imagesMs,
        dilation,
        difference: Math.max(difference, measured.difference),
        late: { times: late.times, worstMs: late.worstMs / dilation },
      };
    } finally {
      await this.release();
    }
  }

  /**
   * Connects the devices for a plan, beside others in other slots, and runs one image that nothing waits for. Resolves with
   * its largest difference to the unsplit model's result, as a share of the range of results.
   */
  async prepare(plan: Plan, slot: number, dilation: number): Promise<number> {
    const [requester, ...providers] = this.#members as readonly [TestbedMember, ...TestbedMember[]];
    const predicted = this.#simulated(plan);
    await this.#pace(plan, predicted);
    const addresses = providers.map(({ address }) => address);
    const requestMs = requestMsOf(predicted, dilation);
    const order = { kind: 'prepare', slot, model: this.#model, plan, addresses, requestMs } as const;
    return ((await requester.ask(order, PREPARE_MS)) as Prepared).difference;
  }

  #simulated(plan: Plan): SimulatedRun {
    return simulator(this.#task).run(fromPlan(this.#task.workload, plan));
  }

  /** Lets model time run, so much slower, over links of these rates: the requester's first, in 10⁶ bit/s of the model. */
  async run(mbps: readonly number[], dilation: number): Promise<void> {
    await this.rates(mbps, dilation);
    await this.#dilate(dilation);
  }

  /** Changes the rates of links, whatever is on its way. */
  rates(mbps: readonly number[], dilation: number): Promise<void> {
    return this.#net.shape(mbps.map((rate) => rate / dilation));
  }

  /** Runs images one after another until `halt`; the next ones on the plan in this slot. */
  async stream(slot: number): Promise<void> {
    await this.#members[0]?.ask({ kind: 'stream', slot }, ANSWER_MS);
  }

  /** Ends the stream after the image under way. */
  async halt(deadlineMs: number): Promise<Streamed> {
    return (await this.#members[0]?.ask({ kind: 'halt' }, deadlineMs)) as Streamed;
  }

  /** Disconnects the devices from all plans. Never rejects. */
  async release(): Promise<void> {
    hurry(false);
    await this.#members[0]?.ask({ kind: 'release' }, ANSWER_MS).catch(() => undefined);
  }

  /** Nothing waits, neither engines nor links. */
  async #standStill(): Promise<void> {
    await this.#dilate(0);
    await this.#net.unshape();
    this.#point?.reset();
  }

  /** Tells all members how long steps and messages take. */
  async #pace(plan: Plan, predicted: SimulatedRun): Promise<void> {
    const program = compile(this.#graph, plan, analyse(this.#graph));
    const { workload } = this.#task;
    const times = stepTimes(program, workload, fromPlan(workload, plan), predicted);
    const { requester, devices } = networkOf(this.#cluster);
    const latencies = [requester, ...devices].map(({ latencyMs }) => latencyMs);
    const all = this.#members.map((member, index) => {
      const steps = program.steps.flatMap(({ device }, step): [number, number][] =>
        device === index - 1 ? [[step, times[step] ?? 0]] : [],
      );
      const latencyMs = latencies.map((ms) => Math.max(ms, latencies[index] ?? 0));
      const order = { kind: 'pace', stepMs: Object.fromEntries(steps), latencyMs, reuse: this.#options.reuse } as const;
      return member.ask(order, ANSWER_MS);
    });
    await Promise.all(all);
  }

  /** Model time runs, so much slower; 0: nothing waits. The access point is in this process. */
  async #dilate(dilation: number): Promise<void> {
    hurry(dilation > 0);
    await Promise.all(this.#members.map((member) => member.ask({ kind: 'dilate', dilation }, ANSWER_MS)));
  }

  async #lateness(): Promise<Lateness> {
    const all = await Promise.all(
      this.#members.slice(1).map((member) => member.ask({ kind: 'lateness' }, ANSWER_MS) as Promise<Lateness>),
    );
    return {
      times: all.reduce((sum, { times }) => sum + times, 0),
      worstMs: Math.max(0, ...all.map(({ worstMs }) => worstMs)),
    };
  }

  /** Ends the processes at once: what they were asked rejects. */
  kill(): void {
    for (const member of this.#members) member.kill();
  }

  /** Ends the processes and removes the star. */
  async close(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.close()));
    await this.#point?.close();
    removeQuotas((pid) => pid === process.pid);
    await this.#net.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
