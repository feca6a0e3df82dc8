/**
 * What each step of a compiled program takes on its device, by the simulator: the part that it computes, or its share where
 * the compiler makes several steps of one part, or the simulator several volumes of one of the plan's.
 */
import {
  DistrEdgeError,
  isGather,
  type Plan,
  type Program,
  type SimulatedRun,
  type Workload,
  type WorkPlan,
} from '@distredge/core';

/** Times of all steps of the program in ms, by their number. Throws `INTERNAL` where they do not add up to the simulated ones. */
export function stepTimes(program: Program, workload: Workload, work: WorkPlan, run: SimulatedRun): Float64Array {
  const { plan, lowered, steps } = program;
  const simulated = new Map<string, number>();
  for (const event of run.events) {
    if (event.kind === 'compute') simulated.set(`${event.volume} ${event.part}`, event.end - event.start);
  }
  const times = new Float64Array(steps.length);
  const spread = (targets: readonly number[], ms: number): void => {
    const flops = targets.reduce((sum, step) => sum + (steps[step]?.flops ?? 0), 0);
    for (const step of targets) {
      times[step] = (times[step] ?? 0) + (flops > 0 ? (ms * (steps[step]?.flops ?? 0)) / flops : ms / targets.length);
    }
  };
  const became = volumesOf(plan, workload, work);
  plan.volumes.forEach((volume, index) => {
    const stages = lowered.stages.flatMap((stage, at) => (stage.volume === index ? [at] : []));
    const volumes = became[index] ?? [];
    const parts = isGather(volume) ? 1 : volume.parts.length;
    for (let part = 0; part < parts; part++) {
      const of = steps.flatMap((step, at) => (step.volume === index && step.part === part ? [at] : []));
      if (stages.length === volumes.length) {
        stages.forEach((stage, at) => {
          spread(
            of.filter((step) => steps[step]?.stage === stage),
            simulated.get(`${volumes[at]} ${part}`) ?? 0,
          );
        });
      } else {
        spread(
          of,
          volumes.reduce((sum, at) => sum + (simulated.get(`${at} ${part}`) ?? 0), 0),
        );
      }
    }
  });
  const head = plan.volumes.length;
  const cut = typeof plan.head === 'object';
  steps.forEach((step, index) => {
    if (step.volume !== head) return;
    const last = lowered.stages[step.stage]?.kind === 'head';
    const part = cut && last ? (plan.head as readonly unknown[]).length : step.part;
    times[index] = simulated.get(`${work.volumes.length} ${part}`) ?? 0;
  });
  check(times, simulated);
  return times;
}

/** For each volume of the plan, those of the simulator. */
function volumesOf(plan: Plan, { ends }: Workload, work: WorkPlan): number[][] {
  const last = plan.volumes.findLastIndex((volume) => !isGather(volume));
  let at = 0;
  return plan.volumes.map((volume, index) => {
    const own: number[] = [];
    const end = isGather(volume) ? -1 : (ends?.get(volume.end)?.op ?? -1);
    for (let next = work.volumes[at]; next !== undefined; next = work.volumes[++at]) {
      if (isGather(volume)) {
        own.push(at++);
        break;
      }
      if (isGather(next) || (index !== last && next.end > end)) break;
      own.push(at);
    }
    return own;
  });
}

/** Nothing may be lost on the way. */
function check(times: Float64Array, simulated: ReadonlyMap<string, number>): void {
  const sum = (values: Iterable<number>): number => [...values].reduce((total, value) => total + value, 0);
  const [got, expected] = [sum(times), sum(simulated.values())];
  if (Math.abs(got - expected) <= 1e-6 * expected) return;
  throw new DistrEdgeError('INTERNAL', 'the steps of the program do not take what the simulated parts take', {
    expected: `${expected} ms in all`,
    got: `${got} ms`,
  });
}
