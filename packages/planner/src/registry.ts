/** Planners by name: what a command line offers, and what benchmarks go through. */
import { DistrEdgeError } from '@distredge/core';
import { auto } from './auto.js';
import { baselines } from './baselines/index.js';
import { osds } from './osds/planner.js';
import type { Planner } from './planner.js';
import type { GraphRunner } from './rl/runner.js';

export interface PlannerSettings {
  /** Only plans of the classical form: one part per device and volume, in the order of the devices. Of `auto` only. */
  readonly classical?: boolean;
  /** What is made small: the latency of one image, or the time between images of a stream. Of `auto` only. */
  readonly objective?: 'latency' | 'throughput';
  /** Computes the agent's networks; `osds` needs one. */
  readonly runner?: GraphRunner;
}

type Factory = (settings: PlannerSettings) => Planner;

function autoPlanner({ classical = false, objective = 'latency' }: PlannerSettings): Planner {
  return {
    name: 'auto',
    source: 'Annealing over general plans on the simulator',
    plan: (task, options) => auto(task, { ...options, classical, objective }),
  };
}

function osdsPlanner({ runner }: PlannerSettings): Planner {
  if (runner !== undefined) return osds({ runner });
  throw new DistrEdgeError('USAGE', 'this planner needs something that computes its networks', {
    where: 'osds',
    expected: 'a runner',
  });
}

const FACTORIES: ReadonlyMap<string, Factory> = new Map<string, Factory>([
  ['auto', autoPlanner],
  ['osds', osdsPlanner],
  ...baselines.map((planner): [string, Factory] => [planner.name, () => planner]),
]);

/** The seven published baselines, in the order of their publication, Offload first. */
export const baselineNames: readonly string[] = baselines
  .map(({ name }) => name)
  .filter((name) => name !== 'best-device');

export const plannerNames: readonly string[] = [...FACTORIES.keys()];

/** The planner of this name. Throws `USAGE` for a name that is none. */
export function createPlanner(name: string, settings: PlannerSettings = {}): Planner {
  const factory = FACTORIES.get(name);
  if (factory === undefined) {
    throw new DistrEdgeError('USAGE', 'there is no planner of this name', {
      expected: `one of ${plannerNames.join(', ')}`,
      got: name,
    });
  }
  return factory(settings);
}
