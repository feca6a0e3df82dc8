/**
 * The search that AOFL and DeeperThings share: for every team and way to share the rows, the best volume ends by the linear
 * cost model; the best few of these plans improved by simulation, one end at a time.
 */
import type { PlanningTask } from '@distredge/core';
import { bestByShares, tryFitting } from './fitting.js';
import { fusedEnds } from './fusion.js';
import { everyEnd, fixedEnds, layerings, rowPlan, type Shares } from './layout.js';
import { type LinearModel, linearModel } from './linear-model.js';
import { teams } from './teams.js';
import { likelyHeads, settleHead, type Trial, withHead } from './trial.js';

/** How much transfers weigh against compute in the cost model: devices overlap the two, which it does not know. */
const TRANSFERS = [1, 0.5, 2];
/** Plans improved by simulation: of those from the cost model, and of those where every layer is a volume. */
const IMPROVED = 12;
const IMPROVED_LAYERS = 4;
/** Ops simulated at most while improving, over all devices and plans: bounds the time, whatever the machine. */
const OP_BUDGET = 1_000_000;

interface Candidate {
  readonly ms: number;
  readonly shares: Shares;
  readonly ends: readonly number[];
  readonly head: number | undefined;
  /** Whether the ends come from the cost model. */
  readonly fused: boolean;
}

/** `alike`: the cost model takes all devices to be the average one, as papers for equal devices do. */
export function searchVolumes(
  trial: Trial,
  sharesFor: (team: readonly number[], model: LinearModel) => Shares[],
  devices: 'alike' | 'unequal' = 'unequal',
): void {
  const { task } = trial;
  const { workload } = task;
  const model = linearModel(task);
  const all = teams(trial, model);
  const found: Candidate[] = [];
  const seen = new Set<string>();
  all.forEach((team, index) => {
    for (const shares of sharesFor(team, model)) {
      const key = shares.map((share) => share.toPrecision(9)).join();
      if (seen.has(key)) continue;
      seen.add(key);
      for (const { ends, fused } of startsFor(task, devices === 'alike' ? average(model, team) : model, shares)) {
        for (const head of likelyHeads(task, team)) {
          if (trial.stopped) return;
          found.push({
            ...tryFitting(trial, shares, (now) => withHead(rowPlan(workload, ends, now), head)),
            ends,
            head,
            fused,
          });
        }
      }
    }
    trial.progress((0.5 * (index + 1)) / all.length, `${team.length} devices`);
  });
  const best = [
    ...bestByShares(found.filter(({ fused }) => fused)).slice(0, IMPROVED),
    ...bestByShares(found.filter(({ fused }) => !fused)).slice(0, IMPROVED_LAYERS),
  ];
  let budget = OP_BUDGET;
  best.forEach((candidate, index) => {
    const members = candidate.shares.filter((share) => share > 0).length;
    const evaluations = Math.floor(
      budget / Math.min(best.length - index, 4) / Math.max(1, workload.ops.length * members),
    );
    budget -= improve(trial, candidate, evaluations) * workload.ops.length * members;
    trial.progress(0.5 + (0.5 * (index + 1)) / best.length, 'improved');
  });
  settleHead(trial);
}

/** The ends that are best by the cost model, and every layer a volume: what a search over all of them begins with. */
function startsFor(
  task: PlanningTask,
  model: LinearModel,
  shares: Shares,
): { readonly ends: number[]; readonly fused: boolean }[] {
  const found = [
    ...fusedEnds(task, model, shares, TRANSFERS).map((ends) => ({ ends, fused: true })),
    ...layerings(task.workload).map((ends) => ({ ends, fused: false })),
  ];
  const keys = found.map(({ ends }) => ends.join());
  return found.filter((_, index) => keys.indexOf(keys[index] as string) === index);
}

function average({ rowWork, work, rate }: LinearModel, team: readonly number[]): LinearModel {
  const mean = team.reduce((sum, device) => sum + (rate[device] as number), 0) / team.length;
  return { rowWork, work, rate: rate.map(() => mean) };
}

/** Leaves out, moves and adds ends one at a time while that makes it faster. Returns how many plans it simulated. */
function improve(trial: Trial, { ms, shares, ends, head }: Candidate, evaluations: number): number {
  const { workload } = trial.task;
  const fixed = new Set(fixedEnds(workload));
  let best = ms;
  let now = [...ends];
  let used = 0;
  const attempt = (next: number[]): boolean => {
    if (used >= evaluations || trial.stopped) return false;
    used += 1;
    const tried = trial.latency(withHead(rowPlan(workload, next, shares), head), best);
    if (tried >= best * (1 - 1e-9)) return false;
    best = tried;
    now = next;
    return true;
  };
  for (let moved = true; moved; ) {
    moved = false;
    for (const op of everyEnd(workload)) {
      if (fixed.has(op)) continue;
      const without = now.filter((end) => end !== op);
      if (!now.includes(op)) moved = attempt(sorted([...now, op])) || moved;
      else if (attempt(without)) moved = true;
      else {
        for (const other of [op - 1, op + 1]) {
          if (!now.includes(other) && other >= 0 && attempt(sorted([...without, other]))) {
            moved = true;
            break;
          }
        }
      }
    }
  }
  return used;
}

function sorted(ends: number[]): number[] {
  return ends.sort((a, b) => a - b);
}
