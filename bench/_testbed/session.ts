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
import type { Lateness, Measured, Prepared } from './orders.js';
import { hurry } from './serve.js';
import { stepTimes } from './step-times.js';

const ANSWER_MS = 30_000;
/** Building a model with its weights, and loading it on all devices. */
const PREPARE_MS = 600_000;

export interface SessionOptions {
  readonly access: Access;
  /** Undefined: chosen for every plan. */
  readonly dilation: number | undefined;
  readonly images: number;
  /** Whether a step is computed for the first image only, as long as it gets the same rows. */
  readonly reuse: boolean;
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
    const net = await Testnet.build(devices.length + 1);
    const point =
      options.access === 'fair' ? undefined : await AccessPoint.open(path, options.access, medium === 'shared');
    const session = new Session({ net, folder, point }, scenario, options);
    try {
      const starts = [undefined, ...devices].map((device, member) =>
        TestbedMember.start(device === undefined ? 'requester' : 'provider', net.namespaceOf(member), {
          member,
          ...(point === undefined ? {} : { accessPoint: path }),
        }),
      );
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
    const { workload } = this.#task;
    const work = fromPlan(workload, plan);
    const predicted = simulator(this.#task).run(work);
    const dilation = this.#options.dilation ?? chooseDilation(predicted);
    const requestMs = Math.ceil(10 * predicted.latencyMs * dilation + 60_000);
    const [requester] = this.#members as readonly [TestbedMember];
    await this.#dilate(0);
    await this.#net.unshape();
    this.#point?.reset();
    await this.#pace(plan, work, predicted);
    try {
      const addresses = this.#members.slice(1).map(({ address }) => address);
      const order = { kind: 'prepare', model: this.#model, plan, addresses, requestMs } as const;
      const first = (await requester.ask(order, PREPARE_MS)) as Prepared;
      const { requester: own, devices } = networkOf(this.#cluster);
      await this.#net.shape([own, ...devices].map(({ mbps }) => mbps / dilation));
      await this.#dilate(dilation);
      await this.#lateness();
      const { images } = this.#options;
      const measured = (await requester.ask({ kind: 'measure', images }, (images + 1) * requestMs)) as Measured;
      const late = await this.#lateness();
      const imagesMs = measured.ms.map((ms) => ms / dilation);
      return {
        predictedMs: predicted.latencyMs,
        measuredMs: [...imagesMs].sort((a, b) => a - b)[imagesMs.length >> 1] as number,
        imagesMs,
        dilation,
        difference: Math.max(first.difference, measured.difference),
        late: { times: late.times, worstMs: late.worstMs / dilation },
      };
    } finally {
      hurry(false);
      await requester.ask({ kind: 'release' }, ANSWER_MS).catch(() => undefined);
    }
  }

  /** Tells all members how long steps and messages take. */
  async #pace(plan: Plan, work: ReturnType<typeof fromPlan>, predicted: SimulatedRun): Promise<void> {
    const program = compile(this.#graph, plan, analyse(this.#graph));
    const times = stepTimes(program, this.#task.workload, work, predicted);
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
    await this.#net.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
