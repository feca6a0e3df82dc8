/** What `distredge up` serves a model with: a controller whose plans are made on the planning thread, and images one after another. */
import { analyse, type Tensor, workloadOf } from '@distredge/core';
import { type Controller, type ControllerOptions, type PlanFunction, startController } from '@distredge/runtime';
import { onEnd } from '../lifecycle.js';
import type { ModelFile, ModelOptions } from '../model-file.js';
import { PlannerWorker } from '../planner-worker.js';
import { runUnsplitAgain } from '../split.js';

/** How long a plan may be searched for while images wait for it, in ms. */
const URGENT_MS = 80;

/**
 * Plans on a thread of its own that ends with the command. What images wait for is found by `auto`; `planner` makes the plans for which
 * there is time, from the plan in force on.
 */
export function planOnThread(budgetMs: number, planner = 'auto'): PlanFunction {
  let worker: PlannerWorker | undefined;
  let last: Promise<unknown> = Promise.resolve();
  onEnd(async () => worker?.close());
  return (task, { urgent, start }) => {
    const plan = last.then(async () => {
      worker ??= new PlannerWorker();
      const options = { budgetMs: urgent ? Math.min(URGENT_MS, budgetMs) : budgetMs, seed: 1, start };
      const request = { planner: urgent ? 'auto' : planner, classical: false, goesOn: true, task, options };
      return (await worker.plan(request)).plan;
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
