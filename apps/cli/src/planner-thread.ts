/** The thread that plans, so that the command still hears Ctrl-C; `planner-worker.ts` speaks to it. */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { DistrEdgeError, type PlanningTask, type WorkPlan } from '@distredge/core';
import {
  createPlanner,
  explain,
  type GraphRunner,
  lowerBound,
  osds,
  type Planned,
  type PlannerOptions,
  type PlannerProgress,
  type Together,
  type TrainedAgent,
} from '@distredge/planner';
import type { ExitGate } from '@distredge/runtime';
import type { PlannerAnswer, PlannerRequest, SideBySide } from './planner-worker.js';
import { collector } from './steady-heap.js';

const PROGRESS_MS = 50;

/** Progress, but not more often than anyone can read it. */
function reporter(): (progress: PlannerProgress) => void {
  let last = 0;
  return (progress) => {
    const now = performance.now();
    if (now - last < PROGRESS_MS) return;
    last = now;
    answer({ progress: { done: progress.done, bestMs: progress.bestMs, note: progress.note } });
  };
}

function answer(message: PlannerAnswer): void {
  parentPort?.postMessage(message);
}

const gate = workerData as ExitGate;

/** onnxruntime, loaded where a planner needs it, and left before the process ends. */
function guardedRunner(): GraphRunner {
  return {
    async load(model) {
      const { createOrtGraphRunner, throughGate } = await import('@distredge/runtime');
      const runner = createOrtGraphRunner();
      const graph = await throughGate(gate, () => runner.load(model));
      return {
        run: (inputs) => throughGate(gate, () => graph.run(inputs)),
        release: () => throughGate(gate, () => graph.release()),
      };
    },
  };
}

/** What `osds` has learnt so far, for requests that go on from it. */
let trained: TrainedAgent | undefined;

async function tuned(task: PlanningTask, options: PlannerOptions): Promise<Planned> {
  const known = trained?.model === task.workload.model ? { trained } : {};
  const planned = await osds({ runner: guardedRunner(), ...known }).plan(task, options);
  trained = planned.trained ?? trained;
  return planned;
}

async function handle(request: PlannerRequest): Promise<PlannerAnswer> {
  const { task } = request;
  if (request.kind === 'bound') return { bound: await lowerBound(task) };
  if (request.kind === 'explain') return { reasons: await explain(task, request.plan, request.options) };
  const { planner: name, classical, objective = 'latency' } = request;
  const { stop, together, ...options } = request.options;
  const started = performance.now();
  const settings = {
    ...options,
    ...(stop === undefined ? {} : { signal: signalOf(stop) }),
    ...(together === undefined ? {} : { together: togetherBy(together) }),
    onProgress: reporter(),
  };
  try {
    const { plan, latencyMs, evaluations } =
      name === 'osds' && request.goesOn === true
        ? await tuned(task, settings)
        : await createPlanner(name, { classical, objective, runner: guardedRunner() }).plan(task, settings);
    const planMs = performance.now() - started;
    if (!Number.isFinite(latencyMs)) throw doesNotFit(name, task);
    return { planned: { plan, latencyMs, evaluations }, planMs };
  } finally {
    for (const port of together?.ports ?? []) port.close();
  }
}

/** Read in the middle of a search, where no message is heard. */
function signalOf(stop: Int32Array<SharedArrayBuffer>): { readonly aborted: boolean } {
  return {
    get aborted() {
      return Atomics.load(stop, 0) !== 0;
    },
  };
}

/** Heard without waiting: between two rounds of a search, what has come meanwhile counts. */
function togetherBy({ index, count, ports }: SideBySide): Together {
  return {
    index,
    count,
    tell(plan) {
      for (const port of ports) port.postMessage(plan);
    },
    heard: () =>
      ports.flatMap((port) => {
        const plans: WorkPlan[] = [];
        for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port))
          plans.push(next.message as WorkPlan);
        return plans;
      }),
  };
}

function doesNotFit(name: string, { workload, costs }: PlanningTask): DistrEdgeError {
  return new DistrEdgeError('PLAN_INVALID', `${name} finds no plan that fits into the devices' memory`, {
    where: workload.model,
    got: costs.map(({ id, memoryBytes }) => `${id}: ${Math.round(memoryBytes / 1e6)} MB`).join(', '),
    hint: 'add devices with more memory, or use another planner',
  });
}

/**
 * What a search remembers is worth nothing to the next one, and V8 would let several such heaps grow beside each other. Only where there is
 * much of it: collecting again and again makes V8 forget compiled code.
 */
const LARGE_HEAP_BYTES = 100e6;
const collect = collector();

function reply(message: PlannerAnswer): void {
  answer(message);
  if (process.memoryUsage().heapUsed > LARGE_HEAP_BYTES) collect();
}

parentPort?.on('message', (request: PlannerRequest) => {
  handle(request).then(reply, (error: unknown) => {
    const facts = error instanceof DistrEdgeError ? error.toJSON() : undefined;
    reply({ error: facts ?? { code: 'INTERNAL', message: error instanceof Error ? error.message : String(error) } });
  });
});
