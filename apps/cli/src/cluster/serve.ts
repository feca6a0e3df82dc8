/** What `distredge up` serves a model with: a controller whose plans are made on planning threads, and images one after another. */
import { analyse, DistrEdgeError, type Tensor, type WorkPlan, workloadOf } from '@distredge/core';
import { type Controller, type ControllerOptions, type PlanFunction, startController } from '@distredge/runtime';
import { onEnd } from '../lifecycle.js';
import type { ModelFile, ModelOptions } from '../model-file.js';
import { PlannerWorker, type PlanRequest } from '../planner-worker.js';
import { runUnsplitAgain } from '../split.js';

/** How long a plan may be searched for while images wait for it, in ms. */
const URGENT_MS = 80;

/** What plans on a thread of its own. */
type Thread = Pick<PlannerWorker, 'plan' | 'close'>;

/**
 * Plans on threads of its own that end with the command. What images wait for is found by `auto`; `planner` makes the plans for which
 * there is time, from the plan in force on, on another thread where it is not `auto`: some look at their signal seldom.
 * @param make starts a thread; tests put in others
 */
export function planOnThread(
  budgetMs: number,
  planner = 'auto',
  make: () => Thread = () => new PlannerWorker(),
): PlanFunction {
  const quick = inTurn(make);
  const thorough = planner === 'auto' ? quick : inTurn(make);
  return (task, { urgent, start, signal }) => {
    const options = { budgetMs: urgent ? Math.min(URGENT_MS, budgetMs) : budgetMs, seed: 1, start };
    const request = { planner: urgent ? 'auto' : planner, classical: false, goesOn: true, task, options };
    return (urgent ? quick : thorough)(request, signal);
  };
}

/** One thread, which is asked for one plan at a time, and for none that is no longer wanted when it is its turn. */
function inTurn(make: () => Thread): (request: Omit<PlanRequest, 'kind'>, signal: AbortSignal) => Promise<WorkPlan> {
  let worker: Thread | undefined;
  let last: Promise<unknown> = Promise.resolve();
  onEnd(async () => worker?.close());
  return (request, signal) => {
    const plan = last.then(async () => {
      if (signal.aborted) throw new DistrEdgeError('CANCELLED', 'the plan is not wanted any more');
      worker ??= make();
      return (await worker.plan(request, undefined, signal)).plan;
    });
    last = plan.catch(() => undefined);
    return plan;
  };
}

/** What a controller serves, and what it falls back to. */
export function servedBy(
  model: ModelFile,
  { shapes, size }: ModelOptions,
): Pick<ControllerOptions, 'whole'> & { readonly model: NonNullable<ControllerOptions['model']> } {
  const analysis = analyse(model.graph);
  const { name, bytes, graph } = model;
  return {
    model: { name, bytes, graph, analysis, workload: workloadOf(analysis, name), shapes, size },
    whole: (inputs) => runUnsplitAgain(model, inputs as Record<string, Tensor>),
  };
}

/** Starts a controller that ends with the command. */
export async function openController(options: ControllerOptions): Promise<Controller> {
  const controller = await startController(options);
  onEnd(() => controller.close());
  return controller;
}
